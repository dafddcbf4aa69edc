"""The personal layer in a simulation: each firm's own models beside the federated one, on the firm's own test part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.data import Table
from clients.personal import credit, demand
from clients.personal.days import OwnSeries
from clients.personal.errors import NotPersonalised
from clients.tasks import metrics
from clients.tasks.credit import CreditTask
from clients.tasks.demand import DemandTask
from clients.tasks.task import Task

Vector = NDArray[np.float64]
_PLACE = " place"  # no column of a table is called so


@dataclass(frozen=True)
class Divided:
    """One firm's records: what it trains on, federated or not, and what its own models are judged on."""

    training: Table
    test: Table


def own_test(task: Task, part: Table, firm: int, share: float, seed: int) -> NDArray[np.bool_]:
    """bool[rows]: which of a firm's records are set aside for its own test, before anything is trained.

    A firm whose training part would be left with one class has no test of its own.
    """
    marked = Table({**part.columns, _PLACE: np.arange(part.rows)}, part.rows)
    kept, aside = task.set_aside(marked, share, seed + 1000 * (firm + 1))
    out = np.zeros(part.rows, dtype=bool)
    if isinstance(task, CreditTask) and len(np.unique(task.targets(kept))) < 2:
        return out
    out[aside.columns[_PLACE]] = True
    return out


def compare_credit(task: CreditTask, federated: Vector, firms: Sequence[Divided], seed: int) -> dict[str, Any]:
    """Brier score, log-loss and AUC of every firm's own test part, by the candidates and by what the firm chose.

    Returns:
        `brier_own_*` and `auc_own_*`, means over the firms, and `personal`, a list of each firm's figures.
    """
    found = [_credit_firm(task, federated, firm, seed) for firm in firms if firm.test.rows]
    names = ("federated", "calibrated", "local", "personal")
    means = {
        f"{measure}_own_{name}": _mean([one[measure][name] for one in found])
        for measure in ("brier", "auc")
        for name in names
    }
    return {**means, "personal": found}


def _credit_firm(task: CreditTask, federated: Vector, firm: Divided, seed: int) -> dict[str, Any]:
    truth = task.targets(firm.test)
    try:
        choice = credit.choose(task, federated, firm.training, seed)
    except NotPersonalised:
        pd = dict.fromkeys(credit.CANDIDATES, _federated_pd(task, federated, firm.test))
        chosen = credit.FEDERATED
    else:
        pd = {
            name: credit.CreditLayer.fit(task, federated, firm.training, choice, name).pd(firm.test, name)
            for name in credit.CANDIDATES
        }
        chosen = choice.chosen
    told = {name: pd[name] for name in (credit.FEDERATED, credit.CALIBRATED, credit.LOCAL)} | {"personal": pd[chosen]}
    both = len(np.unique(truth)) == 2
    return {
        "chosen": chosen,
        "records": firm.training.rows,
        "tested": firm.test.rows,
        "brier": {name: metrics.brier(truth, one) for name, one in told.items()},
        "auc": {name: metrics.auc(truth, one) if both else float("nan") for name, one in told.items()},
    }


def _federated_pd(task: CreditTask, federated: Vector, table: Table) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-task.log_odds(federated, table))))


def compare_demand(task: DemandTask, federated: Vector, firms: Sequence[Divided], seed: int) -> dict[str, Any]:
    """WAPE over all firms' own test days, from origins a horizon apart, by the candidates and by what each firm chose.

    Returns:
        `wape_own_*`, over all firms together, and `personal`, a list of each firm's figures.
    """
    found = [_demand_firm(task, federated, firm, seed) for firm in firms]
    sold = sum(one["sold"] for one in found)
    names = ("federated", "local", "ensemble", "personal")
    pooled = {f"wape_own_{name}": sum(one["wape"][name] * one["sold"] for one in found) / sold for name in names}
    inside = sum(one["inside"] * one["days"] for one in found) / sum(one["days"] for one in found)
    return {**pooled, "coverage_own_80": inside, "personal": found}


def _demand_firm(task: DemandTask, federated: Vector, firm: Divided, seed: int) -> dict[str, Any]:
    choice = demand.choose(task, federated, firm.training, seed)
    series = task.daily(firm.training)
    first, last = min(int(one.day[0]) for one in series), max(int(one.day[-1]) for one in series)
    own = OwnSeries.of(task, series, federated)
    layer = demand.DemandLayer.fit_to(own, series, [(first, last)], seed)
    whole = task.daily(_joined(task, firm.training, firm.test))
    days = own.days(whole, [(last + 1, last + task.series.test_days)], task.series.horizon_days)
    wape = {name: days.wape(ratio) for name, ratio in layer.all_ratios(days).items()}
    quantiles, actual = layer.quantiles(days, choice), days.ratio * days.scale
    return {
        "chosen": choice.chosen,
        "records": firm.training.rows,
        "days": days.count,
        "sold": float(actual.sum()),
        "inside": float(((actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])).mean()),
        "wape": {
            "federated": wape[demand.FEDERATED],
            "local": wape[demand.LOCAL],
            "ensemble": wape[demand.PERSONAL],
            "personal": wape[choice.chosen],
        },
    }


def _joined(task: DemandTask, training: Table, test: Table) -> Table:
    """A firm's training days and its test days in one table; the test part repeats the last of the former."""
    date = task.series.date
    later = test.take(test.columns[date] > training.columns[date].max())
    columns = {name: np.concatenate([values, later.columns[name]]) for name, values in training.columns.items()}
    return Table(columns, training.rows + later.rows)


def demand_parts(task: DemandTask, parts: Sequence[Table], held_out: Table) -> list[Divided]:
    """Every firm's training part with the test days of its own series."""
    names = held_out.columns[task.series.id]
    return [Divided(part, held_out.take(np.isin(names, part.columns[task.series.id]))) for part in parts]


def _mean(values: Sequence[float]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
