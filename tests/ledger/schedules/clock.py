"""The time of a schedule, and clocks that go wrong by up to a day."""

from .cast import START_S


class Time:
    """Seconds since the epoch; the same for everybody."""

    def __init__(self) -> None:
        self.now_s = float(START_S)


class Clock:
    """One machine's idea of the time.

    Attributes:
        skew_s: how far it runs ahead.
    """

    def __init__(self, time: Time) -> None:
        self._time = time
        self.skew_s = 0

    def __call__(self) -> float:
        return self._time.now_s + self.skew_s
