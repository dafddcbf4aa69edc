"""Public bins: one active column a group, and nothing that depends on other records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_world import CREDIT, credit_frame, credit_spec, credit_table, document

from clients.data import check_frame
from clients.tasks.encoding import Encoder
from clients.tasks.examples import one_hot
from clients.tasks.spec import parse_spec

SPEC = credit_spec()
ENCODER = Encoder(SPEC)
GROUP = {group.code: group for group in ENCODER.groups}


def bins_of(**cells: str) -> dict[str, str]:
    """The label of each group's active bin for one record."""
    row = {"customer": "c", "outcome": "0", "income": "150", "debt": "100", "sector": "2", "owner": "true"}
    frame = pd.DataFrame(
        {name: [value] for name, value in {**row, "since": "2020-01-01", **cells}.items()}, dtype=object
    )
    codes = ENCODER.encode(check_frame(frame, SPEC, "record", labelled=False))[0]
    return {g.code: g.labels[code - g.start] for g, code in zip(ENCODER.groups, codes, strict=True)}


@pytest.mark.parametrize(
    ("income", "label"),
    [
        ("0", "below 100 EUR"),
        ("99.999", "below 100 EUR"),
        ("100", "100 to 200 EUR"),
        ("199.999", "100 to 200 EUR"),
        ("200", "200 to 500 EUR"),
        ("500", "500 EUR or more"),
        ("1000", "500 EUR or more"),
        ("", "missing"),
        ("-1", "missing"),
        (" unknown ", "missing"),
    ],
)
def test_edges_belong_to_the_bin_above(income: str, label: str) -> None:
    assert bins_of(income=income)["income"] == label


@pytest.mark.parametrize(
    ("cells", "group", "label"),
    [
        ({"debt": "50", "income": "100"}, "burden", "0.5 to 1"),
        ({"debt": "50", "income": "0"}, "burden", "cannot be computed"),
        ({"debt": "50", "income": ""}, "burden", "cannot be computed"),
        ({"debt": "50", "income": "49"}, "spare", "below 0"),
        ({"debt": "50", "income": "50"}, "spare", "0 or more"),
        ({"debt": "501", "income": "500"}, "high", "1 to 2"),
        ({"debt": "501", "income": "501"}, "high", "2 or more"),
        ({"debt": "501", "income": ""}, "high", "cannot be computed"),
        ({"sector": "15"}, "sector", "2/15"),
        ({"sector": "farm"}, "sector", "farm"),
        ({"sector": ""}, "sector", "missing"),
        ({"owner": "No"}, "owner", "no"),
        ({"owner": "1.0"}, "owner", "yes"),
        ({"owner": ""}, "owner", "missing"),
        ({"owner": "", "income": "500"}, "income-owner", "500 EUR or more and missing"),
        ({"owner": "no", "income": "-1"}, "income-owner", "missing and no"),
    ],
)
def test_every_kind_of_bin(cells: dict[str, str], group: str, label: str) -> None:
    assert bins_of(**cells)[group] == label


def test_the_columns_of_groups_follow_each_other() -> None:
    start = 0
    for group in ENCODER.groups:
        assert group.start == start
        start += group.width
    assert start == ENCODER.width
    assert GROUP["income-owner"].width == GROUP["income"].width * GROUP["owner"].width


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_one_column_a_group_and_norm_one(seed: int, rows: int) -> None:
    codes = ENCODER.encode(credit_table(SPEC, rows, seed))
    inputs = one_hot(codes, ENCODER.width).toarray()
    assert codes.dtype == np.int32
    np.testing.assert_allclose(np.sqrt((inputs**2).sum(axis=1)), 1.0, rtol=1e-12)
    for position, group in enumerate(ENCODER.groups):
        part = inputs[:, group.start : group.start + group.width]
        assert ((part > 0).sum(axis=1) == 1).all()
        assert (part.argmax(axis=1) + group.start == codes[:, position]).all()


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 29), min_size=1, max_size=30))
def test_nothing_is_learned_from_the_table(seed: int, chosen: list[int]) -> None:
    table = credit_table(SPEC, 30, seed)
    index = np.array(chosen)
    np.testing.assert_array_equal(ENCODER.encode(table.take(index)), ENCODER.encode(table)[index])


@pytest.mark.parametrize(
    ("op", "expected"), [("sum", 350.0), ("mean", 175.0), ("max", 200.0), ("min", 150.0), ("difference", 50.0)]
)
def test_formulas(op: str, expected: float) -> None:
    feature = {"code": "x", "text": "x", "from": "x", "bins": [expected, expected + 1e-6]}
    spec = parse_spec(
        document(CREDIT, derived=[{"name": "x", "op": op, "of": ["income", "debt"]}], feature=[feature]), "x"
    )
    frame = credit_frame(2).assign(income=["200", ""], debt=["150", "150"])
    codes = Encoder(spec).encode(check_frame(frame, spec, "x"))
    assert codes[0, 0] == 1  # at its own edge: in the bin that begins there
    assert codes[1, 0] == 3  # of a missing number: missing


def test_a_derived_number_may_use_one_above_it() -> None:
    derived: list[dict[str, Any]] = [
        {"name": "a", "op": "sum", "of": ["income", "debt"]},
        {"name": "b", "op": "ratio", "of": ["a", "debt"]},
    ]
    feature = {"code": "b", "text": "b", "from": "b", "bins": [2, 3]}
    spec = parse_spec(document(CREDIT, derived=derived, feature=[feature]), "x")
    frame = credit_frame(2).assign(income=["150", "150"], debt=["100", "0"])
    assert Encoder(spec).encode(check_frame(frame, spec, "x"))[:, 0].tolist() == [1, 3]
