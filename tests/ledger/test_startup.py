"""Starting again: from the snapshot, on recomputed tiles, with the rest of the audit in slices; never on damage."""

import itertools
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from consortium_simulator import Consortium, key_of

import ledger.entry_audit
import ledger.log
import ledger.replay
import ledger.snapshot
from ledger.checkpoint import CheckpointError
from ledger.errors import Damaged
from ledger.log import Log
from ledger.release import OtherSchema
from ledger.rules import LOG, commitment
from ledger.schema import row_crc32
from ledger.statement import decode_statement

SIZE = 700
KEY = key_of("coordinator")


def attest(made: Consortium, count: int = 1) -> list[int]:
    return made.log.append(
        [made.statement("attest", "firm-0", subject="s", artifact=made.hash()) for _ in range(count)]
    )


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of 700 entries: two full tiles, checkpoints that are final and some that are not."""
    path = tmp_path_factory.mktemp("startup") / "ledger.db"
    made = Consortium(location=path)
    assert made.cosign()
    attest(made, 300)
    assert made.cosign()
    attest(made, 300)
    made.cosign(["firm-0"])
    attest(made, SIZE - made.log.size)
    made.cosign(["firm-1", "firm-2"])
    made.log.close()
    return path


@pytest.fixture
def path(closed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(closed, tmp_path / "ledger.db"))


def change(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path) as database:
        database.create_function("row_crc32", -1, row_crc32)
        assert database.execute(statement, values).rowcount == 1
    database.close()


def reading(log: Log) -> tuple[object, ...]:
    return (log.size, log.root, log.state, log.final(), log.final_size, log.checkpoint(), log.policy)


def test_a_start_replays_only_what_the_snapshot_does_not_hold(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def counting(at: ledger.replay.Replayed, statement: object, *, verify: bool) -> object:
        taken.append(at.state.size)
        return step(at, statement, verify=verify)  # type: ignore[arg-type]

    step = ledger.replay.step
    monkeypatch.setattr(ledger.replay, "step", counting)
    with Log.open(path, KEY) as log:
        assert taken == []
        whole = reading(log)
    change(path, "DELETE FROM snapshots")
    with Log.open(path, KEY) as log:
        assert taken == list(range(SIZE))
        assert reading(log) == whole


def test_a_crash_between_snapshots_loses_nothing(path: Path) -> None:
    made = Consortium(founded=False)
    made.log = Log.open(path, KEY, made.clock)
    made.seed = "again"
    attest(made, 90)
    made.cosign()
    waiting = made.log.size
    attest(made, 7)
    made.log.checkpoint()
    whole = reading(made.log)
    made.log._store.close()  # as a crash leaves it: without a new snapshot
    with Log.open(path, KEY, made.clock) as log:
        assert reading(log) == whole
        assert (log.final_size, log.size) == (waiting, waiting + 7)


def test_a_release_whose_state_has_other_fields_replays_the_ledger_from_its_first_entry(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot by a release before a field came is passed over, not misread; so is a newer one's by an older."""
    read: list[int] = []
    honest = ledger.replay.apply

    def counting(*args: Any) -> Any:
        read.append(args[2])
        return honest(*args)

    monkeypatch.setattr(ledger.replay, "apply", counting)
    with Log.open(path, KEY) as log:
        expected, state = reading(log), log.state
    assert not read  # the state came from the snapshot
    monkeypatch.setattr(ledger.snapshot, "_shape", lambda: bytes(32))
    with Log.open(path, KEY) as log:
        assert (reading(log), log.state) == (expected, state)
    assert read == list(range(SIZE))


def test_snapshots_are_written_on_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.log, "SNAPSHOT_EVERY", 10)
    made = Consortium(founded=False)
    made.log = Log.open(path, KEY, made.clock)
    made.seed = "again"
    for _ in range(25):
        attest(made)
    assert [size for size, _, _ in made.log._store.snapshots()] == [SIZE + 20, SIZE + 10]
    made.log.close()


def test_a_checkpoint_that_waits_can_become_final_after_a_start(path: Path) -> None:
    made = Consortium(founded=False)
    made.log = Log.open(path, KEY, made.clock)
    assert made.log.final_size < SIZE
    assert made.cosign(["firm-0", "firm-3"])
    assert made.log.final_size == SIZE
    made.log.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0 AND idx = 1", "entry 256 is not what was written"),
        ("DELETE FROM tiles WHERE level = 0 AND idx = 1", "tile 0/1 is missing"),
        ("UPDATE tiles SET idx = 9 WHERE level = 0 AND idx = 1", "tile 0/1 is missing"),
        ("UPDATE entries SET raw = zeroblob(300) WHERE idx = 400", "entry 400 is not what was written"),
        ("UPDATE entries SET raw = zeroblob(300) WHERE idx = 699", "entry 699 is not what was written"),
        ("DELETE FROM entries WHERE idx = 400", "entry 400 is missing"),
        ("DELETE FROM entries WHERE idx = 699", "entry 699"),
        ("UPDATE entries SET digest = zeroblob(32) WHERE idx = 400", "entry 400"),
        ("UPDATE entries SET accepted_s = 1 WHERE idx = 400", "time of entry 400"),
        ("UPDATE checkpoints SET note = 'x' WHERE size = 306", "checkpoint 306"),
        ("UPDATE checkpoints SET note = 'x', crc32 = row_crc32(306, 'x') WHERE size = 306", "checkpoint 306"),
        ("DELETE FROM checkpoints WHERE size = 700", "checkpoint 700 is missing"),
        ("UPDATE checkpoints SET size = 699, crc32 = row_crc32(699, note) WHERE size = 700", "checkpoint"),
        ("UPDATE cosignatures SET line = 'x' WHERE size = 606", "cosignature"),
        ("UPDATE cosignatures SET line = 'x' WHERE size = 6 AND name LIKE '%firm-0'", "table cosignatures"),
        (
            "UPDATE checkpoints SET note = newer.note, crc32 = row_crc32(6, newer.note) "
            "FROM checkpoints AS newer WHERE newer.size = 306 AND checkpoints.size = 6",
            "checkpoint 6 does not fit",
        ),
        ("UPDATE meta SET value = 'x' WHERE key = 'cid'", "'cid' is not what was written"),
    ],
)
def test_damage_is_named_at_start(path: Path, statement: str, words: str) -> None:
    change(path, statement)
    with pytest.raises(Damaged, match=words):
        Log.open(path, KEY)


def test_final_cosignatures_that_are_gone_are_missed(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM cosignatures WHERE size = 306")
    with pytest.raises(Damaged, match="checkpoint 306 was final"):
        Log.open(path, KEY)


def test_an_entry_that_its_digest_does_not_find_is_named(path: Path) -> None:
    """The index of digests is broken: a resubmission would get a second place."""
    digest = sqlite3.connect(path).execute("SELECT digest FROM entries WHERE idx = 400").fetchone()[0]
    raw = bytearray(path.read_bytes())
    places = [place for place in range(len(raw)) if raw.startswith(digest, place)]
    assert len(places) == 2
    for place in places:
        damaged = bytearray(raw)
        damaged[place + 31] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match="entry 400"):
            Log.open(path, KEY)


def test_a_row_that_has_dropped_out_of_its_page_is_missed(path: Path) -> None:
    """No check sum is wrong then: SQLite's own accounting of the page is."""
    with sqlite3.connect(path) as database:
        [[page]] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'cosignatures'")
        [[size]] = database.execute("PRAGMA page_size")
        [[rows]] = database.execute("SELECT count(*) FROM cosignatures")
    database.close()
    raw = bytearray(path.read_bytes())
    header = (page - 1) * size
    assert int.from_bytes(raw[header + 3 : header + 5], "big") == rows  # cells on the page (SQLite's file format, 1.6)
    raw[header + 4] -= 1
    path.write_bytes(raw)
    with pytest.raises(Damaged, match="restore"):
        Log.open(path, KEY)


def test_an_entry_that_no_checkpoint_covers_cannot_be_exchanged(path: Path) -> None:
    """Not even with its issuer's help: the snapshot is over the root, and under the log's seal."""
    made = Consortium(founded=False)
    made.log, made.seed = Log.open(path, KEY, made.clock), "again"
    attest(made, 3)
    made.log.close()
    other = made.statement("attest", "firm-0", subject="s", artifact=made.hash())
    digest = decode_statement(other).digest
    change(path, "UPDATE entries SET raw = ?, digest = ? WHERE idx = ?", other, digest, SIZE + 1)
    with pytest.raises(Damaged, match="under which they were closed"):
        Log.open(path, KEY)


def sliced(path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Open as a ledger too large to be read whole; the time is up after each chunk of 256 entries."""
    monkeypatch.setattr(ledger.log, "AUDITED_WHOLE", 0)
    monkeypatch.setattr(ledger.entry_audit, "_CHUNK", 256)
    return Log.open(path, KEY, audit_budget_s=2, timer=itertools.count().__next__)


def test_the_audit_of_a_large_ledger_goes_on_in_slices_and_after_a_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = sliced(path, monkeypatch)
    assert log.audited == 256
    assert log.audit_some(2)
    assert log.audited == 512
    log.close()
    log = sliced(path, monkeypatch)
    assert (log.audited, log.audit_some(2)) == (SIZE, False)
    log.close()
    log = sliced(path, monkeypatch)
    assert log.audited == 256  # a finished audit begins anew with the next start
    log.close()


def test_damage_found_later_stops_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(path, "UPDATE entries SET raw = zeroblob(300) WHERE idx = 400")
    log = sliced(path, monkeypatch)
    made = Consortium(founded=False)
    made.log, made.seed = log, "again"
    attest(made)
    with pytest.raises(Damaged, match="entry 400 is not what was written"):
        log.audit_some(2)
    for write in (lambda: attest(made), log.checkpoint, lambda: log.add_cosignatures([])):
        with pytest.raises(Damaged, match="entry 400"):
            write()
    log.close()


def test_a_snapshot_by_another_hand_is_not_believed(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE snapshots SET content = substr(content, 1, 400) || x'00' || substr(content, 402)")
    with Log.open(path, KEY) as log:
        assert log.size == SIZE


def test_another_key_is_refused_before_anything_is_replayed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.log, "resume", lambda *_, **__: pytest.fail("replayed"))
    with pytest.raises(CheckpointError, match="not the key"):
        Log.open(path, key_of("mallory"))
    change(path, "UPDATE checkpoints SET note = 'x', crc32 = row_crc32(700, 'x') WHERE size = 700")
    monkeypatch.undo()
    with pytest.raises(Damaged, match="checkpoint 700"):  # it names nobody: the replay says so
        Log.open(path, key_of("mallory"))


def test_a_key_that_no_checkpoint_has_yet_opens_it(tmp_path: Path) -> None:
    """A crash between a rotation and its first checkpoint; and a founding that has no checkpoint at all."""
    path, following = tmp_path / "ledger.db", key_of("the log's next key")
    made = Consortium(location=path, next_log=commitment(following.public))
    made.log._store.close()
    with pytest.raises(CheckpointError, match="not the key"):
        Log.open(path, following)
    made.log = Log.open(path, KEY, made.clock)
    made.cosign()
    parent = made.log.state.membership_digest
    made.append("rotate", member=LOG, key=following.public.raw, next_log=None, approvals=[], parent=parent)
    made.log._store.close()
    for other in (KEY, key_of("mallory")):
        with pytest.raises(CheckpointError, match="not the key"):
            Log.open(path, other)
    with Log.open(path, following) as log:
        log.checkpoint()


def test_another_schema_is_refused_in_one_line(path: Path) -> None:
    change(path, "UPDATE meta SET value = '1', crc32 = row_crc32('schema', '1') WHERE key = 'schema'")
    with pytest.raises(OtherSchema, match=r"made it with schema '1'.*ledger export FOLDER") as refused:
        Log.open(path, KEY)
    assert len(str(refused.value).splitlines()) == 1


def test_a_resubmission_finds_its_place_after_a_start(path: Path) -> None:
    with Log.open(path, KEY) as log:
        raws = log.entries(0, SIZE)
        assert log.append(raws[5:]) == list(range(5, SIZE))
        assert log.index_of(decode_statement(raws[699]).digest) == 699
