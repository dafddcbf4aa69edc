"""Who belongs to the consortium: the founding, and changes of membership that a quorum has approved."""

from dataclasses import replace

from ledger.rules.approvals import require_active, require_quorum
from ledger.rules.epochs import without_epoch_keys
from ledger.rules.keyring import fresh_key, public_key, require_kind, with_key
from ledger.rules.sequencing import founding_log, rotate_log
from ledger.rules.state import COORDINATOR, LOG, RESERVED, Member, Refused, State, Terms
from ledger.statement import Statement


def apply_policy(state: State, statement: Statement, index: int) -> State:
    """Found the consortium (entry 0), or change its terms with a quorum's approval."""
    payload = statement.payload
    terms = Terms(payload["min_cohort"], payload["config"], payload["signatures"])
    key = public_key(payload["coordinator"], index)
    if index == 0:
        if statement.issuer != COORDINATOR or payload["approvals"]:
            raise Refused("genesis", index, "entry 0 is the coordinator's policy, without approvals")
        if payload["founders"] is None:
            raise Refused("genesis", index, "entry 0 says how many founding members the next entries enrol")
        require_kind(terms.signatures, key, COORDINATOR, index)
        log = founding_log(payload, key, index)
        keys = with_key(with_key(state.keys, log.key, LOG), key, COORDINATOR)
        return replace(state, coordinator=key, log=log, keys=keys, terms=terms, founders=payload["founders"])
    require_quorum(state, payload, index)
    if key != state.coordinator:
        raise Refused("policy", index, "a policy keeps the coordinator's key; use a rotate record to change it")
    if any(payload[name] is not None for name in ("founders", "log", "next_log")):
        raise Refused("policy", index, "only entry 0 names founders and the log's key; leave these fields empty")
    require_kind(terms.signatures, key, COORDINATOR, index)
    for member in state.active():
        require_kind(terms.signatures, member.key, member.member, index)
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
    if name in RESERVED or state.is_enrolled(name):
        raise Refused("member", index, f"{name!r} is taken; choose another id, or rotate the member's key")
    known = state.members.get(name)
    key = fresh_key(state, payload["key"], name, index, kept=None if known is None else known.key)
    require_kind(state.terms.signatures, key, name, index)
    member = Member(name, payload["kind"], key, payload["name"], since=index)
    return replace(
        state,
        members=state.members.set(name, member),
        keys=with_key(state.keys, key, name),
        voters=state.voters + 1,
        founders=max(state.founders - 1, 0),
    )


def apply_rotate(state: State, statement: Statement, index: int) -> State:
    """Give a member, the coordinator or the log a new key; the old one and its epoch keys are void from here on."""
    payload = statement.payload
    name = payload["member"]
    if name == LOG:
        return rotate_log(state, statement, index)
    if "next_log" in payload:
        raise Refused("log", index, f"next_log is for a rotate record of the log, not of {name!r}; leave it out")
    require_quorum(state, payload, index)
    key = fresh_key(state, payload["key"], name, index)
    require_kind(state.terms.signatures, key, name, index)
    keys = with_key(state.keys, key, name)
    if name == COORDINATOR:
        return replace(state, coordinator=key, keys=keys)
    member = require_active(state, name, index)
    ended = without_epoch_keys(state, name)
    return replace(ended, members=state.members.set(name, replace(member, key=key, since=index)), keys=keys)


def apply_encryption_key(state: State, statement: Statement, index: int) -> State:
    """Set the key to which bodies for the issuer are sealed from now on."""
    key, member = statement.payload["key"], statement.issuer
    if any(known == key for name, known in state.encryption_keys.items() if name != member):
        raise Refused("key", index, f"the encryption key of {member!r} is another member's; make one of its own")
    return replace(state, encryption_keys=state.encryption_keys.set(member, key))


def apply_suspend(state: State, statement: Statement, index: int) -> State:
    """Take a member's vote and voice until it is enrolled again, and its epoch keys for good."""
    payload = statement.payload
    require_quorum(state, payload, index)
    member = require_active(state, payload["member"], index)
    if state.voters == 1:
        raise Refused("member", index, "the last active member cannot be suspended")
    return replace(
        without_epoch_keys(state, member.member),
        members=state.members.set(member.member, replace(member, active=False, since=index)),
        voters=state.voters - 1,
    )
