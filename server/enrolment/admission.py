"""What follows when the operator admits, or the ledger says so: founding, proposals, certificates, nodes."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, ConsortiumPolicy, policy_hash, read_policy
from clients.errors import ClientError
from ledger.founding import Founded, found_at_home
from ledger.keys import PublicKey
from ledger.rules import State
from server.enrolment.agreed import require_as_invited
from server.enrolment.book import Asked, EnrolmentBook, NoSuchRequest
from server.enrolment.issuing import Issuing
from server.enrolment.ledger_access import LedgerAccess
from server.enrolment.proposing import CannotAdmit, ProposalFacts, Proposing, founder
from server.enrolment.staged_policies import Staged, StagedPolicies
from server.initialising import own_address
from server.network import load_network

_FOUNDING_LOCK = ".founding.lock"
_FOUNDING_TURNS, _FOUNDING_TURN_S = 150, 0.2


class Admission:
    """Everything that changes who belongs. Each step may be repeated."""

    def __init__(
        self,
        home: Path,
        book: EnrolmentBook,
        ledger: LedgerAccess,
        now: Callable[[], float],
        entropy: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Work on a coordinator's home."""
        self._sleep = sleep
        self.home = home
        self.book = book
        self.ledger = ledger
        self.staged = StagedPolicies(home)
        self.issuing = Issuing(home, book, now)
        self.proposing = Proposing(home, book, ledger, now, entropy)
        self._now = now
        self._entropy = entropy

    @property
    def policy_file(self) -> bytes:
        """`consortium.toml`."""
        return (self.home / CONSORTIUM).read_bytes()

    @property
    def policy(self) -> ConsortiumPolicy:
        """What it says."""
        return read_policy(self.policy_file, str(self.home / CONSORTIUM))

    def missing(self) -> list[str]:
        """Who must ask and be admitted before the ledger can be founded: everyone invited by now."""
        return self.book.awaited()

    def admit(self, *members: str, keys: Mapping[str, bytes] | None = None) -> None:
        """Say yes to requests: a founder counts towards the founding, a later member is proposed to the quorum.

        Args:
            members: all of them or none.
            keys: the signing key that the operator has seen, for each member; what has asked with another is refused.

        Raises:
            NoSuchRequest: one has not asked, or has asked with another key than was seen.
            CannotAdmit: it is a member already, or the ledger would refuse it; then nobody is admitted.
        """
        chosen, state = [self._asked(member, keys) for member in members], self.ledger.state()
        for asked in chosen:
            known = None if state is None else state.members.get(asked.member)
            if known is not None and known.active and known.key.raw != asked.key:
                raise CannotAdmit(
                    f"{asked.member!r} is a member with another key; a key is changed by a rotate proposal"
                )
            self.proposing.require_admissible(asked)
        self.book.admit({asked.member: asked.key for asked in chosen})
        for asked in chosen:
            if state is not None and not state.is_enrolled(asked.member):
                self.proposing.enrol(asked, state)

    def _asked(self, member: str, keys: Mapping[str, bytes] | None) -> Asked:
        asked = self.book.asked(member)
        if asked is None:
            raise NoSuchRequest(f"{member!r} has not asked to join; see: artesian coordinator admit --home {self.home}")
        if keys is not None and keys.get(member) != asked.key:
            raise NoSuchRequest(
                f"{member!r} has asked with the key {PublicKey(asked.key).fingerprint}, "
                "not the one that was looked at; nobody was admitted; find out who it is"
            )
        return asked

    def found(self) -> Founded | None:
        """Found the ledger if everyone invited has asked and been admitted; None if not, or if it is founded.

        Raises:
            CannotAdmit: another process is founding it, and does not end.
            FoundingError, Refused: it cannot be founded with them.
            NotAgreed: the policy is not the one that they were invited to.
        """
        with self._founding_alone():
            return self._found()

    def _found(self) -> Founded | None:
        if self.ledger.founded or self.missing():
            return None
        founders = [founder(one) for one in self.book.requests() if one.admitted]
        if not founders:
            return None
        require_as_invited(self.home, self.policy_file, [one.member for one in founders])
        policy, network = self.policy, load_network(self.home)
        return found_at_home(
            self.home,
            policy.cid,
            founders,
            min_cohort=policy.min_cohort,
            signatures=policy.signatures,
            config=policy_hash(self.policy_file),
            address=own_address(network, network.ledger_port),
            now=self._now,
            entropy=self._entropy,
        )

    @contextmanager
    def _founding_alone(self) -> Iterator[None]:
        """Wait for another process of this home that is founding the ledger just now."""
        descriptor = os.open(self.home / _FOUNDING_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for turn in range(_FOUNDING_TURNS):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if turn == _FOUNDING_TURNS - 1:
                        raise CannotAdmit(f"{self.home}: another process is founding the ledger; try again") from None
                    self._sleep(_FOUNDING_TURN_S)
            yield
        finally:
            os.close(descriptor)

    def settle(self) -> None:
        """Bring proposals, certificates and node keys in line with what the ledger says now."""
        self.proposing.place()
        self.follow()

    def propose_policy(self, file: Path) -> ProposalFacts:
        """Propose another `consortium.toml`, which members read at the desk, and which is in place once it is agreed.

        The same again leaves what waits as it is, with its approvals.

        Raises:
            BadConsortium: it cannot be used.
            CannotAdmit: there is no ledger yet, it would refuse it, or names it already.
        """
        staged, state = self.staged.load(file), self.ledger.state()
        sha256 = policy_hash(staged.raw)
        if state is not None:
            _require_specs_of_before(staged.policy, state)
            if state.terms.config == sha256:
                raise CannotAdmit(
                    f"{file}: is the policy that the ledger names already; change a copy of it, and propose that. If "
                    f"it is not in its place here: artesian coordinator take-policy {file} --home {self.home}"
                )
        self.staged.keep(staged)
        return self.proposing.named(self.proposing.policy(staged.policy, sha256))

    def proposed_policy(self, sha256: bytes) -> Staged | None:
        """A policy that waits for approvals; None if there is none of this hash."""
        return self.staged.read(sha256) if sha256 in self._proposed_policies() else None

    def take_policy(self) -> None:
        """Put a proposed policy in place that the ledger names by now: the desk hands it out then.

        Raises:
            BadConsortium, OSError: it cannot be.
        """
        self.staged.install(self.ledger.state())
        self.staged.prune(self._proposed_policies(), self._now())

    def _proposed_policies(self) -> set[bytes]:
        waiting = (one for one in self.proposing.all() if not one.proposed.placed)
        return {config for one in waiting if (config := one.proposal.payload.get("config")) is not None}

    def follow(self) -> None:
        """Bring certificates and node keys in line with the ledger; it is not written to."""
        state = self.ledger.state()
        if state is None:
            return
        for asked in self.book.requests():
            member = state.members.get(asked.member)
            if member is None or not asked.admitted:
                continue
            if member.active and member.key.raw == asked.key:
                self.issuing.first(asked.member, asked.csr)
                if asked.node_key:
                    self.book.want_node(asked.member, asked.node_key)
        for member in state.members.values():
            if not member.active:
                self.book.want_node(member.member, None)
                if self.issuing.present(member.member):
                    self.issuing.revoke(member.member)

    def approve(self, name: str, member: str, signature: bytes) -> ProposalFacts:
        """Take a member's approval, and do what follows if it completes a quorum.

        Raises:
            CannotAdmit: there is no such proposal now, the ledger has refused it, or the approval is not over it.
        """
        self.proposing.approve(name, member, signature)
        self.settle()
        with suppress(ClientError, OSError):  # the approval counts; the desk tries again, and tells its operator
            self.take_policy()
        return self.proposing.named(name)


def _require_specs_of_before(policy: ConsortiumPolicy, state: State) -> None:
    """The ledger keeps one spec for a name for ever, so a policy with another would end the task."""
    for task in policy.task:
        known = state.tasks.get(task.name)
        if known is not None and known.spec.hex() != task.spec_sha256:
            raise CannotAdmit(
                f"{task.file}: the ledger has the task {task.name!r} with the spec {known.spec.hex()[:16]}…, under "
                "which it was trained; give the changed spec another name"
            )
