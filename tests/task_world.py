"""Two small task specs that use everything a spec can hold, and tables that fit them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd

from clients.data import Table, check_frame
from clients.tasks.spec import TaskSpec, parse_spec

CREDIT = """
name = "credit"
kind = "credit"
[privacy]
unit = "row"
[model]
kind = "scorecard"
[label]
column = "outcome"
positive = ["1"]
negative = ["0"]
base_rate = 0.2

[[column]]
name = "customer"
kind = "text"
[[column]]
name = "outcome"
kind = "category"
values = ["0", "1"]
[[column]]
name = "income"
kind = "number"
unit = "EUR"
min = 0
max = 1000
missing = "allowed"
missing_values = ["-1", "unknown"]
[[column]]
name = "debt"
kind = "number"
min = 0
max = 1000
[[column]]
name = "sector"
kind = "category"
values = ["2", "15", "farm"]
missing = "allowed"
[[column]]
name = "owner"
kind = "flag"
missing = "allowed"
[[column]]
name = "since"
kind = "date"

[[derived]]
name = "burden"
op = "ratio"
of = ["debt", "income"]
[[derived]]
name = "spare"
op = "difference"
of = ["income", "debt"]
[[derived]]
name = "high"
op = "count_above"
of = ["income", "debt"]
value = 500

[[feature]]
code = "income"
text = "Income"
from = "income"
bins = [100, 200, 500]
[[feature]]
code = "burden"
text = "Debt to income"
from = "burden"
bins = [0.5, 1]
[[feature]]
code = "spare"
text = "Spare"
from = "spare"
bins = [0]
[[feature]]
code = "high"
text = "High amounts"
from = "high"
bins = [1, 2]
[[feature]]
code = "sector"
text = "Sector"
from = "sector"
groups = [["2", "15"], ["farm"]]
[[feature]]
code = "owner"
text = "Owner"
from = "owner"
[[feature]]
code = "income-owner"
text = "Income and ownership"
cross = ["income", "owner"]
"""

DEMAND = """
name = "demand"
kind = "demand"
[privacy]
unit = "block"
block_days = 35
[model]
kind = "linear-quantile"
quantiles = [0.1, 0.5, 0.9]
[series]
id = "store"
date = "day"
value = "sales"
open = "open"
promotion = "promo"
holiday = "holiday"
horizon_days = 7
lookback_days = 14
window_step_days = 3
test_days = 14

[[column]]
name = "store"
kind = "text"
[[column]]
name = "day"
kind = "date"
[[column]]
name = "sales"
kind = "number"
min = 0
max = 100000
[[column]]
name = "open"
kind = "flag"
[[column]]
name = "promo"
kind = "flag"
[[column]]
name = "holiday"
kind = "flag"
"""


def document(text: str, **changes: Any) -> dict[str, Any]:
    """A spec as parsed TOML, with whole top-level parts exchanged."""
    return {**tomllib.loads(text), **changes}


def with_column(parsed: Mapping[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    """The same with some keys of one column exchanged."""
    out = deepcopy(dict(parsed))
    for column in out["column"]:
        if column["name"] == name:
            column.update(changes)
    return out


def credit_spec(**changes: Any) -> TaskSpec:
    return parse_spec(document(CREDIT, **changes), "credit.toml")


def demand_spec(**changes: Any) -> TaskSpec:
    return parse_spec(document(DEMAND, **changes), "demand.toml")


def credit_frame(rows: int = 40, seed: int = 1) -> pd.DataFrame:
    """A table of text; every column has every kind of value, missing ones too."""
    rng = np.random.default_rng(seed)
    customers = [f"c{k}" for k in rng.integers(0, max(rows // 3, 1), rows)]
    outcome = rng.integers(0, 2, rows)
    outcome[:2] = [0, 1]
    return pd.DataFrame(
        {
            "customer": customers,
            "outcome": outcome.astype(str),
            "income": rng.choice(["", "0", "100", "199.5", "500", "1000", "750"], rows),
            "debt": rng.integers(0, 1001, rows).astype(str),
            "sector": rng.choice(["2", "15", "farm", ""], rows),
            "owner": rng.choice(["true", "false", ""], rows),
            "since": rng.choice(["2020-01-31", "2024-02-29"], rows),
        },
        dtype=object,
    )


def credit_table(spec: TaskSpec, rows: int = 40, seed: int = 1) -> Table:
    return check_frame(credit_frame(rows, seed), spec, "credit.csv")


def demand_table(stores: int = 3, days: int = 150, seed: int = 1, first: str = "2023-01-02") -> Table:
    """Daily sales; Sundays closed, a gap in the middle of some series."""
    rng = np.random.default_rng(seed)
    parts: list[pd.DataFrame] = []
    for k in range(stores):
        day = np.datetime64(first) + np.arange(days)
        closed = (day.astype(np.int64) + 3) % 7 == 6
        sales = np.where(closed, 0.0, rng.gamma(5.0, 20.0 * (k + 1), days))
        frame = pd.DataFrame({"store": f"s{k}", "day": day, "sales": sales, "open": (~closed).astype(float)})
        frame["promo"] = (rng.uniform(size=days) < 0.3).astype(float)
        frame["holiday"] = (rng.uniform(size=days) < 0.1).astype(float)
        parts.append(frame[~frame.index.isin(range(70, 70 + k))])
    table = pd.concat(parts, ignore_index=True)
    columns = {str(name): table[name].to_numpy() for name in table.columns}
    columns["store"] = columns["store"].astype(str)
    columns["day"] = columns["day"].astype("datetime64[D]")
    return Table(columns, len(table))
