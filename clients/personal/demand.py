"""A firm's own forecasts: the federated model, an ensemble of its own on top of it or without it; what validates best.

The choice is made on days of the firm's own records which the models are then fitted without; afterwards they are
fitted to all of them. The spread of the quantiles is the firm's own, too: what was missed on those days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clients.data import Table
from clients.personal.days import YEAR_DAYS, Days, Floats, OwnSeries, Span
from clients.personal.ensemble import Ensemble
from clients.personal.errors import NotPersonalised
from clients.tasks.demand import DailySeries, DemandTask

FEDERATED, LOCAL, PERSONAL, BOTH = "federated", "local", "personal", "both"
CANDIDATES = (FEDERATED, LOCAL, PERSONAL, BOTH)
"""The federated model; the ensemble without it; the ensemble on top of it; the mean of that and the federated one."""
STEP_DAYS = 7
MARGIN = 0.05
"""Another candidate is taken for the ensemble on top of the federated model only where it misses so much less: what a
few series miss on a few weeks is known no better."""
_QUARTERS = 3  # of a history under a year, each is validated on with the rest to learn from
_FEWEST_DAYS = 50  # validated days under which the federated quantiles are kept


@dataclass(frozen=True)
class DemandChoice:
    """What a firm has chosen for a demand task.

    Attributes:
        chosen: one of `CANDIDATES`.
        wape: what each of them missed on the validation days.
        spread: added to a forecast ratio for each quantile; empty where the federated model's own spread is kept.
        validated_from, validated_to: days since 1970-01-01.
        seed: of the models' fitting.
    """

    chosen: str
    wape: dict[str, float]
    spread: tuple[float, ...]
    validated_from: int
    validated_to: int
    seed: int = 0


def choose(task: DemandTask, federated: Floats, table: Table, seed: int = 0) -> DemandChoice:
    """Fit the candidates to a part of a firm's records, and see which forecasts the rest best.

    The rest is the newest `test_days` days; of a history under a year each of the newest three quarters in turn.

    Raises:
        NotPersonalised: the history is too short for that.
    """
    series = task.daily(table)
    first, last = _extent(series)
    validated = _validated(task, first, last)
    tested, forecasts = [], []
    for start, end in validated:
        own = OwnSeries.of(task, series, federated, days=last - first - (end - start))
        days = own.days(series, [(start, end)], task.series.horizon_days)
        layer = DemandLayer.fit_to(own, series, [(first, start - 1), (end + 1, last)], seed)
        tested.append(days)
        forecasts.append(layer.all_ratios(days))
    if not any(days.count for days in tested):
        raise NotPersonalised("no series is long enough to validate a model on its newest days; give a longer history")
    sold = [days.sold for days in tested]
    wape = {
        name: sum(days.missed(one[name]) for days, one in zip(tested, forecasts, strict=True)) / sum(sold)
        for name in CANDIDATES
    }
    best = min(CANDIDATES, key=lambda name: wape[name])
    chosen = best if wape[best] < (1.0 - MARGIN) * wape[PERSONAL] else PERSONAL
    rest = np.concatenate([days.ratio - one[chosen] for days, one in zip(tested, forecasts, strict=True)])
    return DemandChoice(chosen, wape, _spread(task, rest), validated[-1][0], last, seed)


def _validated(task: DemandTask, first: int, last: int) -> list[Span]:
    """The spans to validate on, the newest first."""
    horizon, days = task.series.horizon_days, last - first + 1
    if days >= YEAR_DAYS:
        return [(last + 1 - max(task.series.test_days, horizon), last)]
    quarter = max(days // 4 // horizon, 1) * horizon
    spans = [(last + 1 - (k + 1) * quarter, last - k * quarter) for k in range(_QUARTERS)]
    return [span for span in spans if span[0] >= first + task.series.lookback_days] or spans[:1]


def _spread(task: DemandTask, rest: Floats) -> tuple[float, ...]:
    if len(rest) < _FEWEST_DAYS:
        return ()
    missed = np.quantile(rest, task.spec.model.quantiles)
    missed[task.median] = 0.0
    return tuple(float(one) for one in missed)


def _extent(series: Sequence[DailySeries]) -> tuple[int, int]:
    if not series:
        raise NotPersonalised("the table has no series")
    return min(int(one.day[0]) for one in series), max(int(one.day[-1]) for one in series)


@dataclass(frozen=True)
class DemandLayer:
    """A firm's models, fitted to some of its records; only those that are asked for are there."""

    own: OwnSeries
    models: dict[bool, Ensemble] = field(default_factory=dict)

    @classmethod
    def fit(cls, task: DemandTask, federated: Floats, table: Table, choice: DemandChoice) -> DemandLayer:
        """Fit what a choice needs to all records of a table."""
        series = task.daily(table)
        own = OwnSeries.of(task, series, federated)
        return cls.fit_to(own, series, [_extent(series)], choice.seed, _needed(choice.chosen))

    @classmethod
    def fit_to(
        cls,
        own: OwnSeries,
        series: Sequence[DailySeries],
        spans: Sequence[Span],
        seed: int,
        needed: Sequence[bool] = (False, True),
    ) -> DemandLayer:
        """Fit ensembles to all windows of some spans.

        Args:
            needed: with the federated forecast (True), without it, or both.

        Raises:
            NotPersonalised: there is no such window.
        """
        days = own.days(series, spans, STEP_DAYS)
        if needed and not days.count:
            raise NotPersonalised("no series is long enough to fit a model to; give a longer history")
        fitted = {kind: Ensemble.fit(days, len(own.names), seed, federated=kind) for kind in needed}
        return cls(own, fitted)

    def all_ratios(self, days: Days) -> dict[str, Floats]:
        """Forecast ratios float64[n] of every candidate."""
        return {name: self.ratios(days, name) for name in CANDIDATES}

    def ratios(self, days: Days, chosen: str) -> Floats:
        """Forecast ratios float64[n] of one candidate."""
        if chosen == FEDERATED:
            return days.median
        ensemble = self.models[chosen != LOCAL].ratios(days)
        return 0.5 * (ensemble + days.median) if chosen == BOTH else ensemble

    def quantiles(self, days: Days, choice: DemandChoice) -> Floats:
        """float64[n, q]: forecasts in the series' own unit, in the order of the spec's quantiles."""
        ratio = self.ratios(days, choice.chosen)[:, None]
        centred = days.federated - days.median[:, None]
        spread = np.asarray(choice.spread)[None, :] if choice.spread else centred
        return np.asarray(np.maximum(np.sort(ratio + spread, axis=1), 0.0) * days.scale[:, None])


def _needed(chosen: str) -> tuple[bool, ...]:
    return () if chosen == FEDERATED else (chosen != LOCAL,)
