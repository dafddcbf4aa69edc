"""Private tables: the same table from every format, and every wrong cell named by column and row."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_world import CREDIT, DEMAND, credit_frame, credit_spec, demand_spec, document, with_column

from clients.data import Table, TableInvalid, TableUnreadable, check_frame, label_mask, read_table
from clients.tasks.spec import TaskSpec, parse_spec

SPEC = credit_spec()


def assert_same(one: Table, other: Table) -> None:
    assert one.rows == other.rows
    assert one.columns.keys() == other.columns.keys()
    for name, values in one.columns.items():
        assert values.dtype.kind == other.columns[name].dtype.kind, name
        np.testing.assert_array_equal(values, other.columns[name], err_msg=name)


def invalid(frame: pd.DataFrame, spec: TaskSpec = SPEC) -> TableInvalid:
    with pytest.raises(TableInvalid) as caught:
        check_frame(frame, spec, "table.csv")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("table.csv: ")
    return caught.value


# Formats.


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def _arff(frame: pd.DataFrame) -> bytes:
    kinds = {"income": "NUMERIC", "debt": "NUMERIC", "since": 'DATE "yyyy-MM-dd"'}
    lines = ["@RELATION t"]
    for name in frame.columns:
        values = ",".join(sorted(set(frame[name]) - {""}))
        lines.append(f"@ATTRIBUTE {name} {kinds.get(name, '{' + values + '}')}")
    lines.append("@DATA")
    lines += [",".join(cell or "?" for cell in row) for row in frame.to_numpy().tolist()]
    return ("\n".join(lines) + "\n").encode()


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    typed = frame.assign(
        outcome=frame["outcome"].astype(int),
        income=pd.to_numeric(frame["income"].replace("", None)),
        debt=frame["debt"].astype(int),
        sector=frame["sector"].replace("", None),
        owner=frame["owner"].map({"true": True, "false": False, "": None}),
        since=pd.to_datetime(frame["since"]),
    )
    typed.to_parquet(path)


@pytest.mark.parametrize(
    "name", ["t.csv", "T.CSV", "t.csv.gz", "bom.csv", "t.arff", "t.arff.gz", "t.parquet", "a.arff.csv"]
)
def test_every_format_reads_to_the_same_table(tmp_path: Path, name: str) -> None:
    frame = credit_frame(30, seed=3)
    path = tmp_path / name
    if name.endswith("parquet"):
        _write_parquet(frame, path)
    else:
        kind = name.lower().removesuffix(".gz")
        raw = (_arff if kind.endswith(".arff") else _csv)(frame)
        raw = b"\xef\xbb\xbf" + raw if name == "bom.csv" else raw
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    assert_same(read_table(path, SPEC), check_frame(frame, SPEC, "frame"))


def test_whole_numbers_of_typed_files_are_the_same_identifiers(tmp_path: Path) -> None:
    """A store "7" must not become the series "7.0", whose blocks begin on other days."""
    spec = demand_spec()
    text = "store,day,sales,open,promo,holiday\n" + "".join(f"7,2024-01-0{d},5,1,0,0\n" for d in range(1, 6))
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    typed = pd.read_csv(tmp_path / "t.csv", parse_dates=["day"])
    typed.assign(store=typed["store"].astype(float)).to_parquet(tmp_path / "t.parquet")
    typed.assign(day=typed["day"].dt.date, open=typed["open"].astype(bool)).to_parquet(tmp_path / "dates.parquet")
    wanted = read_table(tmp_path / "t.csv", spec)
    assert wanted.columns["store"].tolist() == ["7"] * 5
    assert_same(read_table(tmp_path / "t.parquet", spec), wanted)
    assert_same(read_table(tmp_path / "dates.parquet", spec), wanted)


def unreadable(path: Path) -> str:
    with pytest.raises(TableUnreadable) as caught:
        read_table(path, SPEC)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.xlsx", b"", "not one of .csv"),
        ("t.csv", b"", "damaged or not a table"),
        ("t.csv", b"a,b\n1,2,3\n", "damaged or not a table"),
        ("t.csv", "a,b\n1,é\n".encode("utf-16"), "damaged or not a table"),
        ("t.csv", b"income,income\n1,2\n", "the column 'income' is there twice"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot be read"),
        ("t.csv.gz", gzip.compress(b"a,b\n" * 999, mtime=0)[:20], "damaged"),
        ("t.csv.gz", gzip.compress(b"a,b\n" * 999, mtime=0)[:10] + b"\xff" * 40, "damaged or not a table"),
        ("t.parquet", b"PAR1 and no more", "damaged or not a table"),
        ("t.arff", b"junk\n", "t.arff"),
        ("t.arff", b"@relation x\n@attribute a string\n@data\n'x'\n", "t.arff"),
        ("t.arff", b"@relation x\n@attribute a numeric\n@data\nfive\n", "t.arff"),
        ("t.arff", b"@relation x\n@attribute a {b,c}\n@data\nd\n", "t.arff"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert says in unreadable(path)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    assert "No such file" in unreadable(tmp_path / "no.csv")
    assert "No such file" in unreadable(tmp_path / "no.parquet") or "cannot be read" in unreadable(
        tmp_path / "no.parquet"
    )
    (tmp_path / "folder.csv").mkdir()
    assert "cannot be read" in unreadable(tmp_path / "folder.csv")


@given(st.binary(max_size=200), st.sampled_from(["csv", "arff", "parquet", "csv.gz"]))
def test_no_bytes_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, raw: bytes, kind: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz.{kind}"
    path.write_bytes(raw)
    with pytest.raises((TableUnreadable, TableInvalid)):
        read_table(path, SPEC)


def test_a_surplus_field_is_not_taken_for_row_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("debt,income\n1,2,3\n4,5,6\n", encoding="utf-8")
    assert "damaged or not a table" in unreadable(path)


def test_a_short_row_has_missing_cells(tmp_path: Path) -> None:
    frame = credit_frame(4)
    lines = _csv(frame).decode().splitlines()
    lines[2] = lines[2].rsplit(",", 1)[0]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(TableInvalid, match="column 'since', row 2: the value is missing"):
        read_table(path, SPEC)


# Cells.


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("debt", "", "the value is missing"),
        ("debt", "nan", "'nan' is not a number"),
        ("debt", "inf", "'inf' is not a number"),
        ("debt", "-Infinity", "'-Infinity' is not a number"),
        ("debt", "1e999", "'1e999' is not a number"),
        ("debt", "9" * 400, "is not a number"),
        ("debt", "9" * 30, "is outside 0 to 1000"),
        ("debt", "True", "'True' is not a number"),
        ("debt", "1,000", "'1,000' is not a number"),
        ("debt", "0x10", "'0x10' is not a number"),
        ("debt", "ten", "'ten' is not a number"),
        ("debt", "-0.001", "is outside 0 to 1000"),
        ("debt", "1000.001", "is outside 0 to 1000"),
        ("income", "2000", "is outside 0 to 1000 EUR"),
        ("sector", "mining", "unknown category 'mining' (known: 2, 15, farm)"),
        ("sector", "1.05", "unknown category '1.05'"),
        ("sector", "20", "unknown category '20'"),
        ("owner", "perhaps", "'perhaps' is not true or false"),
        ("owner", "2", "'2' is not true or false"),
        ("since", "31.01.2026", "is not a date like 2026-01-31"),
        ("since", "2026", "is not a date like"),
        ("since", "2026-01", "is not a date like"),
        ("since", "2026-02-30", "is not a date like"),
        ("since", "2026-01-31 13:00", "is not a date like"),
        ("since", "2026-01-31T00:00:00+05:00", "is not a date like"),
        ("since", "", "the value is missing"),
        ("customer", "", "the value is missing"),
        ("outcome", "2", "unknown category '2'"),
    ],
)
def test_a_wrong_cell_is_named(column: str, cell: str, problem: str) -> None:
    frame = credit_frame(6)
    frame.loc[3, column] = cell
    error = invalid(frame)
    assert f"column {column!r}, row 4: " in str(error)
    assert problem in str(error)
    assert error.count == 1
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("debt", " 12 ", 12.0),
        ("debt", "1e2", 100.0),
        ("sector", "2.0", "2"),
        ("sector", "15.0", "15"),
        ("owner", "YES", 1.0),
        ("since", "2020-01-31 00:00:00", np.datetime64("2020-01-31")),
        ("since", "2020-01-31T00:00", np.datetime64("2020-01-31")),
    ],
)
def test_another_spelling_of_the_same_value(column: str, cell: str, value: object) -> None:
    frame = credit_frame(6)
    frame.loc[3, column] = cell
    assert check_frame(frame, SPEC, "t").columns[column][3] == value


def test_a_category_known_with_a_point_takes_the_whole_number() -> None:
    spec = parse_spec(
        with_column(document(CREDIT), "sector", values=["2.0", "15", "farm"])
        | {"feature": [document(CREDIT)["feature"][0]]},
        "x",
    )
    frame = credit_frame(4).assign(sector=["2", "2.0", "15.0", "15"])
    assert check_frame(frame, spec, "t").columns["sector"].tolist() == ["2.0", "2.0", "15", "15"]


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda f: f.drop(columns="debt"), "column 'debt': the column is missing"),
        (lambda f: f.iloc[:0], "the table has no rows"),
        (lambda f: f.assign(outcome="0"), "column 'outcome': every record is negative: training needs both classes"),
        (lambda f: f.assign(outcome="1"), "every record is positive"),
    ],
)
def test_a_wrong_table_is_named(break_it: Callable[[pd.DataFrame], pd.DataFrame], says: str) -> None:
    assert says in str(invalid(break_it(credit_frame(6))))


def test_all_is_counted_and_the_first_are_shown() -> None:
    frame = credit_frame(40).assign(debt="x", owner="perhaps").drop(columns="since")
    error = invalid(frame)
    assert error.count == 81
    assert len(error.violations) == 10
    assert [v.row for v in error.violations] == list(range(1, 11))
    assert "(and 80 more" in str(error)


def test_many_missing_columns_are_counted_too() -> None:
    error = invalid(pd.DataFrame({"nothing": ["1"]}))
    assert error.count == 7


def test_unlabelled_tables_need_no_label() -> None:
    table = check_frame(credit_frame(3).drop(columns="outcome"), SPEC, "t", labelled=False)
    assert "outcome" not in table.columns


def test_columns_that_the_spec_does_not_name_are_left_out() -> None:
    assert "iban" not in check_frame(credit_frame(3).assign(iban="DE02"), SPEC, "t").columns


def test_a_second_record_of_a_series_and_day_is_named() -> None:
    text = [("s1", "2024-01-01"), ("s2", "2024-01-01"), ("s1", "2024-01-02"), ("s1", "2024-01-01")]
    frame = pd.DataFrame(text, columns=["store", "day"]).assign(sales="1", open="1", promo="0", holiday="0")
    error = invalid(frame, demand_spec())
    assert "column 'day', row 4: a second record of this series and day" in str(error)


def test_labels_of_numbers_and_flags() -> None:
    assert label_mask(np.array([1.0, 0.0, 2.0]), ("1", "2.0")).tolist() == [True, False, True]
    assert label_mask(np.array([1.0, 0.0]), ("true",)).tolist() == [True, False]
    assert label_mask(np.array(["a", "b"]), ("b",)).tolist() == [False, True]


def test_a_number_label_outside_both_classes_is_named() -> None:
    parsed = with_column(document(CREDIT), "outcome", kind="number", min=0, max=9, values=[])
    error = invalid(credit_frame(3).assign(outcome=["0", "1", "7"]), parse_spec(parsed, "x"))
    assert "column 'outcome', row 3: '7.0' is no label value" in str(error)


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=20))
def test_numbers_read_back_exactly(values: list[float]) -> None:
    frame = credit_frame(len(values)).assign(debt=[repr(v) for v in values])
    assert check_frame(frame, SPEC, "t").columns["debt"].tolist() == values


@given(st.lists(st.text(max_size=6), min_size=2, max_size=6))
def test_any_text_is_a_value_or_a_violation(cells: list[str]) -> None:
    frame = credit_frame(len(cells)).assign(debt=cells, sector=cells, owner=cells, since=cells)
    said = ""
    try:
        table = check_frame(frame, SPEC, "t")
    except TableInvalid as error:
        said = str(error)
    assert "\n" not in said
    assert said or np.isfinite(table.columns["debt"]).all()


def test_demand_tables_read(tmp_path: Path) -> None:
    assert document(DEMAND)["series"]["id"] == "store"
    path = tmp_path / "t.csv"
    path.write_text("store,day,sales,open,promo,holiday\ns,2024-01-01,5,true,no,0\n", encoding="utf-8")
    table = read_table(path, demand_spec())
    assert table.columns["day"].dtype == np.dtype("datetime64[D]")
    assert table.columns["open"].tolist() == [1.0]
