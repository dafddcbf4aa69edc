"""The quorum that the ledger's own membership makes: whom a checkpoint's finality rests on."""

from ledger.checkpoint import CheckpointError, Policy, witness_name
from ledger.note import Vkey
from ledger.rules.state import State


def log_vkey(origin: str, state: State) -> Vkey:
    """The key that signs the log's checkpoint over exactly the entries of `state`.

    Raises:
        CheckpointError: the ledger has no policy yet.
    """
    if state.log is None:
        raise CheckpointError(f"{origin}: the ledger has no policy yet; append the genesis statements first")
    return Vkey.of_log(origin, state.log.key)


def witness_vkey(origin: str, member: str, state: State) -> Vkey | None:
    """The key with which an active member cosigns, or None if it is no active member."""
    known = state.members.get(member)
    if known is None or not known.active:
        return None
    return Vkey.of_witness(witness_name(origin, member), known.key)


def consortium_policy(state: State, log: str | Vkey) -> Policy:
    """The policy under which the log's checkpoints are final: the active members of `state`, one vote each.

    Args:
        log: the log's origin, or any vkey of it: the key is the one that `state` names.

    Raises:
        CheckpointError: the ledger has no policy yet.
        PolicyError: there are no members.
    """
    key = log_vkey(log if isinstance(log, str) else log.name, state)
    witnesses = {m.member: Vkey.of_witness(witness_name(key.name, m.member), m.key) for m in state.active()}
    return Policy.of(key, witnesses)
