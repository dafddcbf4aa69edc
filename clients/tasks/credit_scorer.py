"""From a credit model to points and reasons: what a bank is told about one applicant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from clients.data import TableInvalid, check_frame
from clients.errors import ClientError
from clients.tasks.credit import CreditTask
from clients.tasks.examples import one_hot
from clients.tasks.linear_model import LinearModel
from clients.tasks.points import ScorecardPoints
from clients.tasks.scorecard import Reason, Score
from clients.tasks.spec import TaskSpec

SHOWN_REASONS = 6
SHOWN_COLUMNS = 8
_SHARE = 0.8  # of all points lost: principal reasons are never cut before they explain so much


class FeaturesInvalid(ClientError):
    """Features of an applicant that the task spec does not allow; says which and why."""


class CreditScorer:
    """Scores applicants with a released model.

    Points are linear in the log-odds: `points_to_double` of them double the odds of being paid (Siddiqi 2006). A
    group's points are what the applicant's bin gains or loses against the group's best bin for a scorecard, and for a
    perceptron against each other bin in turn with all else as it is; so a reason is always about something scored, and
    zero points are never given as a reason. Public trees are no reasons of their own: the points of a leaf are divided
    among the features that its tree asks about (`clients.tasks.points`), so the codes of reasons are those of features.
    """

    def __init__(self, spec: TaskSpec, parameters: NDArray[np.float64]) -> None:
        self._spec = spec
        self._task = CreditTask(spec)
        self._parameters = parameters
        encoder, architecture = self._task.encoder, self._task.architecture
        # A row's active columns share its norm of 1: what one adds to the log-odds is its weight over their root.
        scaled = parameters / math.sqrt(encoder.active)
        self._scorecard = ScorecardPoints(encoder, scaled) if isinstance(architecture, LinearModel) else None
        self._factor = spec.score.points_to_double / math.log(2.0)
        assert spec.label is not None
        # Identifiers are never features, so an applicant's are not asked for and not taken.
        asked = tuple(column for column in spec.column if column.kind != "text")
        self._asked = spec.model_copy(update={"column": asked})
        self._inputs = {column.name: column for column in asked if column.name != spec.label.column}

    def score(self, features: Mapping[str, float | str | None]) -> Score:
        """Score one applicant; features are the raw columns of the task spec, by name.

        Raises:
            FeaturesInvalid: a column is unknown, missing, of a wrong kind or out of its bounds.
        """
        codes = self._encode(features)
        log_odds = float(self._log_odds(codes)[0])
        points = self._points_lost(codes[0], log_odds)
        total = self._spec.score.base_score - self._factor * (log_odds + math.log(self._spec.score.base_odds))
        reasons = self._reasons(codes[0], points)
        return Score(round(total), float(expit(log_odds)), reasons)

    def _encode(self, features: Mapping[str, Any]) -> NDArray[np.int32]:
        unknown = sorted(features.keys() - self._inputs.keys())
        if unknown:
            known = ", ".join([*self._inputs][:SHOWN_COLUMNS]) + (", …" if len(self._inputs) > SHOWN_COLUMNS else "")
            what = f"features: {unknown[0]!r} is not a column of the task {self._spec.name!r}"
            raise FeaturesInvalid(f"{what} (known: {known})")
        absent = [n for n, column in self._inputs.items() if n not in features and column.missing == "refused"]
        if absent:
            raise FeaturesInvalid(f"features: {absent[0]!r} is missing")
        row = {name: [_as_text(features.get(name))] for name in self._inputs}
        try:
            table = check_frame(pd.DataFrame(row, dtype=object), self._asked, "features", labelled=False)
        except TableInvalid as error:
            first = error.violations[0]
            raise FeaturesInvalid(f"features: {first.column!r}: {first.problem}") from None
        return self._task.encoder.encode(table)

    def _log_odds(self, codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """float64[n]: log-odds of default of rows of active columns int32[n, groups]."""
        inputs = one_hot(codes, self._task.encoder.width)
        return self._task.architecture.forward(self._parameters, inputs)[:, 0] + self._task.offset

    def _points_lost(self, codes: NDArray[np.int32], log_odds: float) -> NDArray[np.float64]:
        """float64[groups]: points that each group's bin costs against the group's best bin, all else equal."""
        if self._scorecard is not None:
            return self._factor * self._scorecard.costs(codes)
        groups = self._task.encoder.groups
        widths = [group.width for group in groups]
        variants = np.repeat(codes[None, :], sum(widths), axis=0)
        row = 0
        for position, group in enumerate(groups):
            variants[row : row + group.width, position] = np.arange(group.start, group.start + group.width)
            row += group.width
        possible = np.concatenate([group.possible for group in groups])
        outcomes = np.where(possible, self._log_odds(variants), np.inf)
        best = np.minimum.reduceat(outcomes, np.cumsum([0, *widths[:-1]]))
        return self._factor * (log_odds - best)

    def _reasons(self, codes: NDArray[np.int32], points: NDArray[np.float64]) -> tuple[Reason, ...]:
        """The groups that cost most, until they explain most of the loss."""
        order = np.argsort(-points, kind="stable")
        lost = np.maximum(points[order], 0.0).cumsum()
        needed = int(np.searchsorted(lost, _SHARE * lost[-1])) + 1
        out = []
        for position in order[: max(1, min(needed, SHOWN_REASONS))]:
            cost = round(float(points[position]))
            if cost <= 0:
                break
            group = self._task.encoder.groups[position]
            label = group.labels[int(codes[position]) - group.start]
            out.append(Reason(group.code, f"{group.text}: {label}", -cost))
        return tuple(out)


def _as_text(value: float | str | None) -> str:
    if value is None:
        return ""
    return str(value)
