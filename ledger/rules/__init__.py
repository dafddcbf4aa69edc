"""The consortium's rules: a pure function from a state and a statement to the next state, or a refusal.

No clock, no float, no randomness: every witness that replays the same entries reaches the same state.
"""

from ledger.rules.approvals import approval_bytes, approve
from ledger.rules.kinds import DELETION
from ledger.rules.reducer import MEMBERSHIP, admit, apply, initial, rehearse, signing_key
from ledger.rules.sequencing import commitment
from ledger.rules.state import (
    CLASSICAL,
    COORDINATOR,
    HYBRID,
    LOG,
    RESERVED,
    Cap,
    Contribution,
    EpochKey,
    LogKey,
    Member,
    Phase,
    Refused,
    Release,
    Round,
    State,
    Task,
    Terms,
)

__all__ = [
    "CLASSICAL",
    "COORDINATOR",
    "DELETION",
    "HYBRID",
    "LOG",
    "MEMBERSHIP",
    "RESERVED",
    "Cap",
    "Contribution",
    "EpochKey",
    "LogKey",
    "Member",
    "Phase",
    "Refused",
    "Release",
    "Round",
    "State",
    "Task",
    "Terms",
    "admit",
    "apply",
    "approval_bytes",
    "approve",
    "commitment",
    "initial",
    "rehearse",
    "signing_key",
]
