"""A firm's witness, whose mirror is one process's alone: it is opened when it is needed, and given back in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ledger.turns import Turns, take_turn
from ledger.witness import Witness

T = TypeVar("T")


class SharedWitness:
    """The witness of one home, which other processes use too: the live witness, or those of other messages.

    Args:
        mirror: its file; None for one in memory.
        make: opens it.
        patience_s: how long to wait until another process gives the mirror back.
    """

    def __init__(self, mirror: Path | None, make: Callable[[], Witness], patience_s: Callable[[], float]) -> None:
        self._mirror, self._make, self._patience_s = mirror, make, patience_s
        self._witness: Witness | None = None
        self._resting = False

    def taken(self) -> Witness:
        """The witness, this process's alone until `rest`.

        Raises:
            Locked: another process has kept it for `patience_s` seconds.
        """
        if self._witness is None:
            self._witness = self._in_turn(self._make)
        elif self._resting:
            self._in_turn(self._witness.wake)
        self._resting = False
        return self._witness

    def rest(self) -> None:
        """Let others have it; the next use takes it back."""
        if self._witness is not None and not self._resting:
            self._witness.rest()
            self._resting = True

    def close(self) -> None:
        """Give it back for good."""
        if self._witness is not None:
            self._witness.close()
            self._witness = None

    def _in_turn(self, take: Callable[[], T]) -> T:
        return take_turn(Turns(self._mirror), take, self._patience_s())
