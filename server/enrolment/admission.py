"""What follows when the operator admits, suspends, or the ledger says so: founding, proposals, certificates, nodes."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, ConsortiumPolicy, policy_hash, read_policy
from ledger.founding import Founded, found_at_home
from ledger.genesis import Founder, enrol_payload, record
from ledger.homes import SIGNING_KEY
from ledger.keys import PublicKey, SigningKey
from ledger.policy import quorum_size
from ledger.proposal import Proposal
from ledger.rules import COORDINATOR, State
from server.enrolment.book import Asked, EnrolmentBook, NoSuchRequest, Proposed
from server.enrolment.issuing import Issuing
from server.enrolment.ledger_access import LedgerAccess
from server.errors import ServerError
from server.initialising import own_address
from server.network import load_network

_FOUNDING_LOCK = ".founding.lock"
_FOUNDING_TURNS, _FOUNDING_TURN_S = 150, 0.2


class CannotAdmit(ServerError):
    """What was asked for does not fit how the consortium stands."""


@dataclass(frozen=True)
class ProposalFacts:
    """How a proposal stands.

    Attributes:
        approved: members whose approval holds.
        needed: how many make a quorum.
    """

    proposed: Proposed
    proposal: Proposal
    approved: list[str]
    needed: int


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
        self.issuing = Issuing(home, book, now)
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
        live = {one.member for one in self.book.invites() if not one.withdrawn}
        return sorted(live - {one.member for one in self.book.requests() if one.admitted})

    def admit(self, *members: str, keys: Mapping[str, bytes] | None = None) -> None:
        """Say yes to requests: a founder counts towards the founding, a later member is proposed to the quorum.

        Args:
            members: all of them or none.
            keys: the signing key that the operator has seen, for each member; what has asked with another is refused.

        Raises:
            NoSuchRequest: one has not asked, or has asked with another key than was seen.
            CannotAdmit: it is a member already.
        """
        chosen, state = [self._asked(member, keys) for member in members], self.ledger.state()
        for asked in chosen:
            known = None if state is None else state.members.get(asked.member)
            if known is not None and known.active and known.key.raw != asked.key:
                raise CannotAdmit(
                    f"{asked.member!r} is a member with another key; a key is changed by a rotate proposal"
                )
        self.book.admit({asked.member: asked.key for asked in chosen})
        for asked in chosen:
            if state is not None and not state.is_enrolled(asked.member):
                self._propose_enrolment(asked, state)

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
        """
        with self._founding_alone():
            return self._found()

    def _found(self) -> Founded | None:
        if self.ledger.founded or self.missing():
            return None
        founders = [_founder(one) for one in self.book.requests() if one.admitted]
        if not founders:
            return None
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
        """Bring certificates, node keys and proposals in line with what the ledger says now."""
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
        for proposed in self.book.proposals():
            if not proposed.placed:
                self._settle_proposal(proposed, state)

    def suspend(self, member: str, reason: str) -> None:
        """Propose to suspend a member.

        Raises:
            CannotAdmit: it is no active member.
        """
        state = self.ledger.state()
        if state is None or not state.is_enrolled(member):
            raise CannotAdmit(f"{member!r} is no active member; see: artesian ledger members --home {self.home}")
        payload = self._record("suspend", state, member=member, reason=reason)
        self._keep(f"suspend-{member}", Proposal.of(payload))

    def proposals(self) -> list[ProposalFacts]:
        """Every proposal, oldest first; none before the founding."""
        state = self.ledger.state()
        if state is None:
            return []
        found = []
        for one in self.book.proposals():
            proposal = Proposal.from_bytes(one.proposal)
            good = proposal.approvers(state)
            found.append(ProposalFacts(one, proposal, good, quorum_size(state.voters)))
        return found

    def approve(self, name: str, member: str, signature: bytes) -> ProposalFacts:
        """Take a member's approval, and put the proposal on the ledger when it completes a quorum.

        Raises:
            CannotAdmit: there is no such proposal now, or the approval is not over it.
        """
        for _ in range(8):
            state = self.ledger.state()
            proposed = next((one for one in self.book.proposals() if one.name == name), None)
            if state is None or proposed is None:
                raise CannotAdmit(f"there is no proposal {name!r}; see: artesian firm proposals")
            proposal = Proposal.from_bytes(proposed.proposal)
            if proposed.placed:
                return self._facts(proposed, proposal, state)
            others = [one for one in proposal.payload["approvals"] if one["member"] != member]
            approvals = [*others, {"member": member, "signature": signature}]
            approved = Proposal.of({**proposal.payload, "approvals": approvals})
            if member not in approved.approvers(state):
                raise CannotAdmit(
                    f"the approval of {member!r} is not over the proposal {name!r} as it is now; see again"
                )
            if self.book.change_proposal(proposed, approved.to_bytes(), placed=False):
                self._settle_proposal(self._proposed(name), state)
                self.settle()
                return next(one for one in self.proposals() if one.proposed.name == name)
        raise CannotAdmit("others approve at the same time; try again")

    def _proposed(self, name: str) -> Proposed:
        return next(one for one in self.book.proposals() if one.name == name)

    def _facts(self, proposed: Proposed, proposal: Proposal, state: State) -> ProposalFacts:
        return ProposalFacts(proposed, proposal, proposal.approvers(state), quorum_size(state.voters))

    def _settle_proposal(self, proposed: Proposed, state: State) -> None:
        """Mark what is on the ledger, make anew what other changes have made void, place what is ready."""
        proposal = Proposal.from_bytes(proposed.proposal)
        payload = proposal.payload
        if payload["id"] in state.ids:
            self.book.change_proposal(proposed, proposed.proposal, placed=True)
        elif payload["parent"] != state.membership_digest:
            if (payload["t"] == "enrol") == state.is_enrolled(payload["member"]):
                self.book.change_proposal(proposed, proposed.proposal, placed=True)  # what it asks for is so already
                return
            again = {**payload, "approvals": [], "parent": state.membership_digest, "id": self._entropy(16)}
            self.book.change_proposal(proposed, Proposal.of(again).to_bytes(), placed=False)
        elif len(proposal.approvers(state)) >= quorum_size(state.voters):
            key = SigningKey.load(self.home / SIGNING_KEY)
            self.ledger.append(proposal.statement(state, issuer=COORDINATOR, key=key))
            self.book.change_proposal(proposed, proposed.proposal, placed=True)

    def _propose_enrolment(self, asked: Asked, state: State) -> None:
        name = f"enrol-{asked.member}"
        for one in self.book.proposals():
            if one.name == name and not one.placed:
                payload = Proposal.from_bytes(one.proposal).payload
                if payload["key"] == asked.key and payload["parent"] == state.membership_digest:
                    return  # as it stands, with the approvals that it has
        parent = state.membership_digest
        payload = enrol_payload(state.cid, _founder(asked), ts=int(self._now()), entropy=self._entropy, parent=parent)
        self._keep(name, Proposal.of(payload))

    def _keep(self, name: str, proposal: Proposal) -> None:
        self.book.propose(Proposed(name, proposal.to_bytes(), int(self._now()), placed=False))

    def _record(self, t: str, state: State, **fields: object) -> dict[str, object]:
        record_id, parent = self._entropy(16), state.membership_digest
        return record(t, cid=state.cid, record_id=record_id, ts=int(self._now()), parent=parent, **fields, approvals=[])


def _founder(asked: Asked) -> Founder:
    return Founder(asked.member, asked.kind, PublicKey(asked.key), asked.name)
