"""A database that somebody sent: commands believe nothing of it that the reader's policy does not vouch for."""

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from consortium_simulator import ORIGIN, Consortium, key_of
from typer.testing import CliRunner

from ledger.commands import app
from ledger.errors import Damaged
from ledger.log import Log
from ledger.rules import COORDINATOR
from ledger.schema import row_crc32
from ledger.snapshot import newest_snapshot, put_snapshot
from ledger.statement import decode_statement, sign_statement
from ledger.store import Store

BATCH = "batch-7"


@pytest.fixture
def sent(tmp_path: Path) -> Consortium:
    """A final ledger in `ledger.db`, beside the policy that its reader trusts."""
    made = Consortium(location=tmp_path / "ledger.db")
    made.append("attest", "firm-0", subject=BATCH, artifact=made.hash())
    made.cosign()
    (tmp_path / "policy.txt").write_text(made.log.policy.text())
    made.log.close()
    return made


def run(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--db", str(folder / "ledger.db")])


def trace(folder: Path) -> Any:
    return run(folder, "trace", BATCH, "--policy", str(folder / "policy.txt"))


def change(folder: Path, sql: str, *values: Any) -> None:
    """Change the database, and make its check sums fit again."""
    with sqlite3.connect(folder / "ledger.db") as database:
        database.execute(sql, values)
        for table, columns in (
            ("meta", ("key", "value")),
            ("checkpoints", ("size", "note")),
            ("cosignatures", ("size", "name", "line")),
        ):
            for row in database.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall():
                where = f"{columns[0]} = ? AND {columns[1]} = ?"
                database.execute(f"UPDATE {table} SET crc32 = ? WHERE {where}", (row_crc32(*row), row[0], row[1]))
    database.close()


def test_an_entry_that_was_put_in_later_is_not_called_final(sent: Consortium, tmp_path: Path) -> None:
    assert "final" in trace(tmp_path).output
    payload = sent.payload("attest", subject=BATCH, artifact=b"\xee" * 32)
    forged = sign_statement(payload, issuer="firm-0", subject=BATCH, key=key_of("mallory"))
    digest = decode_statement(forged).digest
    change(tmp_path, "UPDATE entries SET raw = ?, digest = ? WHERE idx = 6", forged, digest)
    answer = trace(tmp_path)
    assert answer.exit_code == 1
    assert "not those of the final checkpoint" in answer.output


def test_a_snapshot_that_says_something_else_is_not_believed(sent: Consortium, tmp_path: Path) -> None:
    store, mallory = Store(tmp_path / "ledger.db"), key_of("mallory").public
    snapshot = newest_snapshot(store, ORIGIN, sent.keys[COORDINATOR].public)
    assert snapshot is not None
    victim = snapshot.state.members.get("firm-0")
    assert victim is not None
    members = snapshot.state.members.set("firm-0", dataclasses.replace(victim, key=mallory))
    forged = dataclasses.replace(snapshot, state=dataclasses.replace(snapshot.state, members=members))
    put_snapshot(store, forged, None)
    store.close()
    answer = run(tmp_path, "members")
    assert answer.exit_code == 0
    assert sent.keys["firm-0"].public.fingerprint in answer.output
    assert mallory.fingerprint not in answer.output
    assert run(tmp_path, "policy").output.split() == (tmp_path / "policy.txt").read_text().split()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE meta SET value = x'ff' WHERE key = 'vkey'",
        "UPDATE meta SET value = 12 WHERE key = 'origin'",
        "DELETE FROM meta WHERE key = 'cid'",
        "UPDATE checkpoints SET note = x'61'",
        "UPDATE cosignatures SET line = x'61'",
        "UPDATE entries SET digest = 'abc' WHERE idx = 3",
        "UPDATE entries SET raw = 'abc' WHERE idx = 3",
    ],
)
def test_values_of_the_wrong_type_are_one_line_and_no_traceback(sent: Consortium, tmp_path: Path, sql: str) -> None:
    change(tmp_path, sql)
    words = [
        ("show",),
        ("members",),
        ("policy",),
        ("audit", "--policy", str(tmp_path / "policy.txt")),
        ("trace", BATCH, "--policy", str(tmp_path / "policy.txt")),
        ("export", str(tmp_path / "copy")),
    ]
    for answer in (run(tmp_path, *command) for command in words):
        assert answer.exception is None or isinstance(answer.exception, SystemExit), repr(answer.exception)


def test_a_time_beyond_any_calendar_spoils_nobodys_trace(tmp_path: Path) -> None:
    made = Consortium(location=tmp_path / "ledger.db")
    made.append("attest", "firm-0", subject=BATCH, artifact=made.hash(), ts=(1 << 64) - 1)
    made.cosign()
    (tmp_path / "policy.txt").write_text(made.log.policy.text())
    made.log.close()
    answer = trace(tmp_path)
    assert answer.exit_code == 0
    assert "18446744073709551615 s" in answer.output


@pytest.mark.parametrize("name", ["entries", "meta"])
def test_a_view_in_a_tables_place_is_not_computed(sent: Consortium, tmp_path: Path, name: str) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT kept.* FROM kept, n"
    )
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute(f"ALTER TABLE {name} RENAME TO kept")
        database.execute(f"CREATE VIEW {name} AS {endless}")
    database.close()
    for command in (("show",), ("members",), ("audit", "--policy", str(tmp_path / "policy.txt"))):
        answer = run(tmp_path, *command)
        assert answer.exit_code == 1, answer.output
        assert "views or triggers" in answer.output


def test_a_trigger_changes_nothing_that_is_written(sent: Consortium, tmp_path: Path) -> None:
    change(tmp_path, "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM cosignatures; END")
    with pytest.raises(Damaged, match="views or triggers"):
        Log.open(tmp_path / "ledger.db", sent.keys[COORDINATOR], sent.clock)
