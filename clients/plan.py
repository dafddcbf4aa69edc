"""The plan of a round: all that a firm must know, and may refuse, before it trains. On the ledger in integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal, get_args

from clients.errors import ClientError
from clients.masking.quantiser import Quantiser
from clients.masking.session import Protection as Aggregation
from clients.privacy import NOTHING, NanoRdp, gaussian_rdp

MICRO = 1_000_000
NANO = 1_000_000_000
Privacy = Literal["none", "local", "distributed"]
TAIL_STDS = 9.0  # noise further out has probability 2e-19 a coordinate; such an update is refused, never wrapped
GRID_STEPS = 8  # grid steps in one standard deviation of a firm's noise: then rounding it leaves DP untouched


class PlanInvalid(ClientError):
    """A plan that cannot be carried out as it stands."""


@dataclass(frozen=True)
class Plan:
    """One round's terms. Every field is an integer, text or bytes, so the ledger holds the plan itself.

    Attributes:
        number: the round's number in its run, from 1; `rounds` is how many the run has.
        spec: SHA-256 of the task spec.
        aggregation: `masked`, or `plain` for simulations.
        privacy: `local` (each firm's noise is enough by itself), `distributed` (only the sum's noise is), `none`.
        noise_micro: noise multiplier of the protected sum, in 1e-6: its standard deviation over `clip`.
        clip_micro: largest norm of one unit's gradient, in 1e-6.
        box_micro: largest coordinate of a firm's sum before noise, in 1e-6.
        sampling_micro: share of the units that a round samples, in 1e-6.
        delta_nano: the delta at which epsilon is told, in 1e-9.
        colluders: firms that may pool what they know with the coordinator. A firm's share of distributed noise is
            sized so that of any `threshold` firms those that do not collude carry enough, whoever drops out.
        epoch: number of the masking keys' epoch.
        threshold: fewest firms that can open the sum.
        ring_bits: width of the masked integers.
        units: declared units of the cohort together; the step divides by it.
        rate_micro, momentum_micro, average_from: the server's step, see `server.descent`.
        deadline_s: seconds that the coordinator waits for a reply.
    """

    number: int
    rounds: int
    spec: bytes
    aggregation: str
    privacy: str
    noise_micro: int
    clip_micro: int
    box_micro: int
    sampling_micro: int
    delta_nano: int
    colluders: int
    epoch: int
    threshold: int
    ring_bits: int
    units: int
    rate_micro: int
    momentum_micro: int
    average_from: int
    deadline_s: int

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise PlanInvalid(f"plan: {name} is {value}, it must lie between {low} and {high}")
        if self.aggregation not in get_args(Aggregation) or self.privacy not in get_args(Privacy):
            raise PlanInvalid(f"plan: unknown aggregation {self.aggregation!r} or privacy {self.privacy!r}")
        if (self.privacy == "none") != (self.noise_micro == 0):
            raise PlanInvalid("plan: noise and privacy disagree: none means no noise, and only none does")
        if len(self.spec) != 32 or self.number > self.rounds or self.box_micro <= 0:
            raise PlanInvalid("plan: spec, number or box is out of range")

    @property
    def clip(self) -> float:
        return self.clip_micro / MICRO

    @property
    def box(self) -> float:
        return self.box_micro / MICRO

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
        """Standard deviation of one firm's noise per coordinate.

        Distributed noise counts on the fewest firms that can be in an opened sum, `threshold`, less the `colluders`
        among them, who know their own noise. To count on `cohort_size - colluders` would let a coordinator that also
        reports drop-outs have less noise than the plan says (Kairouz, Liu and Steinke 2021, section 5, on drop-outs).

        Raises:
            PlanInvalid: the colluders leave no honest firm.
        """
        if self.privacy == "none":
            return 0.0
        whole = self.noise_multiplier * self.clip
        if self.privacy == "local":
            return whole
        fewest = min(self.threshold, cohort_size) if self.aggregation == "masked" else cohort_size
        if self.colluders >= fewest:
            raise PlanInvalid(f"plan: {self.colluders} colluders leave no honest firm among {fewest} that open a sum")
        return whole / math.sqrt(fewest - self.colluders)

    def bound(self, cohort_size: int) -> float:
        """Largest coordinate of a firm's protected update: the box and the tail of its noise."""
        return self.box + TAIL_STDS * self.noise_std(cohort_size)

    @lru_cache(maxsize=8)  # noqa: B019  # plans are small, and few are in use at a time
    def check_grid(self, cohort_size: int) -> None:
        """Refuse a grid too coarse for the noise.

        Noise rounded to a grid of at least `GRID_STEPS` steps per standard deviation has, summed over firms, the
        Rényi divergence of the continuous noise up to terms of order exp(-2 pi^2 GRID_STEPS^2), below 1e-500
        (Poisson summation).

        Raises:
            PlanInvalid: the grid is too coarse.
        """
        std = self.noise_std(cohort_size)
        step = Quantiser(self.bound(cohort_size), cohort_size, self.ring_bits).step
        if std > 0.0 and std < GRID_STEPS * step:
            raise PlanInvalid(
                f"plan: a firm's noise of {std:.3g} is under {GRID_STEPS} grid steps of {step:.3g}: use 32 ring bits"
            )

    def round_rdp(self) -> NanoRdp:
        """Nano-RDP that the round costs every unit of a firm: what the wallet pays and the ledger records."""
        if self.privacy == "none":
            return NOTHING
        return gaussian_rdp(self.noise_multiplier, self.sampling_rate, 1)

    def to_map(self) -> dict[str, Any]:
        """The plan as the ledger's `round` record holds it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_map(cls, stored: Mapping[str, Any]) -> Plan:
        """Read a plan from a `round` record.

        Raises:
            PlanInvalid: a field is missing, unknown, of a wrong type or out of range.
        """
        known = {field.name: field.type for field in fields(cls)}
        odd = sorted(known.keys() ^ stored.keys())
        if odd:
            raise PlanInvalid(f"plan: the field {odd[0]!r} is missing or unknown to this version")
        for name, kind in known.items():
            wanted = {"int": int, "str": str, "bytes": bytes}[str(kind)]
            if type(stored[name]) is not wanted:
                raise PlanInvalid(f"plan: {name} must be {kind}")
        return cls(**stored)


_RANGES: tuple[tuple[str, int, int], ...] = (
    ("number", 1, 1_000_000),
    ("rounds", 1, 1_000_000),
    ("noise_micro", 0, 10**12),
    ("clip_micro", 1, 10**12),
    ("box_micro", 1, 10**18),
    ("sampling_micro", 1, MICRO),
    ("delta_nano", 1, NANO - 1),
    ("colluders", 0, 100_000),
    ("epoch", 0, 2**31),
    ("threshold", 1, 100_000),
    ("ring_bits", 24, 32),
    ("units", 1, 10**15),
    ("rate_micro", 1, 10**12),
    ("momentum_micro", 0, MICRO - 1),
    ("average_from", 0, 1_000_000),
    ("deadline_s", 1, 10**7),
)
