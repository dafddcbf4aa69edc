"""The quorum that the ledger's own membership makes: whom a checkpoint's finality rests on."""

from ledger.checkpoint import Policy, witness_name
from ledger.note import Vkey
from ledger.rules.state import State


def witness_vkey(origin: str, member: str, state: State) -> Vkey | None:
    """The key with which an active member cosigns, or None if it is no active member."""
    known = state.members.get(member)
    if known is None or not known.active:
        return None
    return Vkey.of_witness(witness_name(origin, member), known.key)


def consortium_policy(state: State, log: Vkey) -> Policy:
    """The policy under which the log's checkpoints are final: the active members of `state`, one vote each.

    Raises:
        PolicyError: there are no members.
    """
    active = state.active()
    witnesses = {m.member: Vkey.of_witness(witness_name(log.name, m.member), m.key) for m in active}
    return Policy.of(log, witnesses)
