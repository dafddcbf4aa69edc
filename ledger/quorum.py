"""What stands on a checkpoint: the log's signature and the members' cosignatures, and whether they are a quorum."""

from collections.abc import Mapping

from ledger.checkpoint import (
    FUTURE_TOLERANCE_S,
    CheckpointError,
    Policy,
    SignedCheckpoint,
    is_final,
    verify_cosignature,
)
from ledger.electorate import Electorate
from ledger.note import SignatureLine, Vkey, join_note


def policy_at(electorate: Electorate, size: int) -> Policy | None:
    """The policy under which a checkpoint over `size` entries is final; None where that is no question (any more)."""
    try:
        return electorate.policy(size)
    except CheckpointError:
        return None


def bare(signed: SignedCheckpoint, log: Vkey) -> str:
    """The note with the log's own signature only."""
    return join_note(signed.body, [line for line in signed.lines if line.is_by(log)][:1])


def good_lines(signed: SignedCheckpoint, electorate: Electorate, now_s: float) -> dict[str, str]:
    """The members' cosignatures on a checkpoint, by key name; those from the future are left out.

    Raises:
        CheckpointError: a line by a member is wrong.
    """
    policy = policy_at(electorate, signed.checkpoint.size)
    good = dict[str, str]()
    for vkey in policy.witnesses.values() if policy else ():
        for line in (line for line in signed.lines if line.is_by(vkey)):
            if verify_cosignature(signed.body, line, vkey) <= now_s + FUTURE_TOLERANCE_S:
                good[line.name] = str(line)
    return good


def makes_final(signed: SignedCheckpoint, lines: Mapping[str, str], electorate: Electorate) -> bool:
    """Whether `lines` are a quorum on a checkpoint that the log signed."""
    policy = policy_at(electorate, signed.checkpoint.size)
    if policy is None:
        return False
    note = SignedCheckpoint.parse(bare(signed, policy.logs[0]))
    return is_final(note.with_lines(SignatureLine.parse(line) for line in lines.values()), policy)
