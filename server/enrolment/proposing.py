"""What is proposed to the members: made, approved, put on the ledger at a quorum, refused there, or withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.enrolment.consortium import ConsortiumPolicy
from ledger.genesis import Founder, enrol_payload, record
from ledger.homes import SIGNING_KEY
from ledger.keys import PublicKey, SigningKey
from ledger.policy import quorum_size
from ledger.proposal import Proposal, ProposalError
from ledger.rules import COORDINATOR, Refused, State
from ledger.rules.state import Terms
from server.enrolment.book import Asked, EnrolmentBook, Proposed
from server.enrolment.ledger_access import LedgerAccess
from server.errors import ServerError


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


class Proposing:
    """The proposals of a coordinator's home. What the ledger refuses of one keeps nobody from the others."""

    def __init__(
        self,
        home: Path,
        book: EnrolmentBook,
        ledger: LedgerAccess,
        now: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Keep them in the home's book."""
        self._home, self._book, self._ledger = home, book, ledger
        self._now, self._entropy = now, entropy

    def all(self) -> list[ProposalFacts]:
        """Every proposal, oldest first; none before the founding."""
        state = self._ledger.state()
        return [] if state is None else [_facts(one, state) for one in self._book.proposals()]

    def enrol(self, asked: Asked, state: State) -> None:
        """Propose a member; a proposal that waits with the same key stays, with the approvals that it has.

        Raises:
            CannotAdmit: the ledger would refuse it.
        """
        name = f"enrol-{asked.member}"
        for one in self._book.proposals():
            if one.name == name and not one.placed and not one.refused:
                payload = Proposal.from_bytes(one.proposal).payload
                if payload["key"] == asked.key and payload["parent"] == state.membership_digest:
                    return
        self._keep(name, self._enrolment(asked, state), state)

    def require_admissible(self, asked: Asked) -> None:
        """Rehearse the record that would enrol who asks, so that what the ledger refuses is not voted on.

        Raises:
            CannotAdmit: the ledger would refuse it; says why.
        """
        state = self._ledger.state()
        if state is not None and not state.is_enrolled(asked.member):
            self._rehearse(self._enrolment(asked, state), state)

    def suspend(self, member: str, reason: str) -> None:
        """Propose to suspend a member.

        Raises:
            CannotAdmit: it is no active member, or the ledger would refuse it.
        """
        state = self._ledger.state()
        if state is None or not state.is_enrolled(member):
            raise CannotAdmit(f"{member!r} is no active member; see: artesian ledger members --home {self._home}")
        self._keep(f"suspend-{member}", self._proposal("suspend", state, member=member, reason=reason), state)

    def policy(self, policy: ConsortiumPolicy, sha256: bytes) -> str:
        """Propose other terms; returns the proposal's name.

        Args:
            sha256: of the file, 32 bytes.

        Raises:
            CannotAdmit: there is no ledger yet, or it would refuse them.
        """
        state = self._ledger.state()
        if state is None or state.coordinator is None:
            raise CannotAdmit(
                f"{self._home}: the ledger is not founded; until then edit consortium.toml and invite anew"
            )
        proposal = self._proposal(
            "policy",
            state,
            coordinator=state.coordinator.raw,
            min_cohort=policy.min_cohort,
            config=sha256,
            signatures=policy.signatures,
            founders=None,
            log=None,
            next_log=None,
        )
        name = f"policy-{sha256.hex()[:8]}"
        for one in self._book.proposals():
            if one.name == name and not one.placed and not one.refused:
                waiting = Proposal.from_bytes(one.proposal).payload
                if all(
                    waiting[key] == proposal.payload[key] for key in ("config", "parent", "min_cohort", "signatures")
                ):
                    return name
        self._keep(name, proposal, state)
        return name

    def approve(self, name: str, member: str, signature: bytes) -> None:
        """Take a member's approval, and put the proposal on the ledger when it completes a quorum.

        Raises:
            CannotAdmit: there is no such proposal now, the ledger has refused it, or the approval is not over it.
        """
        for _ in range(8):
            state = self._ledger.state()
            proposed = next((one for one in self._book.proposals() if one.name == name), None)
            if state is None or proposed is None:
                raise CannotAdmit(f"there is no proposal {name!r}; see: artesian firm proposals")
            if proposed.placed:
                return
            if proposed.refused:
                raise CannotAdmit(f"the ledger refuses the proposal {name!r}: {proposed.refused}")
            approved = _with_approval(Proposal.from_bytes(proposed.proposal), member, signature)
            if approved is None or member not in approved.approvers(state):
                raise CannotAdmit(
                    f"the approval of {member!r} is not over the proposal {name!r} as it is now; see again"
                )
            if self._book.change_proposal(proposed, approved.to_bytes()):
                self._place(self.named(name).proposed, state)
                return
        raise CannotAdmit("others approve at the same time; try again")

    def named(self, name: str) -> ProposalFacts:
        """One proposal.

        Raises:
            CannotAdmit: there is none of this name.
        """
        for one in self.all():
            if one.proposed.name == name:
                return one
        raise CannotAdmit(f"there is no proposal {name!r}; see: artesian coordinator proposals")

    def withdraw(self, name: str) -> bool:
        """Take back a proposal that is not on the ledger; says whether there was one."""
        self.place()
        return self._book.withdraw_proposal(name)

    def place(self) -> None:
        """Mark what is on the ledger, make anew what other changes have made void, place what is ready."""
        state = self._ledger.state()
        for proposed in self._book.proposals() if state is not None else ():
            if state is not None and not proposed.placed:
                self._place(proposed, state)

    def _place(self, proposed: Proposed, state: State) -> None:
        proposal = Proposal.from_bytes(proposed.proposal)
        payload = proposal.payload
        if payload["id"] in state.ids:
            self._book.change_proposal(proposed, proposed.proposal, placed=True)
        elif payload["parent"] != state.membership_digest:
            if _is_so(payload, state):
                self._book.change_proposal(proposed, proposed.proposal, placed=True)  # what it asks for is so already
                return
            again = {**payload, "approvals": [], "parent": state.membership_digest, "id": self._entropy(16)}
            made = Proposal.of(again)
            self._book.change_proposal(proposed, made.to_bytes(), refused=self._refusal(made, state))
        elif not proposed.refused and len(proposal.approvers(state)) >= quorum_size(state.voters):
            try:
                self._ledger.append(proposal.statement(state, issuer=COORDINATOR, key=self._key()))
            except Refused as error:  # until the membership changes, or it is proposed again, it stays so
                self._book.change_proposal(proposed, proposed.proposal, refused=error.detail)
            else:
                self._book.change_proposal(proposed, proposed.proposal, placed=True)

    def _keep(self, name: str, proposal: Proposal, state: State) -> None:
        self._rehearse(proposal, state)
        self._book.propose(Proposed(name, proposal.to_bytes(), int(self._now()), placed=False))

    def _rehearse(self, proposal: Proposal, state: State) -> None:
        refused = self._refusal(proposal, state)
        if refused:
            raise CannotAdmit(f"the ledger would refuse this, whoever approves: {refused}")

    def _refusal(self, proposal: Proposal, state: State) -> str:
        """Why the ledger would refuse it, whoever approves; empty if it would not."""
        try:
            proposal.rehearse(state, issuer=COORDINATOR, key=self._key())
        except Refused as error:
            return error.detail
        return ""

    def _enrolment(self, asked: Asked, state: State) -> Proposal:
        ts, parent = int(self._now()), state.membership_digest
        return Proposal.of(enrol_payload(state.cid, founder(asked), ts=ts, entropy=self._entropy, parent=parent))

    def _proposal(self, kind: str, state: State, **fields: Any) -> Proposal:
        """A record that nobody has approved yet, after what last changed members or terms."""
        at, parent = int(self._now()), state.membership_digest
        return Proposal.of(
            record(kind, cid=state.cid, record_id=self._entropy(16), ts=at, parent=parent, **fields, approvals=[])
        )

    def _key(self) -> SigningKey:
        return SigningKey.load(self._home / SIGNING_KEY)


def _is_so(payload: Mapping[str, Any], state: State) -> bool:
    """Whether what a proposal asks for is so already."""
    if payload["t"] == "policy":
        return state.terms == Terms(payload["min_cohort"], payload["config"], payload["signatures"])
    return bool(payload["t"] == "enrol") == state.is_enrolled(payload["member"])


def founder(asked: Asked) -> Founder:
    """Who asks, as the ledger's records name it."""
    return Founder(asked.member, asked.kind, PublicKey(asked.key), asked.name)


def _with_approval(proposal: Proposal, member: str, signature: bytes) -> Proposal | None:
    """The proposal with a member's approval; None if this is no signature."""
    others = [one for one in proposal.payload["approvals"] if one["member"] != member]
    approvals = [*others, {"member": member, "signature": signature}]
    try:
        return Proposal.of({**proposal.payload, "approvals": approvals})
    except ProposalError:
        return None


def _facts(proposed: Proposed, state: State) -> ProposalFacts:
    proposal = Proposal.from_bytes(proposed.proposal)
    return ProposalFacts(proposed, proposal, proposal.approvers(state), quorum_size(state.voters))
