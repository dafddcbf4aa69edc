"""How often a bank may ask: a token bucket for each bank."""

from collections.abc import Callable
from dataclasses import dataclass, field

from server.errors import ServerError


class OverQuota(ServerError):
    """A bank asked more often than it may."""

    exit_code = 1


@dataclass
class Quota:
    """At most `burst` questions at once, refilled at `rate_per_s`, for each bank by itself.

    Attributes:
        rate_per_s: questions that come back each second.
        burst: the most that a rested bank may ask at once.
        clock_s: a monotonic clock, seconds.
    """

    rate_per_s: float
    burst: int
    clock_s: Callable[[], float]
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ValueError when no question could ever pass."""
        if self.rate_per_s <= 0 or self.burst < 1:
            raise ValueError(f"a quota of {self.rate_per_s} a second with a burst of {self.burst} admits nobody")

    def take(self, bank: str) -> None:
        """Count one question of `bank`.

        Raises:
            OverQuota: its bucket is empty; the message says when to come back.
        """
        now = self.clock_s()
        tokens, then = self._buckets.get(bank, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - then) * self.rate_per_s)
        if tokens < 1:
            # The bucket stays as it is: knocking at a closed door does not keep it closed for longer.
            wait_s = (1 - tokens) / self.rate_per_s
            raise OverQuota(f"{bank} is over its {self.rate_per_s:g} questions a second; ask again in {wait_s:.2f} s")
        self._buckets[bank] = (tokens - 1, now)
