"""No caller takes all of the service: what is at hand is counted, for each caller and together."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.service.sequencer import Overloaded


class Seats:
    """How many calls of a kind are at hand: each caller has some, and all together have an end."""

    def __init__(self, what: str, most: int, most_each: int) -> None:
        """Allow `most` in all, and `most_each` to one member; outsiders count as one. `what` names them in errors."""
        self._what = what
        self._most, self._most_each = most, most_each
        self._taken: Counter[str | None] = Counter()

    @contextmanager
    def seat(self, caller: str | None) -> Iterator[None]:
        """One for `caller`, while the block runs.

        Raises:
            Overloaded: no seat is free.
        """
        if self._taken.total() >= self._most or self._taken[caller] >= self._most_each:
            raise Overloaded(f"too many {self._what} are at hand; end one, or come back later")
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
