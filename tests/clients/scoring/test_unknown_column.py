"""A bank that misnames a column is told which there are, at most so many of them."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))

from task_world import credit_spec

from clients.tasks import credit_scorer
from clients.tasks.credit import CreditTask
from clients.tasks.credit_scorer import CreditScorer, FeaturesInvalid

SPEC = credit_spec()


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (8, "(known: income, debt, sector, owner, since)"),
        (5, "(known: income, debt, sector, owner, since)"),
        (2, "(known: income, debt, …)"),
    ],
)
def test_a_misnamed_column_lists_the_known(monkeypatch: pytest.MonkeyPatch, shown: int, says: str) -> None:
    assert credit_scorer.SHOWN_COLUMNS == 8
    monkeypatch.setattr(credit_scorer, "SHOWN_COLUMNS", shown)
    scorer = CreditScorer(SPEC, np.zeros(CreditTask(SPEC).architecture.size))
    with pytest.raises(FeaturesInvalid, match="'colour' is not a column of the task") as caught:
        scorer.score({"colour": "red"})
    assert str(caught.value).endswith(says)
