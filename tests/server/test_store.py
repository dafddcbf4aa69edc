"""The coordinator's own tables, on SQLite and on PostgreSQL: durable, shared, migrated forward and never backward."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store import PREFIX, Part, StateDamaged, StateOfLaterRelease, StateStore, StateUnusable

ROUNDS = sa.Table(
    f"{PREFIX}test_rounds",
    sa.MetaData(),
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("step", sa.Text, nullable=False),
)
FIRST = Part("test", ROUNDS.metadata)

Places = Callable[[], Path | str]


def put(store: StateStore, number: int, step: str = "opened", part: Part = FIRST) -> None:
    with store.write(part) as connection:
        connection.execute(sa.insert(ROUNDS).values(id=bytes([number]), step=step))


def put_all(store: StateStore, *numbers: int) -> None:
    with store.write(FIRST) as connection:
        for number in numbers:
            connection.execute(sa.insert(ROUNDS).values(id=bytes([number]), step="opened"))


def steps(store: StateStore, part: Part = FIRST) -> list[str]:
    with store.read(part) as connection:
        return list(connection.scalars(sa.select(ROUNDS.c.step).order_by(ROUNDS.c.id)))


def later(name: str, *, fails: bool = False) -> Part:
    """The second version of the tables, with one column more."""

    def add_column(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"ALTER TABLE {ROUNDS.name} ADD COLUMN deadline_s BIGINT NOT NULL DEFAULT 60")
        if fails:
            raise RuntimeError("the power fails here")

    metadata = sa.MetaData()
    ROUNDS.to_metadata(metadata).append_column(sa.Column("deadline_s", sa.BigInteger, nullable=False))
    return Part(name, metadata, 2, {2: add_column})


def test_what_a_transaction_wrote_is_there_for_the_next_process(new_location: Places) -> None:
    place = new_location()
    with StateStore(place) as store:
        put(store, 1)
        with pytest.raises(StateUnusable):
            put_all(store, 2, 2)
    with StateStore(place) as again:
        assert steps(again) == ["opened"]


def test_writers_take_turns(new_location: Places) -> None:
    place = new_location()
    counter = sa.Table(f"{PREFIX}test_counter", sa.MetaData(), sa.Column("value", sa.Integer, nullable=False))
    part = Part("counter", counter.metadata)
    with StateStore(place) as store, store.write(part) as connection:
        connection.execute(sa.insert(counter).values(value=0))

    def count() -> None:
        with StateStore(place) as store:
            for _ in range(10):
                with store.write(part) as connection:
                    value = connection.scalar(sa.select(counter.c.value))
                    connection.execute(sa.update(counter).values(value=value + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with StateStore(place) as store, store.read(part) as connection:
        assert connection.scalar(sa.select(counter.c.value)) == 40


def test_tables_of_an_earlier_release_are_changed_once_and_keep_their_rows(new_location: Places) -> None:
    place = new_location()
    with StateStore(place) as store:
        put(store, 1)
    for _ in range(2):
        with StateStore(place) as store, store.read(later("test")) as connection:
            assert connection.exec_driver_sql(f"SELECT step, deadline_s FROM {ROUNDS.name}").all() == [("opened", 60)]


def test_a_migration_that_was_interrupted_has_changed_nothing(new_location: Places) -> None:
    place = new_location()
    with StateStore(place) as store:
        put(store, 1)
    with StateStore(place) as store, pytest.raises(RuntimeError), store.read(later("test", fails=True)):
        pass
    with StateStore(place) as store:
        assert steps(store) == ["opened"]
    with StateStore(place) as store:
        put(store, 2, part=later("test"))
        assert steps(store, later("test")) == ["opened", "opened"]


def test_tables_of_a_later_release_are_left_alone(new_location: Places) -> None:
    place = new_location()
    with StateStore(place) as store:
        put(store, 1)
    with StateStore(place) as store:
        assert steps(store, later("test")) == ["opened"]
    message = "a later release has made version 2 of the tables of 'test', and this one reads 1"
    with StateStore(place) as store, pytest.raises(StateOfLaterRelease, match=message):
        put(store, 2)


def test_parts_have_versions_of_their_own(new_location: Places) -> None:
    other = sa.Table(f"{PREFIX}test_other", sa.MetaData(), sa.Column("value", sa.Integer))
    with StateStore(new_location()) as store:
        put(store, 1)
        with store.write(Part("other", other.metadata)) as connection:
            connection.execute(sa.insert(other).values(value=7))
        assert steps(store) == ["opened"]


def test_a_home_has_its_own_file_unless_its_ledger_is_on_a_server(tmp_path: Path) -> None:
    with StateStore.of_home(tmp_path) as store:
        put(store, 1)
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0
    (tmp_path / "ledger.toml").write_text('database = "postgresql://artesian:geheim@localhost/artesian"\n')
    pytest.importorskip("psycopg")
    with StateStore.of_home(tmp_path) as store:
        assert store.name == "postgresql://artesian:***@localhost/artesian"


def test_a_file_that_is_no_database_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    with StateStore.of_home(tmp_path) as store, pytest.raises(StateDamaged, match="restore the coordinator's home"):
        put(store, 1)
    with StateStore(tmp_path / "missing" / "state.db") as store, pytest.raises(StateUnusable, match="unable to open"):
        put(store, 1)


@pytest.mark.postgresql
def test_it_lives_beside_a_ledger_in_one_database(postgres_url: str) -> None:
    from load_world import found, statement

    with found(postgres_url) as log, StateStore(postgres_url) as store:
        put(store, 1)
        with store.write(FIRST) as connection:  # a transaction here does not hold up the ledger's
            connection.execute(sa.insert(ROUNDS).values(id=b"\2", step="collected"))
            log.append([statement(0)])
        assert steps(store) == ["opened", "collected"]


@pytest.mark.parametrize(
    ("more", "idle_s"), [("", 10), ("?sslmode=verify-full&keepalives_idle=60", "60")], ids=["ours", "the-operators"]
)
def test_a_connection_to_a_server_notices_when_it_is_gone(
    more: str, idle_s: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that forgets a silent connection tells neither side; what the URL says counts before ours."""
    pytest.importorskip("psycopg")
    asked: list[dict[str, object]] = []
    create = sa.create_engine

    def watched(*args: object, **words: object) -> sa.Engine:
        engine = create(*args, **words)  # type: ignore[call-overload]
        sa.event.listen(engine, "do_connect", connect)
        return engine  # type: ignore[no-any-return]

    def connect(_: object, __: object, ___: object, words: dict[str, object]) -> None:
        asked.append(words)
        raise ConnectionError("nobody is asked here")

    monkeypatch.setattr(sa, "create_engine", watched)
    with StateStore(f"postgresql://coordinator@db.example/state{more}") as store, pytest.raises(ConnectionError):
        put(store, 1)
    (words,) = asked
    assert words["host"] == "db.example"
    assert words["keepalives_idle"] == idle_s
    assert (words["keepalives_interval"], words["keepalives_count"]) == (5, 3)
    assert (words["tcp_user_timeout"], words["connect_timeout"]) == (30_000, 10)
    assert words.get("sslmode") == ("verify-full" if more else None)
