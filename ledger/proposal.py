"""A proposal: a record that needs a quorum, as a file that goes from member to member and collects approvals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ledger.encoding import EncodingError, decode, encode
from ledger.errors import LedgerError
from ledger.keys import BadSignature, KeyFileError, PublicKey, SigningKey
from ledger.policy import quorum_size
from ledger.rules import State, approval_bytes, approve, rehearse
from ledger.rules.records import problem_with
from ledger.statement import decode_statement, sign_statement

PROPOSAL_VERSION = 1
KINDS = ("enrol", "rotate", "suspend", "policy", "handover")


class ProposalError(LedgerError):
    """The file is no proposal, or is not for this ledger."""

    exit_code = 2


class TooFewApprovals(LedgerError):
    """The quorum has not approved yet."""

    exit_code = 1


@dataclass(frozen=True)
class Proposal:
    """A record without its issuer's signature, and the approvals that it has so far.

    Attributes:
        payload: the record with its approvals; whoever submits it signs it.
    """

    payload: Mapping[str, Any]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a proposal file.

        Raises:
            ProposalError: it is none, or the record in it is malformed.
        """
        try:
            fields = decode(raw, what="the proposal")
        except EncodingError:  # what is wrong with it as a record misleads: mostly it is another file
            raise ProposalError(
                "this is not a proposal, or not a whole one; give its file, or ask for it again"
            ) from None
        match fields:
            case {"v": 1, "proposal": dict() as payload} if len(fields) == 2 and type(fields["v"]) is int:
                return cls.of(payload)
        raise ProposalError("this is not a proposal of this version; make one with: artesian ledger members propose")

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Self:
        """The proposal of a record.

        Raises:
            ProposalError: it is malformed, or of a type that needs no approval.
        """
        problem = problem_with(payload)
        if problem is not None or payload["t"] not in KINDS:
            raise ProposalError(f"this cannot be proposed: {problem or 'it needs no approval'}")
        return cls(payload)

    def to_bytes(self) -> bytes:
        """Deterministic CBOR."""
        return encode({"v": PROPOSAL_VERSION, "proposal": dict(self.payload)})

    def approved(self, member: str, key: SigningKey) -> Self:
        """The proposal with this member's approval, in place of one that it gave before."""
        others = [one for one in self.payload["approvals"] if one["member"] != member]
        return replace(self, payload={**self.payload, "approvals": [*others, approve(self.payload, member, key)]})

    def require_current(self, state: State) -> None:
        """Raise `ProposalError` unless the ledger would still take this proposal, once enough have approved."""
        self.approvers(state)
        if self.payload["id"] in state.ids:
            raise ProposalError("the proposal is on the ledger already")
        if self.payload["parent"] != state.membership_digest:
            raise ProposalError("members, keys or terms have changed since this was proposed; propose it again")

    def approvers(self, state: State) -> list[str]:
        """The active members whose approval is in the file and holds, sorted.

        Raises:
            ProposalError: the proposal is for another consortium.
        """
        if self.payload["cid"] != state.cid:
            raise ProposalError(f"the proposal is for the consortium {self.payload['cid']!r}, this is {state.cid!r}")
        message = approval_bytes(self.payload)
        good = set()
        for approval in self.payload["approvals"]:
            member = state.members.get(approval["member"])
            if member is not None and member.active and _holds(member.key, approval["signature"], message):
                good.add(member.member)
        return sorted(good)

    def statement(self, state: State, *, issuer: str, key: SigningKey) -> bytes:
        """The record with its good approvals, signed by `issuer`: ready for the ledger.

        Raises:
            TooFewApprovals: fewer than the quorum.
        """
        good, needed = self.approvers(state), quorum_size(state.voters)
        if len(good) < needed:
            raise TooFewApprovals(f"{len(good)} of {state.voters} members approved, {needed} are needed")
        return self._signed([one for one in self.payload["approvals"] if one["member"] in good], issuer, key)

    def rehearse(self, state: State, *, issuer: str, key: SigningKey) -> None:
        """Raise `Refused` if the ledger would not take this record from `issuer`, whoever approves it."""
        rehearse(state, decode_statement(self._signed([], issuer, key)))

    def _signed(self, approvals: list[Mapping[str, Any]], issuer: str, key: SigningKey) -> bytes:
        subject = self.payload.get("member") or self.payload["cid"]
        return sign_statement({**self.payload, "approvals": approvals}, issuer=issuer, subject=subject, key=key)

    def words(self) -> list[str]:
        """What is proposed, for those who are asked to approve it."""
        record = self.payload
        match record["t"]:
            case "enrol":
                line = f"Enrol the {record['kind']} {record['member']}, {record['name']!r}"
                return [line, f"  with the key {_fingerprint(record['key'])}"]
            case "rotate":
                return [f"Give {record['member']} the key {_fingerprint(record['key'])}"]
            case "suspend":
                return [f"Suspend {record['member']}: {record['reason']}"]
            case "policy":
                config = record["config"].hex() if record["config"] else "none"
                return [f"Terms: cohorts of at least {record['min_cohort']}, {record['signatures']}, config {config}"]
            case _:
                base = f"{record['size']} entries with root {record['root'].hex()}"
                return [f"Hand the log over after {base}", f"  to the key {_fingerprint(record['log'])}"]


def _holds(key: PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify_all(signature, message)
    except BadSignature:
        return False
    return True


def _fingerprint(raw: bytes) -> str:
    try:
        return PublicKey(raw).fingerprint
    except KeyFileError:
        return f"{raw.hex()} (no key that can be used)"
