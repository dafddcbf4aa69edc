"""The quorum that the ledger's own membership makes: whom a checkpoint's finality rests on."""

from ledger.checkpoint import CheckpointError, Policy, witness_name
from ledger.note import Vkey
from ledger.rules.state import State


def log_vkey(origin: str, state: State) -> Vkey:
    """The key that signs the log's checkpoint over exactly the entries of `state`.

    Raises:
        CheckpointError: the founding is not complete.
    """
    if state.log is None or state.founding:
        raise CheckpointError(f"{origin}: the founding is not complete; append all genesis statements first")
    return Vkey.of_log(origin, state.log.key)


def witness_vkey(origin: str, member: str, state: State) -> Vkey | None:
    """The key with which an active member cosigns, or None if it is no active member."""
    known = state.members.get(member)
    if known is None or not known.active:
        return None
    return Vkey.of_witness(witness_name(origin, member), known.key.ed25519)


def consortium_policy(state: State, log: str | Vkey) -> Policy:
    """The policy of the members of `state`, one vote each: what an offline verifier is given.

    While members come and go a checkpoint needs more to be final: see `ledger.electorate`.

    Args:
        log: the log's origin, or any vkey of it: the key is the one that `state` names.

    Raises:
        CheckpointError: the founding is not complete.
    """
    key = log_vkey(log if isinstance(log, str) else log.name, state)
    witnesses = {m.member: Vkey.of_witness(witness_name(key.name, m.member), m.key.ed25519) for m in state.active()}
    return Policy.of(key, witnesses)
