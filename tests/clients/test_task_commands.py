"""A draft is a valid spec that its table fits, with round figures, and it says that it looked at the data."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from task_world import CREDIT

from artesian import app
from clients.data import check_frame, read_frame, read_table
from clients.errors import ClientError
from clients.tasks.draft import WARNING, draft_credit, slug
from clients.tasks.encoding import Encoder
from clients.tasks.spec import TaskSpec, load_spec, parse_spec

ROOT = Path(__file__).resolve().parents[2] / "experiments"
LOANS = ROOT / "datasets/loans.csv.gz"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["task", *(str(a) for a in arguments)])


def spec_of(text: str) -> TaskSpec:
    return parse_spec(tomllib.loads(text), "draft")


def draft_of(columns: dict[str, list[str]]) -> TaskSpec:
    return spec_of(draft_credit(pd.DataFrame(columns, dtype=object), "y", "drafted", "table")[0])


def test_a_draft_of_real_loans(tmp_path: Path) -> None:
    out = tmp_path / "spec.toml"
    done = run("draft", LOANS, "--label", "Status", "--out", out)
    assert (done.exit_code, done.stdout) == (0, "")
    assert WARNING in done.stderr
    assert "'bad' is taken to mean default" in done.stderr
    first = out.read_text().splitlines()[:2]
    assert first[0] == "# Drafting looked at the data: this spec is for research only."
    assert first[1].startswith(
        "# Before private training, replace its bounds, bins, categories and base rate by public"
    )
    spec = load_spec(out)
    assert (spec.name, spec.kind, spec.privacy.unit) == ("loans", "credit", "row")
    assert spec.label is not None
    assert (spec.label.positive, spec.label.negative, spec.label.base_rate) == (("bad",), ("good",), 0.28)
    age = next(column for column in spec.column if column.name == "Age")
    assert (age.kind, age.min, age.max) == ("number", 15, 70)
    bins = {feature.code: feature.bins for feature in spec.feature}
    assert bins["age"] == (24, 28, 32, 36, 40, 45, 50)
    table = read_table(LOANS, spec)
    codes = Encoder(spec).encode(table)
    for feature in range(codes.shape[1]):
        assert len(np.unique(codes[:, feature])) > 1, spec.feature[feature].code


def test_a_draft_goes_to_standard_output_by_default() -> None:
    done = run("draft", LOANS, "--label", "Status", "--name", "My Loans")
    assert spec_of(done.stdout).name == "my-loans"


def test_a_draft_never_replaces_a_file(tmp_path: Path) -> None:
    out = tmp_path / "spec.toml"
    out.write_text("mine")
    wrong = run("draft", LOANS, "--label", "Status", "--out", out)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith(f"{out}: is there already")
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,y\n", "the table has no rows"),
        ("a,b\n1,2\n", "there is no column 'y'; the columns are a, b"),
        ("a,y\n1,x\n2,x\n", "column 'y' has 1 different values; a label has two"),
        ("a,y\n1,p\n2,q\n3,r\n", "column 'y' has 3 different values"),
        ("a,y\n1,p\n2,q\n3,\n", "column 'y', row 3: the value is missing"),
        ("a,y\n5,p\n5,q\n", "no column besides 'y' can be a feature"),
    ],
)
def test_no_draft_is_one_line_and_no_file(tmp_path: Path, text: str, words: str) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "spec.toml"
    table.write_text(text)
    wrong = run("draft", table, "--label", "y", "--out", out)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1), wrong.stderr
    assert words in wrong.stderr
    assert not out.exists()


def test_what_a_column_is_taken_for() -> None:
    count = 20
    spec = draft_of(
        {
            "y": ["0", "1"] * 10,
            "number": [str(i * i / 7) for i in range(count)],
            "counter": [str(i + 1) for i in range(count)],
            "flag": ["yes", "no"] * 10,
            "colour": ["red", "green", "blue", "?"] * 5,
            "name": [f"firm {i}" for i in range(count)],
            "day": [f"2026-01-{i + 1:02}" for i in range(count)],
            "gaps": ["NA", "", *(str(-i) for i in range(count - 2))],
            "same": ["7"] * count,
            "empty": [""] * count,
        }
    )
    kinds = {column.name: column.kind for column in spec.column}
    assert kinds == {
        "y": "category",
        "number": "number",
        "counter": "text",
        "flag": "flag",
        "colour": "category",
        "name": "text",
        "day": "date",
        "gaps": "text",
        "same": "number",
    }
    columns = {column.name: column for column in spec.column}
    assert (columns["colour"].missing, columns["colour"].missing_values) == ("allowed", ("?",))
    assert [feature.source for feature in spec.feature] == ["number", "flag", "colour"]


def test_many_equal_values_at_the_bottom_get_a_bin_of_their_own() -> None:
    spec = draft_of({"y": ["0", "1"] * 50, "debt": ["0"] * 90 + [str(100 * i) for i in range(1, 11)]})
    assert spec.feature[0].bins[0] == 50


def test_many_equal_values_at_the_top_have_no_empty_bin_above_them() -> None:
    spec = draft_of({"y": ["0", "1"] * 20, "age": [str(i) for i in range(10)] + ["97"] * 30})
    assert 9 < spec.feature[0].bins[-1] <= 97


def test_a_name_that_is_the_rarer_class_is_the_default() -> None:
    spec = draft_of({"y": ["on time"] * 8 + ["written off"] * 2, "a": [str(i * i) for i in range(10)]})
    assert spec.label is not None
    assert spec.label.positive == ("written off",)


cells = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.sampled_from(
        ["", "?", "NA", "none", "yes", "no", "True", "0", "1", "1.0", "2026-01-31", "a", "b ", "Ä,\"'", "#"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=4),
)
shapes = st.integers(2, 24).flatmap(
    lambda rows: st.lists(
        st.one_of(
            st.lists(cells, min_size=rows, max_size=rows),
            st.lists(st.floats(-1e9, 1e9).map(repr), min_size=rows, max_size=rows),
            st.lists(st.integers(0, 9).map(str), min_size=rows, max_size=rows),
        ),
        min_size=1,
        max_size=4,
    )
)


@settings(max_examples=150, deadline=None)
@given(shapes, st.sampled_from(["x", "Größe", "a.b", "[c]", '"']))
def test_any_draft_is_a_spec_that_its_table_fits(columns: list[list[str]], name: str) -> None:
    rows = len(columns[0])
    frame = pd.DataFrame({f"{name}{i}": column for i, column in enumerate(columns)}, dtype=object)
    frame["y"] = (["p", "q"] * rows)[:rows]
    try:
        text, _ = draft_credit(frame, "y", name, "table")
    except ClientError as error:
        if "no column besides" not in str(error):
            raise
        return
    spec = spec_of(text)
    table = check_frame(frame, spec, "table")
    encoder = Encoder(spec)
    assert encoder.encode(table).max() < encoder.width
    for feature in spec.feature:
        if feature.bins:  # no bin beyond the values at either end
            values = table.columns[str(feature.source)]
            assert np.nanmin(values) < feature.bins[0]
            assert feature.bins[-1] <= np.nanmax(values)


@pytest.mark.parametrize("text", ["Größe (m)", "", "---", "x" * 100, "Already-fine-1"])
def test_a_slug_is_one(text: str) -> None:
    assert draft_of({"y": ["p", "q"], "a": ["1", "2"]}).model_copy(update={"name": slug(text)})
    assert parse_spec({**_minimal(), "name": slug(text)}, "x").name == slug(text)


def _minimal() -> dict[str, object]:
    return tomllib.loads(draft_credit(pd.DataFrame({"y": ["p", "q"], "a": ["1", "2"]}), "y", "n", "t")[0])


# ---------------------------------------------------------------- show


def test_show_a_credit_spec() -> None:
    path = ROOT / "configs/tasks/loans.toml"
    facts = json.loads(run("show", path, "--json").stdout)
    spec = load_spec(path)
    assert (facts["sha256"], facts["name"], facts["privacy_unit"]) == (spec.hash.hex(), "credit", "one row")
    assert facts["one_hot_columns"] == Encoder(spec).width == facts["inputs"] == facts["parameters"]
    bins = sum(feature["bins"] for feature in facts["features"])
    trees = facts["trees"] or {"one_hot_columns": 0}
    assert bins + trees["one_hot_columns"] == facts["one_hot_columns"]
    shown = run("show", path).stdout
    assert spec.hash.hex() in shown
    assert "Age: number, 18 to 100 years" in shown
    assert f"{len(spec.feature)}, {bins} one-hot columns" in shown


def test_show_public_trees_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text(CREDIT + '[trees]\ncount = 90\ndepth = 3\nseed = "credit 1"\n', encoding="utf-8")
    trees = json.loads(run("show", path, "--json").stdout)["trees"]
    assert (trees["count"], trees["depth"], trees["seed"], trees["one_hot_columns"]) == (90, 3, "credit 1", 720)
    assert [len(questions) for questions in trees["questions"]] == [3] * 90
    assert trees["questions"][0] == ["Sector: farm", "Owner: missing", "Debt to income: cannot be computed"]
    (line,) = [line for line in run("show", path).stdout.splitlines() if "trees" in line]
    assert line == (
        "Public random trees: 90 of depth 3, 720 one-hot columns, drawn from the seed 'credit 1'; "
        "what they ask about: --json"
    )


def test_show_a_demand_spec() -> None:
    facts = json.loads(run("show", ROOT / "configs/tasks/stores.toml", "--json").stdout)
    assert (facts["kind"], facts["privacy_unit"], facts["features"]) == ("demand", "56 days of one Store", [])
    assert facts["parameters"] == 3 * facts["inputs"]
    assert facts["trees"] is None


def test_show_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("colour = 1")
    wrong = run("show", path)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert run("show", tmp_path).stderr.startswith(f"{tmp_path}: cannot be read: Is a directory")


def test_the_other_formats_can_be_drafted_from(tmp_path: Path) -> None:
    path = tmp_path / "loans.parquet"
    pd.read_csv(LOANS).to_parquet(path)
    text, _ = draft_credit(read_frame(path), "Status", "x", "t")
    check_frame(read_frame(path), spec_of(text), "t")
