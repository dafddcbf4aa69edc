"""A task spec is refused in one line that names the file and the part, or it means the same for everyone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_world import CREDIT, DEMAND, credit_spec, demand_spec, document, with_column

from clients.tasks.spec import TaskSpec, TaskSpecInvalid, load_spec, parse_spec

SHIPPED = sorted(Path("experiments/configs/tasks").glob("*.toml"))
LABEL = {"column": "outcome", "positive": ["1"], "negative": ["0"], "base_rate": 0.2}
FEATURES = document(CREDIT)["feature"]
SERIES = document(DEMAND)["series"]
TREES = {"count": 5, "depth": 2, "seed": "a"}


def refused(parsed: dict[str, Any]) -> str:
    with pytest.raises(TaskSpecInvalid) as caught:
        parse_spec(parsed, "spec.toml")
    line = str(caught.value)
    assert line.startswith("spec.toml: ")
    assert "\n" not in line
    assert caught.value.exit_code == 2
    return line


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_specs_are_good(path: Path) -> None:
    assert len(load_spec(path).hash) == 32


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"colour": "red"}, "colour: unknown key"),
        ({"name": "Not A Slug"}, "name: "),
        ({"kind": "fraud"}, "kind: "),
        ({"column": []}, "column: "),
        ({"label": None}, "needs [label]"),
        ({"feature": []}, "needs [label] and at least one [[feature]]"),
        ({"series": SERIES}, "takes no [series]"),
        ({"model": {"kind": "linear-quantile"}}, "scorecard or mlp"),
        ({"model": {"kind": "mlp"}}, "'hidden' belongs to kind 'mlp'"),
        ({"model": {"kind": "scorecard", "hidden": [4]}}, "'hidden' belongs to kind 'mlp'"),
        ({"model": {"kind": "scorecard", "quantiles": [0.1, 0.9]}}, "include 0.5"),
        ({"privacy": {"unit": "block", "block_days": 35}}, "unit row or entity"),
        ({"privacy": {"unit": "entity"}}, "belongs to unit 'entity', which needs it"),
        ({"privacy": {"unit": "row", "entity": "customer"}}, "belongs to unit 'entity'"),
        ({"privacy": {"unit": "row", "max_rows": 3}}, "'max_rows' belongs to unit 'entity'"),
        ({"privacy": {"unit": "row", "block_days": 35}}, "'block_days' belongs to unit 'block'"),
        ({"privacy": {"unit": "entity", "entity": "nobody"}}, "entity 'nobody' is not a column"),
        ({"privacy": {"unit": "entity", "entity": "burden"}}, "entity 'burden' is not a column"),
        ({"privacy": {"unit": "entity", "entity": "income"}}, "must be text or category"),
        ({"privacy": {"unit": "entity", "entity": "sector"}}, "must not allow missing values"),
        ({"privacy": {"unit": "entity", "entity": "customer", "max_rows": 0}}, "privacy.max_rows"),
        ({"label": {**LABEL, "column": "burden"}}, "'burden' is not a column"),
        ({"label": {**LABEL, "column": "since"}}, "it must be category or flag or number"),
        ({"label": {**LABEL, "column": "sector"}}, "must not allow missing values"),
        ({"label": {**LABEL, "positive": ["7"]}}, "'7' is not a value of column 'outcome'"),
        ({"label": {**LABEL, "negative": ["0", "1"]}}, "'1' is both positive and negative"),
        ({"label": {**LABEL, "base_rate": 1.0}}, "label.base_rate"),
        ({"label": {**LABEL, "positive": []}}, "label.positive"),
        ({"feature": [{**FEATURES[0], "from": "outcome"}]}, "reads the label 'outcome'"),
        ({"feature": [{**FEATURES[0], "from": "customer", "bins": []}]}, "not a number, category or flag"),
        ({"feature": [{**FEATURES[0], "bins": []}]}, "is a number and needs 'bins'"),
        ({"feature": [{**FEATURES[0], "bins": [2, 1]}]}, "bins must increase"),
        ({"feature": [{**FEATURES[0], "bins": [1, 1]}]}, "bins must increase"),
        ({"feature": [{**FEATURES[0], "bins": [1, math.nan]}]}, "feature.0.bins.1"),
        ({"feature": [{**FEATURES[0], "bins": [1, math.inf]}]}, "feature.0.bins.1"),
        ({"feature": [{**FEATURES[4], "groups": [["2"], ["farm"]]}]}, "every value of 'sector' exactly once"),
        ({"feature": [{**FEATURES[4], "groups": [["2", "15"], ["farm", "2"]]}]}, "exactly once"),
        ({"feature": [{**FEATURES[4], "bins": [1.0]}]}, "takes no 'bins'"),
        ({"feature": [FEATURES[0], FEATURES[0]]}, "feature 'income' is named twice"),
        ({"feature": [FEATURES[6], FEATURES[0], FEATURES[5]]}, "crosses 'income', no plain feature above it"),
        ({"feature": [FEATURES[0], {**FEATURES[6], "cross": ["income"]}]}, "at least two features"),
        ({"feature": [{**FEATURES[0], "cross": ["a", "b"]}]}, "either 'from' or 'cross'"),
        ({"trees": {**TREES, "seed": ""}}, "trees.seed"),
        ({"trees": {**TREES, "seed": "ä"}}, "trees.seed"),
        ({"trees": {"count": 5, "depth": 2}}, "trees.seed"),
        ({"trees": {**TREES, "count": 0}}, "trees.count"),
        ({"trees": {**TREES, "depth": 7}}, "trees.depth"),
        ({"trees": {**TREES, "features": ["income-owner", "owner"]}}, "trees: 'income-owner' is no plain feature"),
        ({"trees": {**TREES, "features": ["owner", "owner"]}}, "trees: feature 'owner' is named twice"),
        ({"trees": {**TREES, "features": ["owner"]}}, "1 features can be asked about, too few for trees of depth 2"),
        ({"trees": TREES, "model": {"kind": "mlp", "hidden": [4]}}, "[trees] widens a scorecard"),
        ({"derived": [{"name": "x", "op": "ratio", "of": ["debt"]}]}, "takes exactly two columns"),
        ({"derived": [{"name": "x", "op": "sum", "of": ["sector"]}]}, "'sector' is not a number column above it"),
        ({"derived": [{"name": "debt", "op": "sum", "of": ["income"]}]}, "column 'debt' is named twice"),
    ],
)
def test_a_credit_spec_that_is_wrong_names_its_part(changes: dict[str, Any], names: str) -> None:
    assert names in refused(document(CREDIT, **changes))


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("debt", {"min": None}, "needs public bounds"),
        ("debt", {"min": 5, "max": 5}, "min must be below max"),
        ("debt", {"max": math.inf}, "column.3.max"),
        ("debt", {"min": math.nan}, "column.3.min"),
        ("debt", {"kind": "decimal"}, "column.3.kind"),
        ("debt", {"missing": "sometimes"}, "column.3.missing"),
        ("sector", {"values": ["a"]}, "at least two values"),
        ("sector", {"values": ["a", 2]}, "column.4.values.1"),
    ],
)
def test_a_column_that_is_wrong_is_named(name: str, changes: dict[str, Any], says: str) -> None:
    assert says in refused(with_column(document(CREDIT), name, **changes))


def test_a_derived_number_cannot_smuggle_the_label_in() -> None:
    parsed = with_column(document(CREDIT), "outcome", kind="number", min=0, max=1, values=[])
    parsed["derived"] = [{"name": "burden", "op": "sum", "of": ["debt", "outcome"]}]
    parsed["feature"] = [FEATURES[0]]
    assert "reads the label 'outcome'" in refused(parsed)


@pytest.mark.parametrize(("kind", "value"), [("number", "yes"), ("flag", "2")])
def test_label_values_are_of_the_columns_kind(kind: str, value: str) -> None:
    parsed = with_column(document(CREDIT), "outcome", kind=kind, min=0, max=1, values=[])
    parsed["label"] = {**LABEL, "positive": [value]}
    assert repr(value) in refused(parsed)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"series": None}, "needs [series]"),
        ({"series": {**SERIES, "value": "turnover"}}, "'turnover' is not a column"),
        ({"series": {**SERIES, "value": "open"}}, "it must be number"),
        ({"series": {**SERIES, "date": "store"}}, "it must be date"),
        ({"series": {**SERIES, "promotion": "sales"}}, "it must be flag"),
        ({"series": {**SERIES, "id": "sales"}}, "it must be text or category"),
        ({"series": {**SERIES, "horizon_days": 0}}, "series.horizon_days"),
        ({"series": {**SERIES, "horizon_days": 30}}, "block_days must hold a whole window"),
        ({"privacy": {"unit": "row"}}, "unit block or series"),
        ({"privacy": {"unit": "block"}}, "'block_days' belongs to unit 'block', which needs it"),
        ({"privacy": {"unit": "series", "block_days": 35}}, "'block_days' belongs to unit 'block'"),
        ({"label": LABEL}, "takes no [label]"),
        ({"feature": FEATURES[:1]}, "takes no [label], [[feature]]"),
        ({"trees": TREES}, "[[derived]] or [trees]"),
        ({"model": {"kind": "scorecard"}}, "linear-quantile"),
        ({"model": {"kind": "gru-quantile"}}, "'hidden' belongs to"),
        ({"model": {"kind": "gru-quantile", "hidden": [8, 8]}}, "one number in 'hidden'"),
    ],
)
def test_a_demand_spec_that_is_wrong_names_its_part(changes: dict[str, Any], names: str) -> None:
    assert names in refused(document(DEMAND, **changes))


def test_a_series_day_without_a_date_is_refused_by_the_spec() -> None:
    assert "must not allow missing" in refused(with_column(document(DEMAND), "day", missing="allowed"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name = ", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b'name = "a"\nname = "b"\n', "not valid TOML"),
        (b'"a\\nb" = 1\n', "unknown key"),
    ],
)
def test_a_file_that_is_no_spec(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "task.toml"
    path.write_bytes(content)
    with pytest.raises(TaskSpecInvalid) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value) or "and" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskSpecInvalid, match=r"nowhere\.toml: cannot be read: No such file"):
        load_spec(tmp_path / "nowhere.toml")


def test_the_hash_is_of_the_meaning_and_not_of_the_spelling(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text("# a comment\n" + CREDIT.replace("max = 1000", "max = 1000.0"), encoding="utf-8")
    assert load_spec(path).hash == credit_spec().hash


@given(st.sampled_from(["min", "max"]), st.floats(-10, 10).filter(lambda x: x != 0))
def test_the_hash_moves_with_every_bound(which: str, by: float) -> None:
    parsed = document(CREDIT)
    bounds = {"min": 0.0, "max": 1000.0}
    moved = bounds[which] + by
    spec = parse_spec(with_column(parsed, "debt", **{which: moved}), "x")
    assert (spec.hash == credit_spec().hash) == (moved == bounds[which])


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=8), st.none()), max_size=4))
def test_no_document_ends_in_a_traceback(junk: dict[str, Any]) -> None:
    line = refused({**document(CREDIT), "colour": 1, **junk})
    assert line


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (credit_spec(), "one row"),
        (
            credit_spec(privacy={"unit": "entity", "entity": "customer", "max_rows": 3}),
            "one customer (at most 3 rows)",
        ),
        (demand_spec(), "35 days of one store"),
        (demand_spec(privacy={"unit": "series"}), "the whole series of one store"),
    ],
)
def test_units_in_words(spec: TaskSpec, words: str) -> None:
    assert spec.privacy.words(spec.series) == words
