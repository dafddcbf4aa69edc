"""Who belongs to the consortium: the founding, and changes of membership that a quorum has approved."""

from dataclasses import replace

from ledger.rules.approvals import require_active, require_quorum
from ledger.rules.keyring import fresh_key, public_key
from ledger.rules.sequencing import founding_log, rotate_log
from ledger.rules.state import COORDINATOR, LOG, Member, Refused, State, Terms
from ledger.statement import Statement

_RESERVED = (COORDINATOR, LOG)


def apply_policy(state: State, statement: Statement, index: int) -> State:
    """Found the consortium (entry 0), or change its terms with a quorum's approval."""
    payload = statement.payload
    terms = Terms(payload["min_cohort"], payload["config"], payload["signatures"])
    key = public_key(payload["coordinator"], index)
    if index == 0:
        if statement.issuer != COORDINATOR or payload["approvals"]:
            raise Refused("genesis", index, "entry 0 is the coordinator's policy, without approvals")
        log = founding_log(payload, key, index)
        keys = state.keys.set(log.key.raw, LOG).set(key.raw, COORDINATOR)
        return replace(state, coordinator=key, log=log, keys=keys, terms=terms)
    require_quorum(state, payload, index)
    if key != state.coordinator:
        raise Refused("policy", index, "a policy keeps the coordinator's key; use a rotate record to change it")
    if payload["log"] is not None or payload["next_log"] is not None:
        raise Refused("policy", index, "only entry 0 names the log's key; use a rotate record to change it")
    return replace(state, terms=terms)


def apply_enrol(state: State, statement: Statement, index: int) -> State:
    """Enrol a founding member, or with a quorum's approval a new or a suspended one."""
    payload = statement.payload
    if state.founding:
        if statement.issuer != COORDINATOR or payload["approvals"]:
            raise Refused("genesis", index, "founding members are enrolled by the coordinator, without approvals")
    else:
        require_quorum(state, payload, index)
    name = payload["member"]
    if name in _RESERVED or state.is_enrolled(name):
        raise Refused("member", index, f"{name!r} is taken; choose another id, or rotate the member's key")
    known = state.members.get(name)
    key = fresh_key(state, payload["key"], name, index, kept=None if known is None else known.key)
    member = Member(name, payload["kind"], key, payload["name"])
    return replace(
        state,
        members=state.members.set(name, member),
        keys=state.keys.set(key.raw, name),
        voters=state.voters + 1,
    )


def apply_rotate(state: State, statement: Statement, index: int) -> State:
    """Give a member, the coordinator or the log a new key; the old one is void from this entry on."""
    payload = statement.payload
    name = payload["member"]
    if name == LOG:
        return rotate_log(state, statement, index)
    if "next_log" in payload:
        raise Refused("log", index, f"next_log is for a rotate record of the log, not of {name!r}; leave it out")
    require_quorum(state, payload, index)
    key = fresh_key(state, payload["key"], name, index)
    keys = state.keys.set(key.raw, name)
    if name == COORDINATOR:
        return replace(state, coordinator=key, keys=keys)
    member = require_active(state, name, index)
    return replace(state, members=state.members.set(name, replace(member, key=key)), keys=keys)


def apply_suspend(state: State, statement: Statement, index: int) -> State:
    """Take a member's vote and voice until it is enrolled again."""
    payload = statement.payload
    require_quorum(state, payload, index)
    member = require_active(state, payload["member"], index)
    if state.voters == 1:
        raise Refused("member", index, "the last active member cannot be suspended")
    return replace(
        state,
        members=state.members.set(member.member, replace(member, active=False)),
        voters=state.voters - 1,
    )
