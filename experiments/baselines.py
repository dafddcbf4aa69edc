"""What a federation is compared with: each firm alone, and all data in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

from clients.data import Table
from clients.tasks import metrics
from clients.tasks.credit import CreditTask
from clients.tasks.demand import DemandTask
from clients.tasks.examples import one_hot
from experiments.errors import ExperimentError

_C = (
    0.1,
    0.3,
    1.0,
    3.0,
    10.0,
)  # on rows of norm 1; sklearn's default 1.0 on unscaled one-hot rows is about 50
_SLOW = {"learning_rate": 0.05, "min_child_samples": 50, "reg_lambda": 5.0, "subsample": 0.8, "subsample_freq": 1}
_BOOSTED: tuple[dict[str, float], ...] = (
    {},  # LightGBM's defaults
    {**_SLOW, "n_estimators": 150, "num_leaves": 15, "colsample_bytree": 0.5},
    {**_SLOW, "n_estimators": 200, "num_leaves": 7, "colsample_bytree": 0.5},
    {**_SLOW, "n_estimators": 500, "num_leaves": 31, "min_child_samples": 20, "colsample_bytree": 0.5},
)
_RIDGE = (0.1, 1.0, 10.0, 100.0)
_VALIDATION = 0.2


def credit_alone(task: CreditTask, training: Table, held_out: Table, seed: int) -> dict[str, float]:
    """Logistic regression on the task's own one-hot columns, with sklearn's default strength and with a tuned one.

    The tuned strength is chosen on a fifth of `training`; a single firm gains much from it, central training little.

    Returns:
        auc, brier and ece on `held_out` with the default, and auc_tuned.
    """
    inputs, targets = _rows(task, training), task.targets(training)
    rows, truth = _rows(task, held_out), task.targets(held_out)
    # Rows have norm 1; on plain one-hot rows sklearn's default strength of 1 is the number of active columns here.
    odds = _fit(inputs, targets, float(task.encoder.active)).decision_function(rows)
    rng = np.random.Generator(np.random.PCG64([seed, 2]))
    strength = _best_strength(inputs, targets, rng.random(len(targets)) < _VALIDATION)
    tuned = _fit(inputs, targets, strength).decision_function(rows)
    pd = 1.0 / (1.0 + np.exp(-odds))
    return {
        "auc": metrics.auc(truth, odds),
        "auc_tuned": metrics.auc(truth, tuned),
        "brier": metrics.brier(truth, pd),
        "ece": metrics.expected_calibration_error(truth, pd),
    }


def boosted_central(task: CreditTask, training: Table, held_out: Table, seed: int) -> dict[str, float]:
    """LightGBM on all raw columns, its settings chosen by AUC on a fifth of `training`: what boosted trees reach.

    Returns:
        auc, brier and ece on `held_out`.

    Raises:
        ExperimentError: LightGBM is not installed.
    """
    try:
        from lightgbm import LGBMClassifier
    except ImportError:
        raise ExperimentError("LightGBM is not installed: pip install 'artesian[dev]'") from None

    inputs, categories = _raw(task, training)
    targets, truth = task.targets(training), task.targets(held_out)
    validating = np.random.Generator(np.random.PCG64([seed, 4])).random(len(targets)) < _VALIDATION

    def fitted(settings: dict[str, float], rows: NDArray[np.bool_]) -> Any:
        model = LGBMClassifier(n_jobs=1, verbose=-1, random_state=seed, **settings)
        return model.fit(inputs[rows], targets[rows], categorical_feature=categories)

    found = [
        metrics.auc(targets[validating], fitted(one, ~validating).predict_proba(inputs[validating])[:, 1])
        for one in _BOOSTED
    ]
    best = fitted(_BOOSTED[int(np.argmax(found))], np.ones(len(targets), dtype=np.bool_))
    pd = np.asarray(best.predict_proba(_raw(task, held_out)[0])[:, 1], dtype=np.float64)
    return {
        "auc": metrics.auc(truth, pd),
        "brier": metrics.brier(truth, pd),
        "ece": metrics.expected_calibration_error(truth, pd),
    }


def _raw(task: CreditTask, table: Table) -> tuple[NDArray[np.float64], list[int]]:
    """float64[rows, columns] of the numbers, flags and numbered categories, and which columns are categories."""
    assert task.spec.label is not None
    label, kinds = task.spec.label.column, ("number", "flag", "category")
    used = [column for column in task.spec.column if column.name != label and column.kind in kinds]
    columns = []
    for column in used:
        values = table.columns[column.name]
        if column.kind == "category":
            place = {value: float(k) for k, value in enumerate(column.values)}
            values = np.array([place.get(value, np.nan) for value in values])
        columns.append(np.asarray(values, dtype=np.float64))
    return np.column_stack(columns), [k for k, column in enumerate(used) if column.kind == "category"]


def _rows(task: CreditTask, table: Table) -> Any:
    return one_hot(task.encoder.encode(table), task.encoder.width)


def _fit(inputs: Any, targets: NDArray[np.float64], strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000).fit(inputs, targets)


def _best_strength(inputs: Any, targets: NDArray[np.float64], validating: NDArray[np.bool_]) -> float:
    fitting = ~validating
    if min(len(np.unique(targets[fitting])), len(np.unique(targets[validating]))) < 2:
        return 1.0
    losses = []
    for strength in _C:
        model = _fit(inputs[fitting], targets[fitting], strength)
        losses.append(log_loss(targets[validating], model.predict_proba(inputs[validating])[:, 1], labels=[0, 1]))
    return _C[int(np.argmin(losses))]


def demand_alone(task: DemandTask, training: Table, held_out: Table) -> float:
    """WAPE of ridge regression on the task's own features, its strength chosen on a fifth of its blocks.

    What is forecast is the day's ratio to its window's mean, as in the federated model.
    """
    examples = task.day_examples(training)
    if not examples.units:
        return float("nan")
    inputs = np.column_stack([examples.inputs, examples.offset[:, task.spec.model.quantiles.index(0.5)]])
    rng = np.random.Generator(np.random.PCG64([examples.units, 3]))
    validating = (rng.random(examples.units) < _VALIDATION)[examples.unit]
    strength = 1.0
    if validating.any() and not validating.all():
        errors = []
        for candidate in _RIDGE:
            model = Ridge(candidate).fit(inputs[~validating], examples.targets[~validating])
            errors.append(np.abs(model.predict(inputs[validating]) - examples.targets[validating]).mean())
        strength = _RIDGE[int(np.argmin(errors))]
    rows, ratio, scale = task.evaluation_rows(held_out)
    forecast = Ridge(strength).fit(inputs, examples.targets).predict(rows)
    return metrics.wape(ratio * scale, np.maximum(forecast, 0.0) * scale)


def mean(values: Sequence[float]) -> float:
    """Mean over the firms that have a value."""
    return float(np.nanmean(values))
