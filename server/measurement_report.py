"""What the opened sum of a measurement says: the same for the coordinator and for whoever computes the sum again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clients.composition import tightest_epsilon
from clients.grid import Grid
from clients.masking.ring import Integers
from clients.measuring.statistic import Statistic
from clients.plan import Plan
from clients.tasks.spec import TaskSpec
from server.figures import Counts, figures
from server.ledger_copy import RecordedRound

FOLDER = "measurements"


def plans_before(rounds: Iterable[RecordedRound], task_name: str, entry: int | None = None) -> list[Plan | None]:
    """The plans of a task's rounds that made a model, up to an entry of the ledger; None where one cannot be read."""
    made = (one for one in rounds if one.payload["task"] == task_name and one.aggregate is not None)
    plans = [one.plan for one in made if entry is None or one.entry < entry]
    return [plan for plan in plans if plan is None or not plan.measures]


def whose_units(plan: Plan, trained: Sequence[Plan | None]) -> str:
    """Which units a figure is of: a model is only ever tested on those that no round has trained on.

    Args:
        trained: the plans of all rounds of the task that trained; with another plan, or one that this version cannot
            read, nobody knows whom it trained on.
    """
    if plan.measures in ("units", "columns"):
        return "all units"
    if not plan.held_out_micro:
        return "units that the model was trained on: no test"
    if any(one is None or one.held_out_micro < plan.held_out_micro for one in trained):
        return "units some of which a round has trained on: no test"
    votes = any(one is not None and one.votes for one in trained)
    return f"units held out of training{', which voted on its steps' if votes else ''}"


def cost_of(spec: TaskSpec, plan: Plan) -> dict[str, Any]:
    """What a measurement has cost every unit of a firm, and what one is."""
    mechanism = plan.round_mechanism()
    return {
        "mode": plan.privacy,
        "unit": spec.privacy.words(spec.series),
        "epsilon": None if mechanism is None else tightest_epsilon([mechanism], plan.delta),
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
    }


def said(statistic: Statistic, demand: bool, plan: Plan, total: Integers, firms: int, grid: Grid) -> dict[str, Any]:
    """What an opened sum says; the same for the coordinator and for whoever computes the sum again.

    Args:
        total: int64[plan.dimension], the opened sum.
        firms: how many are in it: each has added its noise.
        grid: the plan's, for the round's cohort.
    """
    counts = counts_of(statistic, total, firms, grid)
    return {
        "what": statistic.what,
        "column": plan.measure_column,
        "bins": plan.measure_bins,
        "counts": [round(float(one), 6) for one in counts.values],
        "noise": round(counts.noise, 6),
        "figures": figures(statistic, demand, plan.measure_bins, counts),
    }


def counts_of(statistic: Statistic, total: Integers, firms: int, grid: Grid) -> Counts:
    """An opened sum in counts, with the noise that these firms have added."""
    one = grid.step / statistic.scale
    return Counts(total.astype(np.float64) * one, grid.sigma * one * math.sqrt(firms))


def read_measurements(home: Path, task_name: str) -> list[dict[str, Any]]:
    """All that a coordinator has measured of a task, oldest first."""
    folder = home / FOLDER / task_name
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns) if folder.is_dir() else []
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def told_of(document: dict[str, Any]) -> str:
    """How a measurement's order ends: what was measured, in which round."""
    return f"measured {document['what']} in round {document['round'][:12]}"


def round_told_in(words: str) -> str:
    """How the id of the round begins that `told_of` names."""
    return words.rpartition(" ")[2]


def measurement_file(home: Path, task_name: str, round_id: bytes) -> Path:
    """Where a coordinator keeps what a measurement said."""
    return home / FOLDER / task_name / f"{round_id.hex()}.json"
