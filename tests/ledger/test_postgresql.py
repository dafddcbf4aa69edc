"""A ledger on PostgreSQL: one sequencer, fenced by the session that holds its lock; errors that say what to do."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from consortium_simulator import Consortium
from load_world import found, opened, statement
from postgres_world import PostgresServer

from ledger import postgresql
from ledger.errors import Conflict, LedgerError, StoreError, Unreachable
from ledger.log import Log
from ledger.store import Store

pytestmark = pytest.mark.postgresql

SEQUENCERS = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


@pytest.fixture
def log(postgres_url: str) -> Iterator[Log]:
    with found(postgres_url) as log:
        yield log


def ends(server: PostgresServer) -> bool:
    """Whether the lock is free soon: the server notices that a client is gone, and ends its session, by itself."""
    until_s = time.monotonic() + 30
    while server.execute(SEQUENCERS) and time.monotonic() < until_s:
        time.sleep(0.01)
    return server.execute(SEQUENCERS) == []


def end_session(server: PostgresServer) -> None:
    """What an administrator does to a sequencer, or a network that fails."""
    [[pid]] = server.execute(SEQUENCERS)
    server.execute(f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_sequencer_whose_session_was_ended_never_writes_again(
    log: Log, postgres_url: str, postgres_server: PostgresServer
) -> None:
    size = log.size
    end_session(postgres_server)
    with pytest.raises(Unreachable, match="open the ledger again") as first:
        log.append([statement(0)])
    assert first.value.exit_code == 3
    with pytest.raises(Unreachable, match="sequencer's lock was lost"):
        log.append([statement(0)])
    with opened(postgres_url) as successor:
        assert successor.append([statement(1), statement(0)]) == [size, size + 1]
        for write in (lambda: log.append([statement(2)]), lambda: log.put_body(bytes(32), b"body")):
            with pytest.raises(StoreError, match=r"lock was lost|more than this log has written"):
                write()
        assert successor.append([statement(2)]) == [size + 2]


def test_a_session_that_ends_in_the_middle_of_a_write_leaves_nothing_of_it(
    log: Log, postgres_url: str, postgres_server: PostgresServer
) -> None:
    log.close()
    store = Store(postgres_url)
    store.lock()

    def write() -> None:
        with store.write() as transaction:
            transaction.put_meta({"one": "1"})
            end_session(postgres_server)
            transaction.put_meta({"two": "2"})

    with pytest.raises(Unreachable):
        write()
    assert not {"one", "two"} & set(store.meta())
    store.close()


def test_the_lock_ends_with_the_sequencer(log: Log, postgres_url: str, postgres_server: PostgresServer) -> None:
    with pytest.raises(StoreError, match="another sequencer is running"):
        opened(postgres_url)
    log.close()
    assert ends(postgres_server)
    store = Store(postgres_url)
    for _ in range(2):
        store.lock()
        store.unlock()
    assert ends(postgres_server)
    store.close()


def test_ledgers_of_two_databases_do_not_hinder_each_other(log: Log, postgres_server: PostgresServer) -> None:
    other = postgres_server.new_database()
    found(other).close()
    postgres_server.give_back(other)


def test_a_reader_sees_one_moment(log: Log, postgres_url: str) -> None:
    reader = Store(postgres_url, read_only=True)
    count = sa.text("SELECT count(*) FROM entries")
    with reader.read() as connection:
        before = connection.scalar(count)
        log.append([statement(0)])
        assert connection.scalar(count) == before
    with reader.read() as connection:
        assert connection.scalar(count) == before + 1
    with pytest.raises(StoreError, match="takes no writes"), reader.read() as connection:
        connection.execute(sa.text("DELETE FROM entries"))
    reader.close()


def test_writers_without_the_lock_take_turns(log: Log, postgres_url: str) -> None:
    """Mirrors compare and set in one transaction, which must see all that the one before it wrote."""
    mirrors = [Store(postgres_url), Store(postgres_url)]
    begun, seen = threading.Event(), []

    def second() -> None:
        begun.wait()
        with mirrors[1].write() as transaction:
            seen.append(transaction.size())

    thread = threading.Thread(target=second)
    thread.start()
    log.close()
    with mirrors[0].write() as transaction:
        size = transaction.size()
        begun.set()
        thread.join(0.3)
        transaction.put_entries([(size, bytes(32), b"raw")], [((0, size), bytes(32))])
    thread.join()
    assert seen == [size + 1]
    for mirror in mirrors:
        mirror.close()


def test_a_members_mirror_can_live_there(postgres_url: str, postgres_server: PostgresServer) -> None:
    made = Consortium(location=postgres_url)
    place = postgres_server.new_database()
    witness = made.witness("firm-0", place)
    assert made.cosign()
    made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash())])
    witness.rest()
    witness.wake()
    assert made.cosign()
    assert (witness.size, witness.root) == (made.log.size, made.log.root)
    witness.close()
    made.log.close()
    postgres_server.give_back(place)


def test_a_server_that_promises_no_durability_is_refused(
    log: Log, postgres_url: str, postgres_server: PostgresServer
) -> None:
    log.close()
    postgres_server.execute("ALTER SYSTEM SET fsync = off")
    postgres_server.execute("SELECT pg_reload_conf()")
    try:
        assert any(postgres_server.execute("SHOW fsync") == [("off",)] for _ in range(1000))  # soon
        with pytest.raises(StoreError, match="fsync off"):
            opened(postgres_url)
    finally:
        postgres_server.execute("ALTER SYSTEM RESET fsync")
        postgres_server.execute("SELECT pg_reload_conf()")


def test_commits_are_awaited_whatever_the_database_says(
    log: Log, postgres_url: str, postgres_server: PostgresServer
) -> None:
    [[name]] = postgres_server.execute("SELECT datname FROM pg_stat_activity JOIN pg_locks USING (pid) LIMIT 1")
    postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = Store(postgres_url)
    with store.read() as connection:
        assert connection.scalar(sa.text("SHOW synchronous_commit")) == "on"
    store.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://someone:secret@127.0.0.1:1/ledger", "check the URL and that the server runs"),
        ("postgresql://someone:secret@/ledger?host=/nowhere", "check the URL and that the server runs"),
        ("mysql://someone:secret@127.0.0.1/ledger", "give a path .SQLite. or a postgresql:// URL"),
        ("postgresql://someone:secret@127.0.0.1:port/ledger", "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_without_the_password(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as refused:
        opened(url)
    assert len(str(refused.value).splitlines()) == 1
    assert "secret" not in str(refused.value)


def test_an_empty_or_missing_database_is_no_ledger(postgres_url: str) -> None:
    with pytest.raises(StoreError, match="not a ledger"):
        opened(postgres_url)
    with pytest.raises(Unreachable, match="does not exist"):
        opened(postgres_url.replace("?", "-missing?"))


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'artesian\[postgresql\]'") as refused:
        Store(postgres_url)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [("23505", Conflict), ("25006", StoreError), ("42501", StoreError), ("57P01", Unreachable), ("53300", StoreError)],
)
def test_states_of_the_server(sqlstate: str, kind: type[LedgerError], postgres_url: str) -> None:
    store = Store(postgres_url)
    with pytest.raises(kind) as raised, store.read() as connection:
        connection.execute(sa.text(f"DO $$ BEGIN RAISE 'no' USING ERRCODE = '{sqlstate}'; END $$"))
    assert type(raised.value) is kind
    store.close()


def test_the_names_of_the_default_driver() -> None:
    assert postgresql.is_url("postgresql://h/d")
    assert not postgresql.is_url("ledgers/postgresql.db")
    assert postgresql.public_name("postgresql://u:p@h/d") == "postgresql://u:***@h/d"
