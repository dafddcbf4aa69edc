"""What a quorum has approved: every approval is a signature over this very record, and each is verified."""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.encoding import encode
from ledger.keys import BadSignature, SigningKey
from ledger.policy import quorum_size
from ledger.rules.state import Member, Refused, State

_APPROVAL_CONTEXT = "artesian/approval/v1"


def approval_bytes(payload: Mapping[str, Any]) -> bytes:
    """What a member signs to approve a record: its canonical bytes without the approvals.

    The record's own id and the consortium's id are among them, so an approval serves one record of one ledger.
    """
    bare = {name: value for name, value in payload.items() if name != "approvals"}
    return encode([_APPROVAL_CONTEXT, encode(bare)])


def approve(payload: Mapping[str, Any], member: str, key: SigningKey) -> dict[str, Any]:
    """The approval of `payload` by `member`, to be put into its `approvals`."""
    return {"member": member, "signature": key.sign_all(approval_bytes(payload))}


class Assumed(list[Any]):
    """Stands in a rehearsal for the approvals of a quorum. No record that was decoded has it."""


def require_quorum(state: State, payload: Mapping[str, Any], index: int) -> None:
    """Refuse by the rule `approvals` unless a quorum of the active members approved `payload`, each once."""
    approvals: Sequence[Mapping[str, Any]] = payload["approvals"]
    if isinstance(approvals, Assumed):
        return
    needed = quorum_size(state.voters) if state.voters else 1
    message = approval_bytes(payload)
    approved: set[str] = set()
    for approval in approvals:
        name = approval["member"]
        if name in approved:
            raise Refused("approvals", index, f"{name!r} approved twice; each member has one vote")
        member = state.members.get(name)
        if member is None or not member.active:
            raise Refused("approvals", index, f"{name!r} is not an active member and cannot approve")
        try:
            member.key.verify_all(approval["signature"], message)
        except BadSignature:
            raise Refused("approvals", index, f"the approval of {name!r} is not over this record") from None
        approved.add(name)
    if len(approved) < needed:
        raise Refused("approvals", index, f"{len(approved)} of {state.voters} approved, {needed} are needed")


def require_active(state: State, name: str, index: int) -> Member:
    """The active member `name`; refuse by the rule `member` if there is none."""
    member = state.members.get(name)
    if member is None or not member.active:
        raise Refused("member", index, f"{name!r} is not an active member")
    return member
