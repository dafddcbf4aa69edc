"""No caller takes all of the service: what is at hand is counted, for each caller and together."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.service.sequencer import Overloaded


class Seats:
    """How many calls of a kind are at hand: each caller has some, and all together have an end."""

    def __init__(self, what: str, most: int, most_each: int, most_outside: int) -> None:
        """Allow `most` in all, `most_each` to one member, and `most_outside` to all outsiders together.

        Args:
            what: names them in errors.
        """
        self._what = what
        self._most, self._most_each, self._most_outside = most, most_each, most_outside
        self._taken: Counter[str | None] = Counter()

    @contextmanager
    def seat(self, caller: str | None) -> Iterator[None]:
        """One for `caller`, while the block runs.

        Raises:
            Overloaded: no seat is free.
        """
        most = self._most_outside if caller is None else self._most_each
        if self._taken.total() >= self._most or self._taken[caller] >= most:
            raise Overloaded(f"too many {self._what} are at hand; end one, or come back later")
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
