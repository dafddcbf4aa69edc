"""Credit risk: the probability that a record defaults, from one-hot public bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clients.data import Table, label_mask
from clients.tasks import metrics
from clients.tasks.architecture import Architecture
from clients.tasks.encoding import Encoder
from clients.tasks.examples import Examples, one_hot
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import LogLoss
from clients.tasks.perceptron import Perceptron
from clients.tasks.spec import TaskSpec


class CreditTask:
    """A scorecard (logistic regression on one-hot public bins, and public trees) or a perceptron on the bins.

    Rows have norm 1, so one row's log-loss gradient has norm at most 1 without clipping; the offset is the
    log-odds of the public base rate.
    """

    def __init__(self, spec: TaskSpec) -> None:
        assert spec.label is not None
        self.spec = spec
        self.encoder = Encoder(spec)
        self.architecture: Architecture = LinearModel(self.encoder.width, 1, LogLoss())
        if spec.model.kind == "mlp":
            self.architecture = Perceptron(self.encoder.width, 1, spec.model.hidden, LogLoss())
        self.offset = float(logit(spec.label.base_rate))

    def targets(self, table: Table) -> NDArray[np.float64]:
        """float64[rows]: 1 for default, 0 for paid."""
        assert self.spec.label is not None
        return label_mask(table.columns[self.spec.label.column], self.spec.label.positive).astype(np.float64)

    def examples(self, table: Table) -> Examples:
        """One example a row; rows of one entity (at most `max_rows`, the first ones) form one unit."""
        unit, keep, names = self._units(table)
        table = table.take(keep)
        inputs = one_hot(self.encoder.encode(table), self.encoder.width)
        offset = np.full((table.rows, 1), self.offset)
        return Examples(inputs, self.targets(table), offset, unit, int(unit[-1]) + 1 if len(unit) else 0, names)

    def rows(self, table: Table) -> NDArray[np.int64]:
        """int64[n]: which row of the table each example comes from, in the examples' order."""
        return self._units(table)[1]

    def _units(self, table: Table) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_] | None]:
        privacy = self.spec.privacy
        if privacy.unit == "row":
            every = np.arange(table.rows)
            return every, every, None
        assert privacy.entity is not None
        names, unit = np.unique(table.columns[privacy.entity], return_inverse=True)
        order = np.argsort(unit, kind="stable")
        counts = np.bincount(unit)
        rank = np.arange(table.rows) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = rank < privacy.max_rows
        return unit[order][kept].astype(np.int64), order[kept], names.astype(str)

    def set_aside(self, table: Table, share: float, seed: int) -> tuple[Table, Table]:
        """Hold out a share of the entities (or rows), stratified by nothing: plain chance."""
        rng = np.random.Generator(np.random.PCG64(seed))
        if self.spec.privacy.entity is not None:
            _, key = np.unique(table.columns[self.spec.privacy.entity], return_inverse=True)
        else:
            key = np.arange(table.rows)
        held_out = (rng.permutation(int(key.max()) + 1) < share * (int(key.max()) + 1))[key]
        return table.take(~held_out), table.take(held_out)

    def inputs(self, table: Table) -> Any:
        """float64 CSR [rows, width]: the model's inputs, in the order of the table."""
        return one_hot(self.encoder.encode(table), self.encoder.width)

    def log_odds(self, parameters: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
        """float64[rows]: log-odds of default."""
        return self.architecture.forward(parameters, self.inputs(table))[:, 0] + self.offset

    def evaluate(self, parameters: NDArray[np.float64], held_out: Table) -> dict[str, float]:
        """auc, brier, ece (10 groups) and log_loss."""
        odds = self.log_odds(parameters, held_out)
        targets = self.targets(held_out)
        pd = expit(odds)
        return {
            "auc": metrics.auc(targets, odds),
            "brier": metrics.brier(targets, pd),
            "ece": metrics.expected_calibration_error(targets, pd),
            "log_loss": float(self.architecture.loss.value(odds[:, None], targets).mean()),
        }
