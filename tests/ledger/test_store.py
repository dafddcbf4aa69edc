"""Reading a stored ledger: no files of its own, no rights that it does not need, nothing half written."""

import os
import sqlite3
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from consortium_simulator import Consortium
from sqlalchemy.exc import SADeprecationWarning

from ledger.audit import audit
from ledger.errors import StoreError
from ledger.statement import decode_statement
from ledger.store import Store


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Consortium]:
    made = Consortium(location=tmp_path / "ledger.db")
    assert made.cosign()
    yield made
    made.log.close()


def test_nothing_is_used_that_sqlalchemy_is_about_to_drop(made: Consortium) -> None:
    made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash()) for _ in range(256)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", SADeprecationWarning)
        made.cosign()
        assert made.log.index_of(decode_statement(made.log.entries(3, 4)[0]).digest) == 3
        assert made.log.inclusion(3, made.log.size)


def test_reading_leaves_no_files_behind(made: Consortium, tmp_path: Path) -> None:
    made.log.close()
    before = sorted(tmp_path.iterdir())
    store = Store(tmp_path / "ledger.db", read_only=True)
    assert store.size() == made.log.size
    assert sorted(tmp_path.iterdir()) == before
    store.close()
    assert audit(tmp_path / "ledger.db", made.log.policy).ok
    assert sorted(tmp_path.iterdir()) == before


def test_reading_needs_no_right_to_write(made: Consortium, tmp_path: Path) -> None:
    made.log.close()
    os.chmod(tmp_path / "ledger.db", 0o400)
    os.chmod(tmp_path, 0o500)
    try:
        assert audit(tmp_path / "ledger.db", made.log.policy).ok
    finally:
        os.chmod(tmp_path, 0o700)


def test_reading_beside_a_sequencer_sees_its_newest_entries(location: Path | str) -> None:
    made = Consortium(location=location)
    store = Store(location, read_only=True)
    size = store.size()
    made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash())])
    assert store.size() == size + 1
    made.log.close()
    assert store.size() == size + 1
    store.close()


def test_a_reader_cannot_write(made: Consortium, tmp_path: Path) -> None:
    made.log.close()
    store = Store(tmp_path / "ledger.db", read_only=True)
    with pytest.raises(StoreError, match="readonly"), store.write() as transaction:
        transaction.put_meta({"a": "b"})
    store.close()


def add_fact(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO meta VALUES ('a', 'b', 0)")
    database.close()


def test_a_file_that_is_written_during_a_read_is_not_trusted(made: Consortium, tmp_path: Path) -> None:
    made.log.close()
    store = Store(tmp_path / "ledger.db", read_only=True)
    os.utime(tmp_path / "ledger.db", ns=(0, 0))
    with pytest.raises(StoreError, match="read it again"), store.read():
        add_fact(tmp_path / "ledger.db")
    store.close()


def test_only_the_owner_reads_a_ledgers_files(made: Consortium, tmp_path: Path) -> None:
    """Whatever the umask: entries for members are in them."""
    before = os.umask(0o022)
    try:
        made.log.backup(tmp_path / "backup.db")
        made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash())])
        files = [file for file in tmp_path.iterdir() if not file.name.endswith(".lock")]
        assert {"ledger.db", "ledger.db-wal", "backup.db"} <= {file.name for file in files}
        assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in files} == {f.name: 0o600 for f in files}
    finally:
        os.umask(before)
