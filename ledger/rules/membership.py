"""Who belongs to the consortium: the founding, and changes of membership that a quorum has approved."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ledger.encoding import encode
from ledger.keys import BadSignature, KeyFileError, PublicKey, SigningKey
from ledger.policy import quorum_size
from ledger.rules.state import COORDINATOR, Member, Refused, State, Terms
from ledger.statement import Statement

_APPROVAL_CONTEXT = "artesian/approval/v1"


def approval_bytes(payload: Mapping[str, Any]) -> bytes:
    """What a member signs to approve a membership record: its canonical bytes without the approvals."""
    bare = {name: value for name, value in payload.items() if name != "approvals"}
    return encode([_APPROVAL_CONTEXT, encode(bare)])


def approve(payload: Mapping[str, Any], member: str, key: SigningKey) -> dict[str, Any]:
    """The approval of `payload` by `member`, to be put into its `approvals`."""
    return {"member": member, "signature": key.sign(approval_bytes(payload))}


def apply_policy(state: State, statement: Statement, index: int) -> State:
    """Found the consortium (entry 0), or change its terms with a quorum's approval."""
    payload = statement.payload
    key = _public_key(payload["coordinator"], index)
    if index == 0:
        if statement.issuer != COORDINATOR or payload["approvals"]:
            raise Refused("genesis", index, "entry 0 is the coordinator's policy, without approvals")
    else:
        _require_quorum(state, payload, index)
        if key != state.coordinator:
            raise Refused("policy", index, "a policy keeps the coordinator's key; use a rotate record to change it")
    return replace(state, coordinator=key, terms=Terms(payload["min_cohort"], payload["config"]))


def apply_enrol(state: State, statement: Statement, index: int) -> State:
    """Enrol a founding member, or with a quorum's approval a new or a suspended one."""
    payload = statement.payload
    if state.founding:
        if statement.issuer != COORDINATOR or payload["approvals"]:
            raise Refused("genesis", index, "founding members are enrolled by the coordinator, without approvals")
    else:
        _require_quorum(state, payload, index)
    name = payload["member"]
    if name == COORDINATOR or state.is_enrolled(name):
        raise Refused("member", index, f"{name!r} is taken; choose another id, or rotate the member's key")
    known = state.members.get(name)
    key = _fresh_key(state, payload["key"], name, index, may_keep=known is not None)
    member = Member(name, payload["kind"], key, payload["name"])
    return replace(
        state,
        members=state.members.set(name, member),
        keys=state.keys.set(key.raw, name),
        voters=state.voters + 1,
    )


def apply_rotate(state: State, statement: Statement, index: int) -> State:
    """Give a member or the coordinator a new key; the old one is void from this entry on."""
    payload = statement.payload
    _require_quorum(state, payload, index)
    name = payload["member"]
    key = _fresh_key(state, payload["key"], name, index, may_keep=False)
    if name == COORDINATOR:
        return replace(state, coordinator=key)
    member = _active(state, name, index)
    return replace(
        state,
        members=state.members.set(name, replace(member, key=key)),
        keys=state.keys.set(key.raw, name),
    )


def apply_suspend(state: State, statement: Statement, index: int) -> State:
    """Take a member's vote and voice until it is enrolled again."""
    payload = statement.payload
    _require_quorum(state, payload, index)
    member = _active(state, payload["member"], index)
    if state.voters == 1:
        raise Refused("member", index, "the last active member cannot be suspended")
    return replace(
        state,
        members=state.members.set(member.member, replace(member, active=False)),
        voters=state.voters - 1,
    )


def _require_quorum(state: State, payload: Mapping[str, Any], index: int) -> None:
    approvals: Sequence[Mapping[str, Any]] = payload["approvals"]
    needed = quorum_size(state.voters) if state.voters else 1
    message = approval_bytes(payload)
    approved: set[str] = set()
    for approval in approvals:
        name = approval["member"]
        if name in approved:
            raise Refused("approvals", index, f"{name!r} approved twice; each member has one vote")
        member = _active(state, name, index, rule="approvals")
        try:
            member.key.verify(approval["signature"], message)
        except BadSignature:
            raise Refused("approvals", index, f"the approval of {name!r} is not over this record") from None
        approved.add(name)
    if len(approved) < needed:
        raise Refused("approvals", index, f"{len(approved)} of {state.voters} approved, {needed} are needed")


def _active(state: State, name: str, index: int, *, rule: str = "member") -> Member:
    member = state.members.get(name)
    if member is None or not member.active:
        raise Refused(rule, index, f"{name!r} is not an active member")
    return member


def _public_key(raw: bytes, index: int) -> PublicKey:
    try:
        return PublicKey(raw)
    except KeyFileError as error:
        raise Refused("key", index, str(error)) from None


def _fresh_key(state: State, raw: bytes, name: str, index: int, *, may_keep: bool) -> PublicKey:
    key = _public_key(raw, index)
    owner = state.keys.get(raw)
    if key == state.coordinator or (owner is not None and not (may_keep and owner == name)):
        raise Refused("key", index, f"the key for {name!r} has been used before; make a new one")
    return key
