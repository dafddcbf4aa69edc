"""Tables that grow while firms train: what is new takes part, a stream keeps to the records that it began with."""

from __future__ import annotations

import os
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from consortium_world import Consortium
from federation_world import TASK, Meddler, federation, opened, train, training
from stream_world import ME, restart, row, table_of, take_part

from clients import table_source
from clients.data import Table
from clients.firm import Firm, open_firm
from clients.kept_records import KeptRecords, records_of
from clients.kept_sums import DealtOtherwise
from clients.table_files import TableUnreadable
from clients.table_source import FileSource
from clients.tasks.examples import Examples
from clients.wallet import Wallet
from experiments.federation import Federation, write_firm_config

NEW = "c900,1,100,5,farm,true,2020-01-31\nc901,0,500,7,2,false,2024-02-29\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Consortium]:
    made = Consortium(tmp_path / "home", firms=5, limits={"epsilon": 1e3})
    yield made
    made.close()


def add(path: Path, lines: str = NEW) -> None:
    """As an export does: a new file under the same name."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(path.read_bytes().rstrip(b"\n") + b"\n" + lines.encode())
    os.replace(fresh, path)


def units(firm: Firm) -> int:
    return firm.task(TASK).examples.units


def test_new_records_are_there_at_once_and_what_has_not_changed_is_not_read_again(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    firm, read = world.firms[ME], []
    monkeypatch.setattr(
        table_source, "read_frame", lambda path, of=table_source.read_frame: (read.append(path), of(path))[1]
    )
    before = units(firm)
    firm.require_fits(TASK)
    assert (units(firm), len(read)) == (before, 1)
    add(table_of(firm))
    firm.require_fits(TASK)
    firm.require_fits(TASK)
    assert (units(firm), len(read)) == (before + 2, 3)


def test_a_stream_goes_on_with_the_records_it_began_with(world: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in another process, as each message has one; the next stream has what is new."""
    used: list[Examples] = []

    def spy(firm: Firm, name: str, *stream: Any, of: Any = Firm.task) -> Any:
        private = of(firm, name, *stream)
        used.append(private.examples)
        return private

    firm = world.firms[ME]
    before = firm.task(TASK).examples
    take_part(world, row(1))
    add(table_of(firm), "")  # written again as it is
    take_part(world, row(2))
    add(table_of(firm))
    shuffled = table_of(firm).read_text().splitlines()
    table_of(firm).write_text("\n".join([shuffled[0], *shuffled[:0:-1]]) + "\n")
    firm = restart(world)
    assert units(firm) == before.units + 2
    monkeypatch.setattr(Firm, "task", spy)
    take_part(world, row(3))
    assert used[-1].digest == before.digest
    take_part(world, row(1))
    take_part(world, row(2))
    assert [one.units for one in used[1:]] == [before.units + 2] * 2


def test_a_record_that_has_gone_stops_the_stream_and_says_what_to_do(world: Consortium) -> None:
    firm = world.firms[ME]
    take_part(world, row(1))
    path = table_of(firm)
    text = path.read_text()
    head, first, rest = text.split("\n", 2)
    path.write_text("\n".join([head, rest]))
    paid = firm.wallet.head
    with pytest.raises(DealtOtherwise, match=r"1 of 40 records .* put back what was there, or"):
        take_part(world, row(2))
    assert firm.wallet.head == paid
    path.write_text("\n".join([head, rest.rstrip("\n"), first]) + "\n")
    take_part(world, row(2))


def test_what_is_kept_of_a_stream_are_keyed_hashes_for_the_owner_alone(tmp_path: Path) -> None:
    table = Table({"a": np.array(["x", "y", "x"]), "b": np.array([1.0, np.nan, 1.0])}, 3)
    kept = KeptRecords(tmp_path / "records-t", lambda: b"k" * 32)
    kept.begin(b"s" * 32, records_of(table))
    assert (tmp_path / "records-t").stat().st_mode & 0o777 == 0o600
    assert b"".join(records_of(table).tolist())[:16] not in (tmp_path / "records-t").read_bytes()
    again = KeptRecords(tmp_path / "records-t", lambda: b"k" * 32)
    grown = Table({"a": np.array(["x", "x", "z", "x", "y"]), "b": np.array([1.0, 2.0, 1.0, 1.0, np.nan])}, 5)
    order = again.order(b"s" * 32, records_of(grown))
    assert order is not None
    assert order.tolist() == [0, 4, 3]  # two that are alike are two
    assert again.order(b"t" * 32, records_of(grown)) is None
    with pytest.raises(DealtOtherwise, match="1 of 3 records"):
        again.order(b"s" * 32, records_of(grown.take(np.array([0, 1, 4]))))
    with pytest.raises(DealtOtherwise, match="3 of 3 records"):
        KeptRecords(tmp_path / "records-t", lambda: b"other").order(b"s" * 32, records_of(table))


def test_a_file_that_is_written_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("outcome,income,sector\npaid,1,trade\n")

    def slow(of: Path) -> object:
        path.write_text(path.read_text() + "paid,12")
        return None

    monkeypatch.setattr(table_source, "read_frame", slow)
    with pytest.raises(TableUnreadable, match="rename it to this name"):
        FileSource(path).table(None)  # type: ignore[arg-type]  # it does not come to that


# A whole federation, in which firm-1 has its records in a database.


def in_database(built: Federation, member: str, *, columns: str = "outcome, income, sector") -> Path:
    """Put a member's table into a database, and its firm.toml to read it from there."""
    home = built.member(member)
    frame = pd.read_csv(home / f"data/{TASK}.csv")
    with sqlite3.connect(home / "erp.db") as made:
        frame.to_sql("loans", made, index=False)
    made.close()
    document = tomllib.loads((home / "firm.toml").read_text())
    sql = {"url": "sqlite:///erp.db", "query": f"select {columns} from loans"}
    document["task"] = [
        {**{k: v for k, v in one.items() if k != "data"}, "dataset": "loans", "sql": sql} for one in document["task"]
    ]
    write_firm_config(home, document)
    return home


def insert(
    home: Path, sql: str = "insert into loans values ('paid', 73.5, 'trade'), ('default', 12.0, 'building')"
) -> None:
    with sqlite3.connect(home / "erp.db") as database:
        database.execute(sql)
    database.close()


def accounts(home: Path) -> list[tuple[str, str]]:
    with Wallet(home / "wallet.sqlite") as wallet:
        return [(one.unit, one.dataset) for one in wallet.report()]


def test_a_table_in_a_database_grows_between_rounds_and_pays_from_the_same_account(tmp_path: Path) -> None:
    built = federation(tmp_path / "home", 3, training(3))
    home = in_database(built, "firm-1")
    seen: list[int] = []

    def after(kind: str, member: str, message: object, reply: object) -> None:
        if (kind, member) == ("train.update", "firm-1"):
            seen.append(units(open_firm(home)))
            insert(home)

    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(after=after))
    assert seen == [60, 62, 64]
    assert accounts(home) == [("one row", "loans")]


def test_a_schema_that_has_changed_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    """The column is gone from the query's table between two rounds: the others go on, and both sides know why."""
    built = federation(tmp_path / "home", 5, training(2, colluders=1))
    home = in_database(built, "firm-1", columns="*")
    paid: list[tuple[int, ...]] = []

    def before(kind: str, member: str, message: object) -> None:
        if (kind, member) == ("train.update", "firm-1"):
            with Wallet(home / "wallet.sqlite") as wallet:
                paid.append(wallet.spent("one row", "loans"))
            if len(paid) == 2:
                insert(home, "alter table loans rename column income to salary")

    said: list[str] = []
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before), lines=said)
        refusals = (coordinator.home / "runs" / f"{TASK}.json").read_text()
    with Wallet(home / "wallet.sqlite") as wallet:
        assert wallet.spent("one row", "loans") == paid[1] > paid[0]
    assert "SchemaMismatch: of the columns that the task spec names, the firm's table lacks income" in refusals
    assert "salary" not in refusals
