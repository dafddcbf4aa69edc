"""Days that have not come yet: a firm's series with what is known of them, or what was so two weeks before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clients.data import Table
from clients.tasks.demand import DailySeries, DemandTask
from clients.tasks.spec import TaskSpec

_CYCLE_DAYS = 14  # closed days, promotions and holidays of which nothing is said are taken to repeat


def plan_spec(spec: TaskSpec) -> TaskSpec:
    """What a table of coming days holds: the columns of the spec without the value that is to be forecast."""
    assert spec.series is not None
    return spec.model_copy(update={"column": tuple(one for one in spec.column if one.name != spec.series.value)})


def extended(task: DemandTask, series: Sequence[DailySeries], plan: Table | None, days: int) -> list[DailySeries]:
    """The series that reach up to the newest day, with so many days more; their values there are 0.

    Args:
        plan: what is known of coming days (`plan_spec`); days that it lacks are taken to be like those two weeks
            before.
    """
    newest = max(int(one.day[-1]) for one in series)
    said = {} if plan is None else {one.name: one for one in _planned(task, plan)}
    return [_longer(one, said.get(one.name), days) for one in series if int(one.day[-1]) == newest]


def _planned(task: DemandTask, plan: Table) -> list[DailySeries]:
    value = {task.series.value: np.zeros(plan.rows)}
    return task.daily(Table({**plan.columns, **value}, plan.rows))


def _longer(known: DailySeries, plan: DailySeries | None, days: int) -> DailySeries:
    day = np.arange(int(known.day[-1]) + 1, int(known.day[-1]) + 1 + days)
    ahead = np.arange(1, days + 1)
    like = len(known.day) - 1 + ahead - _CYCLE_DAYS * -(-ahead // _CYCLE_DAYS)

    def at(name: str) -> NDArray[np.float64]:
        values: NDArray[np.float64] = getattr(known, name)[np.maximum(like, 0)].copy()
        if plan is not None:
            place = day - int(plan.day[0])
            told = (place >= 0) & (place < len(plan.day))
            told[told] = plan.present[place[told]]
            values[told] = getattr(plan, name)[place[told]]
        return np.concatenate([getattr(known, name), values])

    return DailySeries(
        known.name,
        np.concatenate([known.day, day]),
        np.concatenate([known.present, np.ones(days, dtype=bool)]),
        np.concatenate([known.value, np.zeros(days)]),
        at("open"),
        at("promotion"),
        at("holiday"),
    )
