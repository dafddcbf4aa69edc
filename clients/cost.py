"""What releases cost the privacy units behind them, and what costs on the same units add up to: exact, in integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, Mechanism
from clients.privacy import NOTHING, NanoRdp, PrivacyError, add, check_nano_rdp, epsilon, epsilon_under_cap


@dataclass(frozen=True)
class Cost:
    """What one release costs every unit: as nano-RDP, and as the mechanisms that it consists of.

    Attributes:
        nano_rdp: what the ledger records.
        mechanisms: all that is released; none where only the nano-RDP is known, as in wallets of before.

    Raises:
        PrivacyError: no account on the grid, or mechanisms that cost less than it says.
    """

    nano_rdp: NanoRdp
    mechanisms: tuple[Mechanism, ...] = ()

    @classmethod
    def of(cls, *mechanisms: Mechanism) -> Self:
        """The cost of releasing all of `mechanisms`."""
        return cls(_rdp_of(mechanisms), mechanisms)

    @property
    def named(self) -> bool:
        """Whether it is known what was released."""
        return bool(self.mechanisms) or not any(self.nano_rdp)

    def require_sound(self) -> Self:
        """Insist on an account on the grid that the mechanisms cover.

        Raises:
            PrivacyError: it is not.
        """
        check_nano_rdp(self.nano_rdp)
        if self.mechanisms and any(map(int.__gt__, self.nano_rdp, _rdp_of(self.mechanisms))):
            raise PrivacyError("the mechanisms cost less than the nano-RDP that is said to be their cost")
        return self


def as_cost(cost: Cost | Sequence[int]) -> Cost:
    """A bare account of nano-RDP is a cost of which nobody says what was released.

    Raises:
        PrivacyError: it is no account on the grid.
    """
    return cost if isinstance(cost, Cost) else Cost(check_nano_rdp(cost))


@lru_cache(maxsize=1024)
def _rdp_of(mechanisms: tuple[Mechanism, ...]) -> NanoRdp:
    return add(one.rdp() for one in mechanisms)


@dataclass
class Total:
    """Costs on the same units, added up. What is taken out again leaves what was there before, to the digit.

    Attributes:
        nano_rdp: their sum at each order.
        steps: how many steps of each (noise, sampling rate), in 1e-6, are among them.
        unnamed: how many of them do not say what was released.
    """

    nano_rdp: NanoRdp = NOTHING
    steps: Counter[tuple[int, int]] = field(default_factory=Counter)
    unnamed: int = 0

    @classmethod
    def of(cls, costs: Iterable[Cost]) -> Self:
        """The sum of `costs`."""
        total = cls()
        for cost in costs:
            total.put(cost)
        return total

    def put(self, cost: Cost) -> None:
        """Add a cost."""
        self.nano_rdp = tuple(map(int.__add__, self.nano_rdp, cost.nano_rdp))
        self.unnamed += not cost.named
        for one in cost.mechanisms:
            self.steps[one.noise_micro, one.sampling_micro] += one.steps

    def take(self, cost: Cost) -> None:
        """Take a cost out that was put in."""
        self.nano_rdp = tuple(map(int.__sub__, self.nano_rdp, cost.nano_rdp))
        self.unnamed -= not cost.named
        for one in cost.mechanisms:
            self.steps[one.noise_micro, one.sampling_micro] -= one.steps
            if not self.steps[one.noise_micro, one.sampling_micro]:
                del self.steps[one.noise_micro, one.sampling_micro]

    def copy(self) -> Self:
        """The same total, apart from this one."""
        return type(self)(self.nano_rdp, self.steps.copy(), self.unnamed)

    def with_(self, *costs: Cost) -> Self:
        """This total and `costs` together; this one stays as it is."""
        together = self.copy()
        for cost in costs:
            together.put(cost)
        return together

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """All that was released, equal steps together, in order of noise; of what is not `unnamed`."""
        return tuple(sorted(Mechanism(*kind, steps) for kind, steps in self.steps.items()))

    @property
    def full_batch(self) -> bool:
        """Whether everything is known to be a Gaussian mechanism on all units: such compose exactly."""
        return not self.unnamed and all(sampling == MICRO for _, sampling in self.steps)

    def epsilon(self, delta: float) -> float:
        """The smallest epsilon at `delta` that is known to hold for all of it, in nats.

        Where everything is known, by `clients.composition`; else by the sum of nano-RDP.
        """
        known = epsilon(self.nano_rdp, delta)
        return known if self.unnamed else min(known, tightest_epsilon(self.mechanisms, delta))

    def capped_epsilon(self, most: float, delta: float) -> float:
        """The epsilon at `delta` that a cap of `most` is held against, in nats: sound even where what was released came
        to be chosen by the results of what was released before.

        The exact sum of full-batch releases is (Smith and Thakurta 2022). Loss distributions are where noise and rate
        are fixed beforehand, so where all releases are of one kind. For several kinds with sampling among them, and for
        costs of which nobody says what was released, one order of the Rényi account is.
        """
        one_kind = len(self.steps) == 1 and not self.unnamed
        if one_kind or self.full_batch:
            return self.epsilon(delta)
        return epsilon_under_cap(self.nano_rdp, most, delta)

    def within(self, most: float, delta: float) -> bool:
        """Whether all of it may stand under the cap (`most`, `delta`); at once where one order already says so."""
        return epsilon_under_cap(self.nano_rdp, most, delta) <= most or self.capped_epsilon(most, delta) <= most
