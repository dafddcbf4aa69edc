"""A firm's own probabilities of default: the federated model, calibrated to the firm's own customers if that validates.

Federated training starts from a public base rate and sees what all firms' customers have in common; where a firm's
customers differ, the model ranks them well and is wrong about how many default. Platt scaling (Platt 1999) mends that
with two numbers of the firm's own. Two more candidates are a scorecard of the firm's own on top of the federated
log-odds, and one without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from clients.data import Table
from clients.personal.errors import NotPersonalised
from clients.tasks import metrics
from clients.tasks.credit import CreditTask

FEDERATED, CALIBRATED, LOCAL, PERSONAL = "federated", "calibrated", "local", "personal"
CANDIDATES = (FEDERATED, CALIBRATED, LOCAL, PERSONAL)
"""The federated model as it is; with Platt scaling; the firm's own scorecard; the same with the federated log-odds."""
_FOLDS = 5
_STRENGTHS = (0.3, 3.0)  # of the scorecard, on rows of norm 1
_SCALED = 5.0  # log-odds beside columns of about that norm: hardly shrunk
_MOST_LOG_ODDS = 30.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Platt:
    """log-odds -> slope * log-odds + intercept; the slope is positive, so the order of customers stays."""

    slope: float
    intercept: float

    @classmethod
    def fit(cls, log_odds: Floats, targets: Floats) -> Platt:
        """Maximum likelihood with Platt's targets, which are off 0 and 1 by what so few records can tell.

        Args:
            log_odds, targets: float64[n]; both classes are there.
        """
        from sklearn.linear_model import LogisticRegression

        bad = float(targets.sum())
        good = len(targets) - bad
        soft = np.where(targets > 0.5, (bad + 1.0) / (bad + 2.0), 1.0 / (good + 2.0))
        column = np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)[:, None]
        rows, labels = np.vstack([column, column]), np.repeat([1.0, 0.0], len(targets))
        model = LogisticRegression(C=1e4).fit(rows, labels, sample_weight=np.concatenate([soft, 1.0 - soft]))
        slope = float(model.coef_[0, 0])
        if slope > 0.0:
            return cls(slope, float(model.intercept_[0]))
        shift = np.log(bad / good) - float(np.median(column))
        return cls(1.0, float(shift))  # turned round it would rank customers against the federated model

    def log_odds(self, log_odds: Floats) -> Floats:
        """float64[n]: calibrated log-odds."""
        return self.slope * log_odds + self.intercept


@dataclass(frozen=True)
class CreditChoice:
    """What a firm has chosen for a credit task.

    Attributes:
        chosen: one of `CANDIDATES`.
        log_loss, brier: of each of them in cross-validation on the firm's own records.
        platt: fitted to all of them.
        strength: of the firm's own scorecard, the inverse of its penalty.
        records: how many there were.
    """

    chosen: str
    log_loss: dict[str, float]
    brier: dict[str, float]
    platt: Platt
    strength: float
    records: int


def choose(task: CreditTask, federated: Floats, table: Table, seed: int = 0) -> CreditChoice:
    """Compare the candidates by cross-validation on a firm's labelled records, by their log-loss.

    Raises:
        NotPersonalised: too few records of a class.
    """
    from sklearn.model_selection import StratifiedKFold

    odds, targets = task.log_odds(federated, table), task.targets(table)
    if min(targets.sum(), (1.0 - targets).sum()) < _FOLDS:
        raise NotPersonalised(f"a class has fewer than {_FOLDS} records: too few to validate on")
    rows = task.inputs(table)
    pd = {name: np.zeros(len(targets)) for name in (FEDERATED, CALIBRATED)}
    own = {(name, strength): np.zeros(len(targets)) for name in (LOCAL, PERSONAL) for strength in _STRENGTHS}
    for fitted, tested in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(odds, targets):
        pd[FEDERATED][tested] = expit(odds[tested])
        pd[CALIBRATED][tested] = expit(Platt.fit(odds[fitted], targets[fitted]).log_odds(odds[tested]))
        for (name, strength), out in own.items():
            model = _scorecard(rows[fitted], odds[fitted], targets[fitted], strength, name)
            out[tested] = model.predict_proba(_columns(rows[tested], odds[tested], name))[:, 1]
    losses = {key: _log_loss(targets, out) for key, out in own.items()}
    strength = min(_STRENGTHS, key=lambda one: min(losses[LOCAL, one], losses[PERSONAL, one]))
    pd |= {name: own[name, strength] for name in (LOCAL, PERSONAL)}
    log_loss = {name: _log_loss(targets, pd[name]) for name in CANDIDATES}
    brier = {name: metrics.brier(targets, pd[name]) for name in CANDIDATES}
    chosen = min(CANDIDATES, key=lambda name: log_loss[name])
    return CreditChoice(chosen, log_loss, brier, Platt.fit(odds, targets), strength, len(targets))


def _log_loss(targets: Floats, pd: Floats) -> float:
    held = np.clip(pd, 1e-12, 1.0 - 1e-12)
    return float(-(targets * np.log(held) + (1.0 - targets) * np.log(1.0 - held)).mean())


def _columns(rows: Any, odds: Floats, name: str) -> Any:
    if name == LOCAL:
        return rows
    column = np.clip(odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)[:, None] * _SCALED
    return sparse.hstack([sparse.csr_array(rows), sparse.csr_array(column)], format="csr")


def _scorecard(rows: Any, odds: Floats, targets: Floats, strength: float, name: str) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=1000).fit(_columns(rows, odds, name), targets)


@dataclass(frozen=True)
class CreditLayer:
    """A firm's calibration and, if one was chosen, its own scorecard."""

    task: CreditTask
    federated: Floats
    choice: CreditChoice
    scorecard: Any

    @classmethod
    def fit(
        cls, task: CreditTask, federated: Floats, table: Table, choice: CreditChoice, needed: str | None = None
    ) -> CreditLayer:
        """Fit to all labelled records of a table what a choice (or the candidate `needed`) asks for."""
        name = needed or choice.chosen
        if name in (FEDERATED, CALIBRATED):
            return cls(task, federated, choice, None)
        odds = task.log_odds(federated, table)
        model = _scorecard(task.inputs(table), odds, task.targets(table), choice.strength, name)
        return cls(task, federated, choice, model)

    def pd(self, table: Table, name: str | None = None) -> Floats:
        """float64[rows]: probabilities of default, by the chosen candidate or by the one that is named."""
        name = name or self.choice.chosen
        odds = self.task.log_odds(self.federated, table)
        if name == FEDERATED:
            return np.asarray(expit(odds))
        if name == CALIBRATED:
            return np.asarray(expit(self.choice.platt.log_odds(odds)))
        return np.asarray(self.scorecard.predict_proba(_columns(self.task.inputs(table), odds, name))[:, 1])
