"""How long to wait before a process that died is started again: longer each time, never for good, not in step."""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 0.5
"""The longest first pause."""
WELL_S = 60.0
"""A process that was ready for so long starts from the first pause again."""
MEND_S = 60.0
"""The longest pause after an exit that says that the configuration is wrong: only a person mends that."""


class BackOff:
    """Pauses that double up to `at_most_s`, each shortened by up to a half at random.

    Many members whose coordinator went away must not all come back in the same moment.

    Args:
        at_most_s: seconds.
        random: uniform in [0, 1); not for secrets.
    """

    def __init__(self, at_most_s: float, random: Callable[[], float]) -> None:
        self._at_most_s, self._random = at_most_s, random
        self.failures = 0

    def pause_s(self, ready_for_s: float) -> float:
        """Seconds to wait, after an end that came when the process had been ready for `ready_for_s`."""
        if ready_for_s >= WELL_S:
            self.failures = 0
        longest_s = min(self._at_most_s, FIRST_S * 2 ** min(self.failures, 30))
        self.failures += 1
        return self._shortened(longest_s)

    def mend_s(self) -> float:
        """Seconds to wait after an exit that says that the configuration is wrong."""
        self.failures += 1
        return self._shortened(MEND_S)

    def _shortened(self, longest_s: float) -> float:
        return longest_s * (1 - self._random() / 2)
