"""The fields of a plan, as the ledger's `round` record holds them: integers, text and bytes, checked and in range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, Self, get_args

from clients.correlation import Correlation
from clients.errors import ClientError
from clients.masking.session import Protection as Aggregation

MICRO = 1_000_000
NANO = 1_000_000_000
Privacy = Literal["none", "local", "distributed"]
Combination = Literal["sum", "mean", "median"]
Weighting = Literal["declared", "summed"]
Optimiser = Literal["momentum", "adam"]
Measures = Literal["", "units", "evaluation", "columns", "fairness"]
MEASUREMENTS: tuple[str, ...] = get_args(Measures)[1:]
MAX_DIMENSION = 1 << 27


class PlanInvalid(ClientError):
    """A plan that cannot be carried out as it stands."""


@dataclass(frozen=True)
class PlanRecord:
    """One round's terms. Every field is an integer, text or bytes, so the ledger holds the plan itself.

    Attributes:
        number: the round's number in its run, from 1; `rounds` is how many the run has.
        spec: SHA-256 of the task spec.
        aggregation: `masked`, `encrypted`, or `plain` for simulations.
        privacy: `local` (each firm's noise is enough by itself), `distributed` (only the sum's noise is), `none`.
        dimension: parameters of the model, and values in a gradient.
        noise_micro: noise multiplier of the protected sum, in 1e-6: its standard deviation over what one unit moves
            the sum by, `unit_norm` and what rounding to the grid adds.
        clip_micro: largest norm of one unit's gradient, in 1e-6.
        box_micro: largest coordinate of a firm's sum before noise, in 1e-6.
        sampling_micro: share of the units that a round samples, in 1e-6.
        delta_nano: the delta at which epsilon is told, in 1e-9.
        colluders: firms that may pool what they know with the coordinator. A firm's share of distributed noise is
            sized so that of any `threshold` firms those that do not collude carry enough, whoever drops out.
        epoch: number of the masking keys' epoch.
        threshold: fewest firms that can open the sum.
        ring_bits: width of the masked integers.
        units: declared units of the cohort together.
        rate_micro, momentum_micro, average_from: the server's step, see `server.descent`.
        deadline_s: seconds that the coordinator waits for a reply.
        groups: into how many random groups the cohort is divided, see `clients.groups`. Each group's sum is opened by
            itself and has the noise that the plan promises, so all of them together have the square root of `groups`
            times that. `threshold` is that of each group.
        combine: how the group sums become a step: `sum` adds them up; `mean` and `median` (coordinate by coordinate)
            are of the groups' mean gradients, after the rules of the other fields, see `server.aggregation.robust`.
        norm_cap_milli: a group's mean gradient is shortened to this multiple, in 1e-3, of the median of their norms; 0
            shortens none.
        root: SHA-256 of the coordinator's root table: groups count by the cosine of their mean gradient to that of the
            table; empty for no such rule.
        held_out_micro: share of each firm's units, in 1e-6, that it never trains on: it votes on the groups with them,
            where there are votes, and a round that measures is about them alone; 0 holds none out, and measures all.
        vote_clip_micro: most that one held-out unit can add to a vote, in 1e-6 of a nat; 0 for no votes.
        weighting: what the step divides by: `declared`, the units declared times the sampling rate; `summed`, the units
            that the firms' weights in the opened sum stand for. Then a firm's vector has one coordinate more, its last.
        weight_micro: what each unit that a round samples adds to that coordinate, in 1e-6, at most the clip (so that
            declared units fit into the box); 0 where weights are declared.
        least_weight_micro: the step divides by no smaller total weight, whatever its noise made of it, in 1e-6: one
            unit's at least; 0 where weights are declared.
        optimiser: what the server makes of a round's mean gradient: `momentum` or `adam`, see `server.descent`.
        second_micro: Adam's decay of second moments, in 1e-6; `momentum_micro` is that of first moments.
        floor_nano: Adam divides by no less, in 1e-9.
        correction_nano: deviation of the noise in a value of the mean gradient, in 1e-9, whose square Adam takes off
            its second moments; 0 takes nothing off.
        local_steps: noisy steps that a firm takes by itself in a round, each with all of its noise and each paid for;
            it sends their sum. Above 1 not with `distributed` noise, of which a firm has only a share.
        local_rate_micro: rate of those steps, in 1e-6; 0 where there is one.
        correlation: coefficients of correlated noise in 1e-6, with spaces between, see `clients.correlation`; empty for
            independent noise. Then each round trains on one of as many parts of the units.
        stream_from: number of the round with which the stream of correlated noise begins; 0 without.
        measures: empty for a round that trains. Else what the round's sum is in place of a gradient, see
            `clients.measuring`: then `dimension` is its length and `clip_micro` the norm of what one unit adds.
        measure_bins: score bins of that; 0 where there are none.
        measure_column: the column whose values are compared; empty where none are.
        key_holder: the member that opens an encrypted sum; else empty.
        context: SHA-256 of its public context of the epoch, 32 bytes; else empty.
    """

    number: int
    rounds: int
    spec: bytes
    aggregation: str
    privacy: str
    dimension: int
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
    groups: int = 1
    combine: str = "sum"
    norm_cap_milli: int = 0
    root: bytes = b""
    held_out_micro: int = 0
    vote_clip_micro: int = 0
    weighting: str = "declared"
    weight_micro: int = 0
    least_weight_micro: int = 0
    key_holder: str = ""
    context: bytes = b""
    optimiser: str = "momentum"
    second_micro: int = 0
    floor_nano: int = 0
    correction_nano: int = 0
    local_steps: int = 1
    local_rate_micro: int = 0
    correlation: str = ""
    stream_from: int = 0
    measures: str = ""
    measure_bins: int = 0
    measure_column: str = ""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise PlanInvalid(f"plan: {name} is {value}, it must lie between {low} and {high}")
        if self.aggregation not in get_args(Aggregation) or self.privacy not in get_args(Privacy):
            raise PlanInvalid(f"plan: unknown aggregation {self.aggregation!r} or privacy {self.privacy!r}")
        if (self.privacy == "none") != (self.noise_micro == 0):
            raise PlanInvalid("plan: noise and privacy disagree: none means no noise, and only none does")
        if self.weighting not in get_args(Weighting):
            raise PlanInvalid(f"plan: unknown weighting {self.weighting!r}")
        if len({self.weighting == "summed", self.weight_micro > 0, self.least_weight_micro > 0}) > 1:
            raise PlanInvalid("plan: weighting and weights disagree: summed means weights, and only it does")
        if not self.weight_micro <= min(self.clip_micro, self.least_weight_micro):
            raise PlanInvalid("plan: a unit's weight must be at most the clip and at most the least total weight")
        if len(self.spec) != 32 or self.number > self.rounds or self.box_micro <= 0:
            raise PlanInvalid("plan: spec, number or box is out of range")
        self._check_robust()
        self._check_holder()
        self._check_algorithm()
        self._check_correlation()
        self._check_measures()

    def _check_robust(self) -> None:
        if self.combine not in get_args(Combination):
            raise PlanInvalid(f"plan: unknown combine {self.combine!r}")
        if self.groups > 1 and self.aggregation not in ("masked", "plain"):
            raise PlanInvalid(f"plan: groups are opened under masks, not with aggregation {self.aggregation!r}")
        if self.combine == "sum" and (self.norm_cap_milli or self.root or self.vote_clip_micro):
            raise PlanInvalid("plan: a plain sum knows no rules about groups; combine by mean or median")
        if self.groups < _FEWEST_GROUPS[self.combine]:
            raise PlanInvalid(f"plan: {self.combine} takes at least {_FEWEST_GROUPS[self.combine]} groups")
        votes, held_out = self.vote_clip_micro > 0, self.held_out_micro > 0  # a plain sum may hold out without votes
        if len(self.root) not in (0, 32) or (votes != held_out and self.combine != "sum"):
            raise PlanInvalid("plan: root is a SHA-256, and held-out units and the clip of their votes go together")

    def _check_holder(self) -> None:
        held = (bool(self.key_holder), len(self.context))
        if held != ((True, 32) if self.aggregation == "encrypted" else (False, 0)):
            raise PlanInvalid("plan: an encrypted sum names its key holder and its context, and no other does")

    def _check_algorithm(self) -> None:
        adam = self.optimiser == "adam"
        if self.optimiser not in get_args(Optimiser):
            raise PlanInvalid(f"plan: unknown optimiser {self.optimiser!r}")
        if {adam, self.second_micro > 0, self.floor_nano > 0} != {adam}:
            raise PlanInvalid("plan: adam has a decay of second moments and a floor, and momentum has neither")
        if self.correction_nano and not adam:
            raise PlanInvalid("plan: only adam corrects second moments")
        if (self.local_steps > 1) != (self.local_rate_micro > 0):
            raise PlanInvalid("plan: local steps and their rate go together")
        if self.local_steps > 1 and self.privacy == "distributed":
            raise PlanInvalid("plan: distributed noise is a share, and a local step needs it all: use local noise")
        if self.local_steps > 1 and self.weighting == "summed":
            raise PlanInvalid("plan: local steps divide by declared units; use weighting declared")
        if self.combine != "sum" and (adam or self.local_steps > 1):
            raise PlanInvalid("plan: rules about groups judge one gradient: no adam and no local steps with them")

    def _check_correlation(self) -> None:
        if not self.correlation:
            if self.stream_from:
                raise PlanInvalid("plan: only correlated noise has a stream that begins with a round")
            return
        try:
            Correlation.parse(self.correlation)
        except ValueError as error:
            raise PlanInvalid(f"plan: {error}") from None
        plain = self.optimiser == "momentum" and self.local_steps == 1 and self.sampling_micro == MICRO
        if not plain or self.privacy == "none" or self.groups > 1 or self.weighting == "summed":
            raise PlanInvalid(
                "plan: correlated noise goes with momentum, declared weights and one group, and needs noise; without "
                "sampling or local steps"
            )
        if not 1 <= self.stream_from <= self.number:
            raise PlanInvalid("plan: a stream of correlated noise begins with this round or one before")
        if self.held_out_micro:
            raise PlanInvalid("plan: correlated noise deals all units into its parts: no units are held out")

    def _check_measures(self) -> None:
        if self.measures not in get_args(Measures):
            raise PlanInvalid(f"plan: unknown measurement {self.measures!r}")
        if not self.measures and (self.measure_bins or self.measure_column):
            raise PlanInvalid("plan: score bins and a column are for rounds that measure")
        plain = self.combine == "sum" and self.groups == 1 and self.weighting == "declared" and self.local_steps == 1
        if self.measures and not (plain and self.sampling_micro == MICRO and not self.correlation):
            raise PlanInvalid("plan: a measurement is one sum of units: no groups, weights, sampling or local steps")

    def to_map(self) -> dict[str, Any]:
        """The plan as the ledger's `round` record holds it.

        A field that has a default came later than the others. It is written only where it says something else, so that
        a firm of the version before takes part in all rounds that it understands, and refuses the others.
        """
        stored = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in stored.items() if name not in _LATER or value != _LATER[name]}

    @classmethod
    def from_map(cls, stored: Mapping[str, Any]) -> Self:
        """Read a plan from a `round` record.

        Raises:
            PlanInvalid: a field is missing, unknown, of a wrong type or out of range; or there is only its hash.
        """
        if not isinstance(stored, Mapping):
            raise PlanInvalid("plan: the record has only its hash, or nothing of the kind")
        known = {field.name: field.type for field in fields(cls)}
        odd = sorted(map(str, (known.keys() ^ stored.keys()) - (_LATER.keys() - stored.keys())))
        if odd:
            raise PlanInvalid(f"plan: the field {odd[0]!r} is missing or unknown to this version")
        for name, kind in ((name, kind) for name, kind in known.items() if name in stored):
            wanted = {"int": int, "str": str, "bytes": bytes}[str(kind)]
            if type(stored[name]) is not wanted:
                raise PlanInvalid(f"plan: {name} must be {kind}")
        return cls(**stored)


_LATER: dict[str, Any] = {field.name: field.default for field in fields(PlanRecord) if field.default is not MISSING}
_RANGES: tuple[tuple[str, int, int], ...] = (
    ("number", 1, 1_000_000),
    ("rounds", 1, 1_000_000),
    ("dimension", 1, MAX_DIMENSION),
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
    ("groups", 1, 10_000),
    ("norm_cap_milli", 0, 10**6),
    ("held_out_micro", 0, MICRO // 2),
    ("vote_clip_micro", 0, 100 * MICRO),
    ("weight_micro", 0, 10**12),
    ("least_weight_micro", 0, 10**18),
    ("second_micro", 0, MICRO - 1),
    ("floor_nano", 0, 10**15),
    ("correction_nano", 0, 10**15),
    ("local_steps", 1, 1000),
    ("local_rate_micro", 0, 10**12),
    ("stream_from", 0, 1_000_000),
    ("measure_bins", 0, 1000),
)
_FEWEST_GROUPS = {"sum": 1, "mean": 2, "median": 3}
