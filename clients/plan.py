"""The plan of a round: all that a firm must know, and may refuse, before it trains. On the ledger in integers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

from clients.correlation import Correlation
from clients.cost import Cost
from clients.grid import DISCRETE_STEPS, GRID_STEPS, ROUNDING_STEPS, TAIL_STDS, Grid
from clients.masking.quantiser import largest_of
from clients.masking.session import Protection as Aggregation
from clients.mechanism import Mechanism
from clients.plan_record import MICRO, NANO, PlanInvalid, PlanRecord
from clients.privacy import NOTHING, NanoRdp, gaussian_rdp

__all__ = ["MICRO", "NANO", "Plan", "PlanInvalid"]

_FLOAT_ERROR = 1e-9  # relative; far above what a few operations lose, far below what a micro of noise is


@dataclass(frozen=True)
class Plan(PlanRecord):
    """One round's terms, and what follows from them: quantities in their units, the grid and its noise, the cost."""

    @property
    def protection(self) -> Aggregation:
        """What the round's sums are protected by."""
        return cast(Aggregation, self.aggregation)

    @property
    def clip(self) -> float:
        return self.clip_micro / MICRO

    @property
    def box(self) -> float:
        return self.box_micro / MICRO

    @property
    def weight(self) -> float:
        """What one unit adds to its firm's weight; 0 where weights are declared."""
        return self.weight_micro / MICRO

    @property
    def values(self) -> int:
        """Values in the vector that a firm sends: a gradient, and its weight where that goes through the sum."""
        return self.dimension + (self.weighting == "summed")

    @property
    def unit_norm(self) -> float:
        """Largest Euclidean norm of what one unit adds to that vector: of a clipped gradient and a weight."""
        return math.hypot(self.clip, self.weight)

    @property
    def sampling_rate(self) -> float:
        return self.sampling_micro / MICRO

    @property
    def noise_multiplier(self) -> float:
        return self.noise_micro / MICRO

    @property
    def delta(self) -> float:
        return self.delta_nano / NANO

    def noise_std(self, cohort_size: int) -> float:
        """Standard deviation of one firm's noise per coordinate, in the unit of the update."""
        grid = self.grid(cohort_size)
        return grid.sigma * grid.step

    def excess(self, cohort_size: int) -> float:
        """The deviation of the noise in the sum when nobody drops out, over what the plan promises; at least 1.

        Of several groups together: each of them alone has less of it by the square root of their number.
        """
        if self.privacy == "none":
            return 1.0
        return self._share(cohort_size // self.groups) * math.sqrt(cohort_size) / self.noise_multiplier

    @property
    def correlated(self) -> Correlation | None:
        """How noise is correlated over rounds; None where it is not."""
        return Correlation.parse(self.correlation) if self.correlation else None

    @property
    def row(self) -> int:
        """The row of the stream that this round is, from 0, where noise is correlated."""
        return self.number - self.stream_from

    @property
    def participation(self) -> float:
        """Share of the units that a round trains on: sampled, or of one part of those that are dealt."""
        return self.sampling_rate if self.correlated is None else 1.0 / self.correlated.bands

    @property
    def trained_share(self) -> float:
        """Share of a firm's units that it trains on."""
        return 1.0 - self.held_out_micro / MICRO

    @property
    def votes(self) -> bool:
        """Whether firms vote on the groups."""
        return self.vote_clip_micro > 0

    @property
    def local_rate(self) -> float:
        """Rate of the steps that a firm takes by itself."""
        return self.local_rate_micro / MICRO

    def noise_in_mean(self, cohort_size: int) -> float:
        """Standard deviation of the noise in a value of the mean gradient when nobody drops out; as one sum."""
        if self.privacy == "none":
            return 0.0
        noise = self.noise_std(cohort_size // self.groups) * math.sqrt(cohort_size)
        return noise / (self.units * self.trained_share * self.participation)

    @lru_cache(maxsize=8)  # noqa: B019  # plans are small, and few are in use at a time
    def grid(self, cohort_size: int) -> Grid:
        """The grid of a sum over `cohort_size` firms: as fine as the ring allows without a sum that could wrap.

        Raises:
            PlanInvalid: the ring leaves no room for the noise, or too few steps in it.
        """
        largest = largest_of(cohort_size, self.ring_bits)
        correlated = self.correlated
        reach, stds = self.box * self.local_steps, TAIL_STDS * math.sqrt(self.local_steps)
        reach *= 1.0 if correlated is None else correlated.reach
        if self.privacy == "none":
            return Grid(reach, reach / max(largest, 1), 0)
        share, rounding = self._share(cohort_size), self._rounding
        # largest = reach / step + stds * (share * (unit_norm / step + rounding) + 1), solved for the step. The 1 stands
        # for being discrete and whole, which adds 8 - sqrt(7^2 - 2^2) = 1.292 at most, at 8 steps; and putting the
        # value on the grid adds half a step. Both together take 0.35 of a step from a deviation. Of L local steps each
        # is rounded: what is at the box in all of them takes up to L / 2 steps from the 9 sqrt(L) deviations.
        room = largest - stds * (share * rounding + 1)
        if room <= 1:
            raise self._too_coarse(0)
        step = (reach + stds * share * self.unit_norm) / room
        sigma = math.ceil(math.hypot(share * (self.unit_norm / step + rounding), DISCRETE_STEPS))
        if sigma < GRID_STEPS or self.unit_norm / step < rounding:  # or rounding would more than double the noise
            raise self._too_coarse(sigma)
        return Grid(step * largest, step, sigma)

    def grid_is_fine(self, cohort_size: int, most: float) -> bool:
        """Whether rounding to the grid adds at most the share `most` to the noise."""
        try:
            grid = self.grid(cohort_size)
        except PlanInvalid:
            return False
        return self.privacy == "none" or self._rounding * grid.step <= most * self.unit_norm

    @property
    def _rounding(self) -> float:
        """Steps that rounding moves a sum by, beside a unit that moves it by `unit_norm`.

        A unit in a row of correlated noise may move it by less, and what its row costs is less: the more rounding adds.
        """
        return ROUNDING_STEPS * math.sqrt(self.values) / (1.0 if self.correlated is None else self.correlated.least)

    @staticmethod
    def _too_coarse(sigma: int) -> PlanInvalid:
        return PlanInvalid(
            f"plan: a firm's noise would have {sigma} grid steps, under {GRID_STEPS}, or not fit the ring: "
            "use 32 ring bits, or fewer firms"
        )

    def _share(self, cohort_size: int) -> float:
        """The parameter of one firm's noise over what one unit moves the sum by.

        Distributed noise counts on the fewest firms that can be in an opened sum, `threshold`, less the `colluders`
        among them, who know their own noise. To count on `cohort_size - colluders` would let a coordinator that also
        reports drop-outs have less noise than the plan says (Kairouz, Liu and Steinke 2021, section 5, on drop-outs).

        Raises:
            PlanInvalid: the colluders leave no honest firm.
        """
        if self.privacy == "local":
            return self.noise_multiplier
        fewest = cohort_size if self.aggregation == "plain" else min(self.threshold, cohort_size)
        if self.colluders >= fewest:
            raise PlanInvalid(f"plan: {self.colluders} colluders leave no honest firm among {fewest} that open a sum")
        return self.noise_multiplier / math.sqrt(fewest - self.colluders)

    def round_mechanism(self) -> Mechanism | None:
        """What the round releases of every unit of a firm; None without privacy."""
        if self.privacy == "none":
            return None
        if self.correlated is not None:
            return Mechanism(self.noise_micro * MICRO // self.correlated.sensitivity_micro(self.row))
        return Mechanism(self.noise_micro, self.sampling_micro, self.local_steps)

    def run_mechanisms(self) -> tuple[Mechanism, ...]:
        """What all rounds of the run release together if none is tried again."""
        begins = min(self.stream_from, 1)
        if begins:
            rows = (replace(self, number=number, stream_from=begins) for number in range(1, self.rounds + 1))
            return tuple(mechanism for row in rows if (mechanism := row.round_mechanism()) is not None)
        one = self.round_mechanism()
        return () if one is None else (one.times(self.rounds),)

    def round_rdp(self) -> NanoRdp:
        """Nano-RDP that the round costs every unit of a firm: what the wallet pays and the ledger records."""
        mechanism = self.round_mechanism()
        return NOTHING if mechanism is None else mechanism.rdp()

    def opening_rdp(self, cohort_size: int) -> NanoRdp:
        """Nano-RDP that it costs every unit of a firm, above the round, to show somebody the firm's own noisy update.

        The update of `local` noise has paid for itself. One of `distributed` noise carries this firm's share alone, and
        with it the sum says nothing more: together they cost what the share's multiplier says, and the round has paid
        a part. Where units are sampled nothing is taken off, and nothing is counted on the sampling: the sum that led
        to the dispute can tell that a unit was sampled (docs/adr/0014-opening-in-a-dispute.md). Nor is it where noise
        is correlated: the round has paid what the first units owed, and others may have moved its row by more.
        """
        if self.privacy != "distributed":
            return NOTHING
        shown = gaussian_rdp(self._share(cohort_size), 1.0, 1)
        if self.sampling_micro < MICRO or self.correlation:
            return shown
        paid = gaussian_rdp(self.noise_multiplier, 1.0, 1)
        return tuple(one - part for one, part in zip(shown, paid, strict=True))

    def opening_cost(self, cohort_size: int) -> Cost:
        """What `opening_rdp` is the nano-RDP of, with its mechanism: Gaussian, on all units.

        Given the sum, the update is Gaussian around it: beside a round with the noise multiplier z the share's s is
        one with 1 / sqrt(1/s^2 - 1/z^2), here rounded down.
        """
        nano_rdp = self.opening_rdp(cohort_size)
        if not any(nano_rdp):
            return Cost(nano_rdp)
        left = self._share(cohort_size) ** -2
        if self.sampling_micro == MICRO and not self.correlation:
            left -= self.noise_multiplier**-2
        return Cost(nano_rdp, (Mechanism(math.floor(MICRO / math.sqrt(left) * (1 - _FLOAT_ERROR))),))
