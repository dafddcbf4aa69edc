"""What to expect of training together, before anybody has trained: rules of thumb, from the project's own benchmark.

They are for scorecards trained with `distributed` noise, and are read off the credit tables of docs/figures.md (UCI
credit card and loans; 8 firms): noise takes about 100 / (units of all firms x epsilon) of the AUC (40 to 140 in the
eight settings measured there, local noise counted with sqrt(firms) less), and training alone, tuned, is about
1.5 / sqrt(own units) below training together without noise (1.2 to 1.9 on three tables). Another table may differ by
more than that; a measurement (`artesian coordinator measure`) is the way to know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from clients.calibration import noise_micro_for
from clients.plan import MICRO

LOST_TO_NOISE, LOST_ALONE = 100.0, 1.5
LOST_TO_NOISE_BETWEEN = (40.0, 140.0)
SOURCE = "a rule of thumb from the credit tables of docs/figures.md; other tables may differ by more"


@dataclass(frozen=True)
class Expectation:
    """For one task of one firm.

    Attributes:
        units, firms, epsilon: own declared units; firms of about that size; what a whole run may cost.
        noise_units: the deviation of the noise in each value of a run's sum, in units' largest shares.
        lost_to_noise: AUC, between, below training without noise; None where nothing was measured.
        lost_alone: AUC by which training alone is below that.
        least_units: with fewer at each firm, training alone is expected to be better.
    """

    units: int
    firms: int
    epsilon: float
    noise_units: float
    lost_to_noise: tuple[float, float] | None
    lost_alone: float | None
    least_units: int | None

    def words(self) -> str:
        """One line."""
        head = (
            f"your {self.units:,} records at epsilon {self.epsilon:g}, with {self.firms} such firms: the noise of a "
            f"run is about what {self.noise_units:.1f} of {self.units * self.firms:,} records can move its sum by"
        )
        if self.lost_to_noise is None or self.lost_alone is None or self.least_units is None:
            return f"{head}; what that costs in accuracy was measured for scorecards only"
        low, high = self.lost_to_noise
        return (
            f"{head}; it costs about {low:.3f} to {high:.3f} of the AUC, training alone about {self.lost_alone:.3f}; "
            f"below {self.least_units:,} records each, alone would be better ({SOURCE})"
        )


def expectation(model: str, units: int, firms: int, epsilon: float, delta: float) -> Expectation:
    """What to expect where `firms` firms with `units` declared units each spend `epsilon` on one run.

    Args:
        model: the spec's kind of model.

    Raises:
        PrivacyError: epsilon or delta is out of range.
    """
    noise = noise_micro_for(epsilon, delta, MICRO, 1) / MICRO
    if model != "scorecard":
        return Expectation(units, firms, epsilon, noise, None, None, None)
    every = units * firms * epsilon
    low, high = (one / every for one in LOST_TO_NOISE_BETWEEN)
    # Alone is better where LOST_TO_NOISE / (units * firms * epsilon) > LOST_ALONE / sqrt(units).
    least = math.ceil((LOST_TO_NOISE / LOST_ALONE / (firms * epsilon)) ** 2)
    return Expectation(units, firms, epsilon, noise, (low, high), LOST_ALONE / math.sqrt(units), least)
