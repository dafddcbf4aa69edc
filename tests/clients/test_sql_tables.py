"""Tables in databases: the same table as from a CSV, nothing written whatever the query says, errors in one line."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from task_world import CREDIT, credit_frame, credit_spec

from artesian import app
from clients.data import SchemaMismatch, Table, TableInvalid, check_frame, read_table
from clients.disclosure import pack_refusal
from clients.enrolment.consortium import ConsortiumPolicy, ConsortiumTask
from clients.errors import ClientError
from clients.firm_config import FirmConfigInvalid, TaskAtFirm, load_firm_config
from clients.firm_template import firm_toml
from clients.firm_wallet import table_of
from clients.messages import Refusal, unpack
from clients.sql_settings import SqlTable
from clients.sql_tables import DatabaseUnreachable, QueryRefused, read_sql
from clients.table_files import TableUnreadable
from clients.table_source import source_of

if TYPE_CHECKING:
    from postgres_world import PostgresServer

SPEC = credit_spec()
CELL = "4711.25"
"""A cell that nobody may be told."""


def typed(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    """The rows of a credit table as a database has them."""
    flags = {"true": True, "false": False, "": None}
    return [
        (
            row.customer,
            int(row.outcome),
            Decimal(row.income) if row.income else None,
            int(row.debt),
            row.sector or None,
            flags[row.owner],
            date.fromisoformat(row.since),
        )
        for row in frame.itertuples()
    ]


COLUMNS = "customer text, outcome int, income numeric, debt bigint, sector text, owner boolean, since date"


def in_sqlite(path: Path, rows: list[tuple[object, ...]]) -> SqlTable:
    with sqlite3.connect(path) as made:
        made.execute(f"CREATE TABLE loans ({COLUMNS})")
        plain = [[float(v) if isinstance(v, Decimal) else v for v in row] for row in rows]
        made.executemany("INSERT INTO loans VALUES (?,?,?,?,?,?,?)", plain)
    made.close()
    return SqlTable(url=f"sqlite:///{path}", query="select * from loans")


@pytest.fixture
def lite(tmp_path: Path) -> SqlTable:
    return in_sqlite(tmp_path / "loans.db", typed(credit_frame(30, seed=3)))


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[SqlTable]:
    import psycopg

    url = postgres_server.new_database()
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE TABLE loans ({COLUMNS})")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO loans VALUES (%s,%s,%s,%s,%s,%s,%s)", typed(credit_frame(30, seed=3)))
    yield SqlTable(url=url, query="select * from loans", timeout_s=5)
    postgres_server.give_back(url)


@pytest.fixture(params=["lite", pytest.param("postgres", marks=pytest.mark.postgresql)])
def table(request: pytest.FixtureRequest) -> SqlTable:
    """The same records in SQLite and in PostgreSQL."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def read(sql: SqlTable, query: str | None = None, **settings: object) -> Table:
    asked = sql.model_copy(update={**({} if query is None else {"query": query}), **settings})
    at_firm = TaskAtFirm(name="credit", spec="spec.toml", sql=asked, dataset="loans", units=50)
    return source_of(Path("/"), at_firm).table(SPEC)


def refused(sql: SqlTable, query: str | None = None, **settings: object) -> ClientError:
    with pytest.raises(ClientError) as caught:
        read(sql, query, **settings)
    assert "\n" not in str(caught.value)
    return caught.value


def rows_in(sql: SqlTable) -> int:
    return read_sql(sql.model_copy(update={"query": "select count(*) as n from loans"}), Path("/"), {}).frame["n"][0]


def assert_same(one: Table, other: Table) -> None:
    assert one.columns.keys() == other.columns.keys()
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, other.columns[name], err_msg=name)


def test_a_query_gives_the_same_table_as_a_file(table: SqlTable) -> None:
    assert_same(read(table), check_frame(credit_frame(30, seed=3), SPEC, "frame"))
    backwards = "with newest as (select * from loans where sector like '%a%' or sector is null or true) table newest"
    if table.url.startswith("postgresql"):
        assert read(table, f"{backwards}; -- all of them").rows == 30


def test_chunks_make_one_table(table: SqlTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.sql_tables.CHUNK", 7)
    assert_same(read(table), check_frame(credit_frame(30, seed=3), SPEC, "frame"))


_ROWS = st.lists(
    st.tuples(
        st.integers(1, 9999).map(lambda n: f"c{n}"),
        st.sampled_from(["1", "2"]),
        st.one_of(st.just(""), st.decimals(0, 100, places=2).map(str), st.integers(0, 100).map(str)),
        st.integers(0, 2**31).map(str),
        st.sampled_from(["2", "15", "farm", ""]),
        st.sampled_from(["true", "false", ""]),
        st.dates(date(1990, 1, 1), date(2030, 1, 1)).map(str),
    ),
    min_size=2,
    max_size=12,
)


def outcome_of(read: object) -> object:
    """What reading comes to: the table, or the violations."""
    try:
        return read()  # type: ignore[operator]
    except TableInvalid as error:
        return [(one.column, one.row) for one in error.violations], error.count


@given(_ROWS)
def test_typed_cells_are_what_a_file_of_them_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str]]
) -> None:
    home = tmp_path_factory.mktemp("typed")
    frame = pd.DataFrame(rows, columns=credit_frame(2).columns)
    frame.to_csv(home / "t.csv", index=False)
    sql = in_sqlite(home / "t.db", typed(frame))
    one, other = outcome_of(lambda: read(sql)), outcome_of(lambda: read_table(home / "t.csv", SPEC))
    if isinstance(one, Table) and isinstance(other, Table):
        assert_same(one, other)
    else:
        assert one == other


@pytest.mark.postgresql
def test_numbers_and_names_of_postgresql_are_read_to_the_last_digit(postgres: SqlTable) -> None:
    big = 2**53 + 1
    query = f"select {big}::bigint as a, null as b, 2.50::numeric as c, 7.00::numeric as d, 'NaN'::numeric as e, 1e300"
    frame = read_sql(postgres.model_copy(update={"query": query}), Path("/"), {}).frame
    assert frame.iloc[0, :5].tolist() == [str(big), "", "2.50", "7", ""]


WRITES = [
    "delete from loans",
    "select 1; delete from loans",
    "select 1; commit; set transaction read write; delete from loans",
    "update loans set debt = 0 returning *",
    "drop table loans",
    "create table other (x int)",
    "insert into loans select * from loans",
]


@pytest.mark.parametrize("query", WRITES)
def test_what_writes_is_refused_and_nothing_is_written(table: SqlTable, query: str) -> None:
    error = refused(table, query)
    assert isinstance(error, QueryRefused), error
    assert error.exit_code == 2
    assert rows_in(table) == "30"


@pytest.mark.parametrize(
    "query",
    ["attach 'other.db' as o", "vacuum into 'other.db'", "pragma query_only=off", "select load_extension('x')"],
)
def test_sqlite_does_nothing_but_read(
    lite: SqlTable, tmp_path: Path, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(refused(lite, query), QueryRefused)
    assert not (tmp_path / "other.db").exists()


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "query",
    [
        "copy loans to program 'touch {place}'",
        "copy (select 1) to '{place}'",
        "with gone as (delete from loans returning *) select * from gone",
        "select spoil()",
        "select lo_create(7), nextval('numbers')",
        "select * from loans for update",
        "select set_config('transaction_read_only', 'off', false), spoil()",
        "set transaction read write",
        "begin",
    ],
)
def test_postgresql_does_nothing_but_read(
    postgres: SqlTable, postgres_server: PostgresServer, tmp_path: Path, query: str
) -> None:
    import psycopg

    with psycopg.connect(postgres.url) as owner:
        owner.execute("CREATE SEQUENCE numbers")
        owner.execute("CREATE FUNCTION spoil() RETURNS int AS 'DELETE FROM loans; SELECT 1' LANGUAGE sql")
    error = refused(postgres, query.format(place=tmp_path / "place"))
    assert isinstance(error, QueryRefused), error
    assert rows_in(postgres) == "30"
    assert not (tmp_path / "place").exists()


@pytest.mark.postgresql
def test_a_query_that_takes_too_long_ends(postgres: SqlTable) -> None:
    error = refused(postgres, "select pg_sleep(30)", timeout_s=1)
    assert (type(error), error.exit_code) == (DatabaseUnreachable, 3)
    assert "longer than 1 s" in str(error)


def test_an_endless_query_of_sqlite_ends(lite: SqlTable) -> None:
    endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"
    times = iter([0.0, 0.0, 100.0])
    asked = lite.model_copy(update={"query": endless})
    with pytest.raises(DatabaseUnreachable, match="longer than 60 s"):
        read_sql(asked, Path("/"), {}, clock=lambda: next(times, 100.0))


def test_more_rows_than_allowed_are_refused(table: SqlTable) -> None:
    assert "more than 29 rows" in str(refused(table, most_rows=29))
    assert read(table, most_rows=30).rows == 30


def test_a_wrong_query_says_where(table: SqlTable) -> None:
    wrong = refused(table, "select *\n  form loans")
    assert wrong.exit_code == 2
    assert "the query is wrong at line 2, column 3" in str(wrong) or "near" in str(wrong)
    assert "no" in str(refused(table, "select nowhere from loans"))


@pytest.mark.postgresql
def test_postgresql_says_the_column_of_what_is_wrong(postgres: SqlTable) -> None:
    assert 'at line 2, column 3: column "nowhere" does not exist' in str(
        refused(postgres, "select\n  nowhere from loans")
    )


def test_a_missing_column_is_named_with_those_that_are_there(table: SqlTable) -> None:
    error = refused(table, "select customer, outcome, debt, sector, owner, since from loans")
    assert isinstance(error, SchemaMismatch)
    assert error.exit_code == 2
    assert "column 'income': the column is missing; the table has customer, outcome, debt" in str(error)
    assert said(error) == (
        "SchemaMismatch",
        "of the columns that the task spec names, the firm's table lacks income",
    )


def said(error: Exception) -> tuple[str, str]:
    """What a refusal tells the coordinator."""
    with pytest.raises(Refusal) as caught:
        unpack(pack_refusal(error), {}, "reply")
    return caught.value.code, caught.value.detail


@pytest.mark.postgresql
def test_a_declared_type_that_contradicts_the_spec_is_a_mismatch_even_of_an_empty_table(postgres: SqlTable) -> None:
    query = "select customer, outcome, since as income, debt, sector, owner, since from loans"
    for asked in (query, f"{query} where false"):
        sql = postgres.model_copy(update={"query": asked})
        at_firm = TaskAtFirm(name="credit", spec="s", sql=sql, dataset="loans", units=50)
        with pytest.raises(SchemaMismatch, match="has it as a date, the spec as a number; cast it") as caught:
            source_of(Path("/"), at_firm).table(SPEC, alone=False)
        assert said(caught.value)[1].endswith("has another type for income")


def test_a_cell_that_is_wrong_is_for_the_firm_alone(table: SqlTable) -> None:
    error = refused(table, f"select customer, outcome, {CELL}e9 as income, debt, sector, owner, since from loans")
    assert CELL.replace(".", "")[:4] in str(error)
    code, detail = said(error)
    assert code == "Unready"
    assert "income" not in detail


def test_a_column_named_twice_is_refused(table: SqlTable) -> None:
    assert "'debt' is there twice" in str(refused(table, "select debt, debt from loans"))


def test_nobody_there_is_exit_3(tmp_path: Path) -> None:
    sql = SqlTable(url="postgresql://me@127.0.0.1:1/loans", query="select 1", timeout_s=2)
    error = refused(sql)
    assert (type(error), error.exit_code) == (DatabaseUnreachable, 3)
    assert str(error).startswith("postgresql://127.0.0.1:1/loans: cannot be reached")
    gone = refused(SqlTable(url=f"sqlite:///{tmp_path}/none.db", query="select 1"))
    assert (type(gone), gone.exit_code) == (TableUnreadable, 2)
    (tmp_path / "text.db").write_text("no database" * 100)
    assert "check the file" in str(refused(SqlTable(url=f"sqlite:///{tmp_path}/text.db", query="select * from x")))


# The password.


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@h/d", "postgresql://me@h/d?password=hunter2"])
def test_a_password_in_the_url_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SqlTable(url=url, query="select 1")
    assert "hunter2" not in str(caught.value)
    config = 'member = "a"\ncid = "c"\n[[task]]\nname = "t"\nspec = "s"\nunits = 10\ndataset = "d"\n'
    (tmp_path / "firm.toml").write_text(f'{config}[task.sql]\nurl = "{url}"\nquery = "select 1"\n')
    with pytest.raises(FirmConfigInvalid, match="put it alone into a file of mode 0600") as refusal:
        load_firm_config(tmp_path / "firm.toml")
    assert "hunter2" not in str(refusal.value)


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o644)
    sql = SqlTable(url="postgresql://me@127.0.0.1:1/d", query="select 1", password_file="secret")
    with pytest.raises(TableUnreadable, match="others can read this password; run: chmod 600"):
        read_sql(sql, tmp_path, {})
    (tmp_path / "secret").chmod(0o600)
    with pytest.raises(DatabaseUnreachable) as caught:
        read_sql(sql, tmp_path, {})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(TableUnreadable, match="the environment has no LOANS_PASSWORD"):
        read_sql(SqlTable(url="postgresql://me@h/d", query="select 1", password_env="LOANS_PASSWORD"), tmp_path, {})


# Which account of the wallet pays.


def test_a_database_needs_the_name_of_its_account() -> None:
    sql = SqlTable(url="sqlite:///x.db", query="select 1")
    with pytest.raises(ValidationError, match="name the 'dataset' beside"):
        TaskAtFirm(name="t", spec="s", sql=sql, units=10)
    with pytest.raises(ValidationError, match="give either 'data'"):
        TaskAtFirm(name="t", spec="s", sql=sql, data="x.csv", dataset="d", units=10)
    with pytest.raises(ValidationError, match="give either 'data'"):
        TaskAtFirm(name="t", spec="s", units=10)


def test_the_same_query_is_the_same_table_however_it_is_spelled(tmp_path: Path) -> None:
    def place(url: str, query: str = "select 1") -> str:
        return table_of(tmp_path, SqlTable(url=url, query=query).location)

    assert place("postgresql://me@Host/d", "select  1\n;") == place("postgresql://you@host/d?sslmode=require")
    assert place("postgresql://h/d", "select 2") != place("postgresql://h/d")
    assert place("postgresql://h:5433/d") != place("postgresql://h/d")
    assert place("sqlite:///a/../x.db") == place(f"sqlite:///{tmp_path}/x.db")
    assert table_of(tmp_path, "data/x.csv") == str(tmp_path / "data/x.csv")


# `artesian firm check`.


def checked(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["firm", "check", *(str(one) for one in arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_check_reads_what_firm_toml_names_or_a_query(tmp_path: Path, lite: SqlTable) -> None:
    (tmp_path / "credit.toml").write_text(CREDIT)
    asked = ("--spec", tmp_path / "credit.toml", "--sql", lite.url, "--query", lite.query)
    code, out, _ = checked(*asked)
    assert (code, out.splitlines()[0]) == (0, f"{lite.url} fits {tmp_path}/credit.toml: 30 rows.")
    assert checked(*asked[:-1], "select 1 as n")[0] == 2
    task = '[[task]]\nname = "{}"\nspec = "credit.toml"\nunits = 10\ndataset = "loans"\n'
    ours = f'[task.sql]\nurl = "sqlite:///loans.db"\nquery = "{lite.query}"\n'
    gone = '[task.sql]\nurl = "postgresql://me@127.0.0.1:1/d"\nquery = "select 1"\ntimeout_s = 2\n'
    head = 'member = "firm-1"\ncid = "c"\n'
    (tmp_path / "firm.toml").write_text(head + task.format("credit") + ours + task.format("far") + gone)
    code, out, _ = checked("--home", tmp_path, "--task", "credit", "--json")
    assert (code, json.loads(out)["tasks"][0]["rows"]) == (0, 30)
    code, out, err = checked("--home", tmp_path)
    assert (code, out.count("fits"), err.count("cannot be reached")) == (3, 1, 1)
    assert checked("--home", tmp_path, "--task", "other")[0] == 2
    assert checked("--spec", tmp_path / "credit.toml")[0] == 2
    assert checked()[0] == 2


def test_what_joining_writes_shows_how_a_database_is_named(tmp_path: Path) -> None:
    task = ConsortiumTask(name="credit", spec_sha256="0" * 64)
    text = firm_toml("firm-1", ConsortiumPolicy(cid="grain", name="Grain", task=(task,)))
    (tmp_path / "firm.toml").write_text(text)
    assert load_firm_config(tmp_path / "firm.toml").task[0].sql is None
    shown = ("# dataset =", "# [task.sql]", "# url =", "# password_file =", "# query =")
    lines = [line[2:] if line.startswith(shown) else line for line in text.splitlines()]
    (tmp_path / "firm.toml").write_text("\n".join(line for line in lines if not line.startswith("data = ")))
    read = load_firm_config(tmp_path / "firm.toml").task[0]
    assert read.sql is not None
    assert (read.dataset, read.sql.password_file) == ("customers", "db.password")
