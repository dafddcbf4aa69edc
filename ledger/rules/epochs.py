"""Keys for one epoch and one purpose that members vouch for; to the ledger they are bytes that somebody signed."""

from dataclasses import replace

from ledger.rules.persistent import Map
from ledger.rules.state import EpochKey, Refused, State
from ledger.statement import Statement

MOST_PURPOSES = 16
"""For how many purposes one member may have keys: the state of every other member holds them."""


def apply_epoch_key(state: State, statement: Statement, index: int) -> State:
    """Set the issuer's key for a purpose and an epoch, in place of its key of an earlier epoch."""
    payload, member = statement.payload, statement.issuer
    purpose, epoch = payload["purpose"], payload["epoch"]
    own: Map[str, EpochKey] = state.epoch_keys.get(member, Map())
    known = own.get(purpose)
    if known is None and len(own) == MOST_PURPOSES:
        raise Refused("epoch", index, f"{member!r} has keys for {MOST_PURPOSES} purposes, which is the most")
    if known is not None and epoch <= known.epoch:
        raise Refused(
            "epoch", index, f"{member!r} has been in epoch {known.epoch} of {purpose!r} already; begin a later one"
        )
    made = own.set(purpose, EpochKey(epoch, payload["key"], index))
    return replace(state, epoch_keys=state.epoch_keys.set(member, made))


def without_epoch_keys(state: State, member: str) -> State:
    """The state in which the keys of `member` have ended; their epochs are remembered, and none comes again."""
    own = state.epoch_keys.get(member)
    if own is None:
        return state
    for purpose, known in own.items():
        own = own.set(purpose, replace(known, key=None))
    return replace(state, epoch_keys=state.epoch_keys.set(member, own))
