"""What a privacy statement states, in numbers and names and no language: for a firm's own tasks and for releases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from clients.composition import gaussian_mu, tightest_epsilon
from clients.cost import Total
from clients.mechanism import MICRO, Mechanism
from clients.plan import Plan
from clients.tasks.spec import TaskSpec


@dataclass(frozen=True)
class UnitFacts:
    """The privacy unit: its kind, the column that names it (empty for a row), and its size where it has one."""

    kind: str
    column: str = ""
    most_rows: int = 1
    days: int = 0

    @classmethod
    def of(cls, spec: TaskSpec) -> Self:
        """The unit of a task."""
        unit = spec.privacy
        column = unit.entity or ("" if spec.series is None else spec.series.id)
        return cls(unit.unit, "" if unit.unit == "row" else column, unit.max_rows, unit.block_days or 0)


@dataclass(frozen=True)
class RunFacts:
    """What one run of a task promises one unit, and who has to be honest for that.

    Attributes:
        mode: `none`, `local` or `distributed` noise.
        firms: in the cohort; `threshold`: fewest whose sum is opened; `colluders`: how many may pool what they know.
        key_holder: who opens an encrypted sum; else empty.
        steps: noisy sums that a unit may be in, of `rounds` rounds.
        epsilon: of the whole run at `delta`; 0 without privacy, where nothing is promised.
        epsilon_of_two: the same for two units together, or one put in another's place; None where it is not known to
            be less than twice as much at a larger delta.
        guess: most that somebody who knows everything else is right in telling whether a unit was there, if a coin is
            right in half of the cases; 1 without privacy.
    """

    mode: str
    aggregation: str
    firms: int
    threshold: int
    groups: int
    colluders: int
    key_holder: str
    rounds: int
    steps: int
    noise_multiplier: float
    sampling_rate: float
    epsilon: float
    delta: float
    epsilon_of_two: float | None
    guess: float

    @classmethod
    def of(cls, plan: Plan, firms: int, mechanisms: Sequence[Mechanism]) -> Self:
        """The run of a plan that releases `mechanisms` in all its rounds."""
        epsilon = tightest_epsilon(mechanisms, plan.delta)
        return cls(
            mode=plan.privacy,
            aggregation=plan.aggregation,
            firms=firms,
            threshold=1 if plan.aggregation == "plain" else plan.threshold,
            groups=plan.groups,
            colluders=plan.colluders,
            key_holder=plan.key_holder,
            rounds=plan.rounds,
            steps=sum(one.steps for one in mechanisms),
            noise_multiplier=plan.noise_multiplier,
            sampling_rate=plan.sampling_rate,
            epsilon=epsilon,
            delta=plan.delta,
            epsilon_of_two=_of_two(mechanisms, plan.delta),
            guess=1.0 if plan.privacy == "none" else most_right(mechanisms),
        )


@dataclass(frozen=True)
class SpentFacts:
    """What a data set has paid and may pay over its lifetime, at `delta`.

    Attributes:
        by: `wallet` for a firm's own account; `ledger` for what all rounds of a task on the ledger come to.
        guess, epsilon_of_two: as in `RunFacts`, of all that was paid.
        cap: most that it may ever pay; None where only firms know, each its own.
        year: most in 365 days; None for no such limit.
        openings: updates that the firm opened to auditors, and what that cost beside their rounds, at `delta`.
    """

    by: str
    epsilon: float
    delta: float
    guess: float
    epsilon_of_two: float | None
    cap: float | None = None
    year: float | None = None
    openings: int = 0
    openings_epsilon: float = 0.0

    @classmethod
    def of(cls, by: str, total: Total, delta: float, cap: float | None = None, year: float | None = None) -> Self:
        """What `total` comes to, without what of it was for openings."""
        epsilon = total.epsilon(delta)
        if total.unnamed:
            return cls(by, epsilon, delta, _most_right_by(epsilon, delta), None, cap, year)
        of_two = _of_two(total.mechanisms, delta)
        return cls(by, epsilon, delta, most_right(total.mechanisms), of_two, cap, year)


@dataclass(frozen=True)
class RoundFacts:
    """The latest training round of a task that a firm knows.

    Attributes:
        id: in hexadecimal.
        number: of the round in its run, from 1.
        entry: of the round in the ledger.
        release: SHA-256 of the model that was published last of the task, in hexadecimal; empty before there is one.
    """

    id: str
    number: int
    entry: int
    release: str = ""


@dataclass(frozen=True)
class IssuerFacts:
    """Whose files a statement is from: firm, consortium, date of reading in UTC (ISO 8601), latest round if any."""

    member: str
    consortium: str
    date: str
    round: RoundFacts | None = None


@dataclass(frozen=True)
class Facts:
    """All that a statement says.

    Attributes:
        run: None before a firm has seen a round of the task.
        issuer: None in a release, whose manifest names itself.
    """

    task: str
    unit: UnitFacts
    run: RunFacts | None
    spent: SpentFacts | None
    issuer: IssuerFacts | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return asdict(self)


def most_right(mechanisms: Sequence[Mechanism]) -> float:
    """How often a bet on whether one unit was there is right at most, if a coin would be right in half of the cases.

    Sampling is left out of it, so where units are sampled the truth is less. Source: Dong, Roth, Su 2019 (arXiv
    1905.02383), section 2: no test of N(0, 1) against N(mu, 1) has two errors that add up to less.
    """
    return math.erfc(-gaussian_mu(mechanisms) / (2 * math.sqrt(2))) / 2


def _most_right_by(epsilon: float, delta: float) -> float:
    """The same bet where no more than epsilon is known. Source: Kairouz, Oh, Viswanath 2015 (arXiv 1311.0776)."""
    return 1 - (1 - delta) * math.exp(-epsilon) / (1 + math.exp(-epsilon))


def _of_two(mechanisms: Sequence[Mechanism], delta: float) -> float | None:
    """Two units move a sum twice as far; where units are sampled no such simple bound is known."""
    if not mechanisms or any(one.sampling_micro != MICRO for one in mechanisms):
        return None
    return tightest_epsilon([Mechanism(max(1, one.noise_micro // 2), MICRO, one.steps) for one in mechanisms], delta)
