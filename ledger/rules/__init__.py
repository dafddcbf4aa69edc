"""The consortium's rules: a pure function from a state and a statement to the next state, or a refusal.

No clock, no float, no randomness: every witness that replays the same entries reaches the same state.
"""

from ledger.rules.membership import approval_bytes, approve
from ledger.rules.reducer import admit, apply, initial, signing_key
from ledger.rules.state import (
    COORDINATOR,
    Cap,
    Contribution,
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
    "COORDINATOR",
    "Cap",
    "Contribution",
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
    "initial",
    "signing_key",
]
