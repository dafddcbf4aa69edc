"""A task of two columns, for benchmarks of what surrounds the training: whatever it trains costs next to nothing."""

from __future__ import annotations

import numpy as np

from clients.data import Table

TASK = "credit"
SPEC = """
name = "credit"
kind = "credit"

[privacy]
unit = "row"

[model]
kind = "scorecard"

[label]
column = "outcome"
positive = ["default"]
negative = ["paid"]
base_rate = 0.3

[[column]]
name = "outcome"
kind = "category"
values = ["default", "paid"]

[[column]]
name = "income"
kind = "number"
unit = "thousands a year"
min = 0
max = 100

[[feature]]
code = "income"
text = "Income"
from = "income"
bins = [20, 40, 60, 80]
"""


def table(number: int, records: int = 400) -> Table:
    """The records of a firm, by its number."""
    rng = np.random.default_rng(number)
    income = rng.uniform(0, 100, records).round(1)
    outcome = np.where(rng.uniform(size=records) < 0.6 - income / 200, "default", "paid")
    return Table({"outcome": outcome, "income": income}, records)
