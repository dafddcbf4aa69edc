"""The sequencer: idempotent, all or nothing, durable, alone, and honest about its own files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from consortium_simulator import CID, ORIGIN, Consortium, key_of

from ledger.checkpoint import CheckpointError, NotFinal, cosign, witness_name
from ledger.errors import Damaged, LedgerError, Locked, StoreError
from ledger.log import Log, NoSuchEntry
from ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.rules import Refused
from ledger.schema import ENTRIES, TILES
from ledger.statement import decode_statement
from ledger.tiles import RightEdge


def attest(made: Consortium, member: str = "firm-0") -> bytes:
    return made.statement("attest", member, subject="s", artifact=made.hash())


def reopen(made: Consortium, location: Path | str, **options: int) -> Log:
    made.log.close()
    made.log = Log.open(location, made.keys["coordinator"], made.clock, **options)
    return made.log


@contextmanager
def edited(location: Path | str) -> Iterator[sa.Connection]:
    """A connection to the closed ledger's database, past everything that guards it."""
    url = f"sqlite:///{location}" if isinstance(location, Path) else location.replace(":", "+psycopg:", 1)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_resubmission_finds_its_place(location: Path | str) -> None:
    made = Consortium(location=location)
    one, two, three = attest(made), attest(made), attest(made)
    [first, second] = made.log.append([one, two])
    assert made.log.append([two, three, one, three]) == [second, second + 1, first, second + 1]
    assert made.log.size == second + 2
    assert made.log.index_of(decode_statement(two).digest) == second
    assert made.log.index_of(bytes(32)) is None


def test_a_batch_is_all_or_nothing(location: Path | str) -> None:
    made = Consortium(location=location)
    size, root = made.log.size, made.log.root
    bad = made.sign(made.payload("attest", subject="s", artifact=made.hash()), "firm-1", key=key_of("mallory"))
    with pytest.raises(Refused, match=f"entry {size + 1} refused"):
        made.log.append([attest(made), bad])
    assert (made.log.size, made.log.root) == (size, root)
    assert made.log.append([attest(made)]) == [size]


def test_proofs(location: Path | str) -> None:
    made = Consortium(firms=5, location=location)
    sizes, roots = [made.log.size], [made.log.root]
    for _ in range(5):
        made.log.append([attest(made) for _ in range(3)])
        sizes.append(made.log.size)
        roots.append(made.log.root)
    for old, old_root in zip(sizes, roots, strict=True):
        verify_consistency(old, made.log.size, made.log.consistency(old, made.log.size), old_root, made.log.root)
    for index, raw in enumerate(made.log.entries(0, made.log.size)):
        path = made.log.inclusion(index, made.log.size)
        verify_inclusion(leaf_hash(raw), index, made.log.size, path, made.log.root)
    assert made.log.consistency(0, 3) == []


def test_what_is_not_there() -> None:
    log = Consortium().log
    for ask in (
        lambda: log.entries(0, log.size + 1),
        lambda: log.inclusion(log.size, log.size),
        lambda: log.consistency(3, log.size + 1),
        lambda: log.receipt(log.size),
        lambda: log.add_cosignatures([], 3),
    ):
        with pytest.raises(NoSuchEntry):
            ask()


def test_checkpoints_and_finality(location: Path | str) -> None:
    made = Consortium(location=location)
    with pytest.raises(CheckpointError, match="no members"):
        Consortium(founded=False, seed="x").log.checkpoint()
    assert made.log.checkpoint() == made.log.checkpoint()
    assert made.log.final() is None
    assert not made.cosign(["firm-0", "firm-1", "firm-2"])
    with pytest.raises(NotFinal):
        made.log.receipt(0)
    assert made.cosign(["firm-3"])
    final = made.log.final()
    assert final is not None
    assert made.log.final_size == made.log.size
    made.log.append([attest(made)])
    assert not made.cosign(["firm-0"])
    assert made.log.final() == final


def test_an_older_checkpoint_can_become_final_later(location: Path | str) -> None:
    made = Consortium(location=location)
    size = made.log.size
    body = "\n".join(made.log.checkpoint().split("\n")[:3]) + "\n"
    made.log.append([attest(made)])
    made.log.checkpoint()
    lines = [
        cosign(body, name=witness_name(ORIGIN, name), key=made.keys[name], timestamp_s=int(made.clock()))
        for name in made.members
    ]
    assert made.log.add_cosignatures(lines, size)
    assert made.log.final_size == size


def test_bad_cosignatures_are_not_kept(location: Path | str) -> None:
    made = Consortium(location=location)
    body = "\n".join(made.log.checkpoint().split("\n")[:3]) + "\n"
    now_s = int(made.clock())

    def line(name: str, key: str, timestamp_s: int) -> str:
        return cosign(body, name=witness_name(ORIGIN, name), key=made.keys[key], timestamp_s=timestamp_s)

    good = line("firm-0", "firm-0", now_s)
    for bad in (
        line("firm-1", "firm-2", now_s),
        line("coordinator", "coordinator", now_s),
        line("stranger", "firm-1", now_s),
        line("firm-1", "firm-1", now_s + 86_400),
    ):
        with pytest.raises(CheckpointError):
            made.log.add_cosignatures([good, bad])
    assert not made.log.add_cosignatures([good] * 4)


def test_finality_follows_the_membership_of_its_moment() -> None:
    made = Consortium(firms=3)
    assert made.cosign(["firm-0", "firm-1", "firm-2"])
    assert len(made.log.policy.witnesses) == 4


def test_everything_survives_reopening(location: Path | str) -> None:
    made = Consortium(location=location)
    made.task()
    made.train()
    assert made.cosign()
    made.log.append([attest(made)])
    before = (made.log.state, made.log.root, made.log.final(), made.log.final_size)
    log = reopen(made, location)
    assert (log.state, log.root, log.final(), log.final_size) == before
    assert (log.origin, log.cid) == (ORIGIN, CID)
    assert log.append([attest(made)]) == [log.size - 1]


def test_one_sequencer_at_a_time(location: Path | str) -> None:
    made = Consortium(location=location)
    with pytest.raises(StoreError, match="another sequencer"):
        Log.open(location, made.keys["coordinator"])
    with pytest.raises(StoreError, match="another sequencer"):
        Log.create(location, ORIGIN, made.keys["coordinator"])
    made.log.close()
    Log.open(location, made.keys["coordinator"]).close()


def test_a_second_sequencer_is_told_which_database_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it was started: a name relative to its own folder says little to who reads it in a journal."""
    made = Consortium(location=path)
    monkeypatch.chdir(path.parent)
    with pytest.raises(Locked) as refused:
        Log.open(path.name, made.keys["coordinator"])
    assert str(refused.value).startswith(f"{path}: ")


def test_a_lost_lock_still_cannot_fork_the_file(path: Path) -> None:
    """Two sequencers on one file (the lock file was deleted): the second to write is refused."""
    made = Consortium(location=path)
    path.with_name("ledger.db.lock").unlink()
    other = Log.open(path, made.keys["coordinator"], made.clock)
    made.log.append([attest(made)])
    with pytest.raises(StoreError, match="another process"):
        other.append([attest(made, "firm-1")])


def test_create_and_open_say_what_is_wrong(path: Path, tmp_path: Path) -> None:
    made = Consortium(location=path)
    made.log.close()
    with pytest.raises(StoreError, match="already there"):
        Log.create(path, ORIGIN, made.keys["coordinator"])
    with pytest.raises(CheckpointError, match="not the key"):
        Log.open(path, key_of("mallory"))
    (tmp_path / "text.db").write_text("this is no database " * 100)
    with pytest.raises(LedgerError, match=r"text\.db"):
        Log.open(tmp_path / "text.db", made.keys["coordinator"])
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="not a ledger"):
        Log.open(tmp_path / "empty.db", made.keys["coordinator"])


def test_opening_what_is_not_there_leaves_nothing_behind(path: Path) -> None:
    for missing in (path, path.parent / "no directory" / "ledger.db"):
        with pytest.raises(StoreError, match="no ledger here") as refused:
            Log.open(missing, key_of("coordinator"))
        assert refused.value.exit_code == 2
        assert len(str(refused.value).splitlines()) == 1
        assert list(path.parent.iterdir()) == []


def test_an_old_copy_is_refused(path: Path) -> None:
    made = Consortium(location=path)
    made.log.close()
    old = path.read_bytes()
    made.log = Log.open(path, made.keys["coordinator"], made.clock)
    made.log.append([attest(made)])
    made.cosign()
    seen = made.witness("firm-0").size
    made.log.close()
    path.write_bytes(old)
    with pytest.raises(Damaged, match="newest copy"):
        Log.open(path, made.keys["coordinator"], at_least=seen)


def test_a_flipped_byte_is_found_and_named(location: Path | str) -> None:
    made = Consortium(location=location)
    made.log.append([attest(made) for _ in range(20)])
    made.log.checkpoint()
    made.log.close()
    with edited(location) as database:
        raw = bytearray(database.scalar(sa.text("SELECT raw FROM entries WHERE idx = 13")))
        raw[200] ^= 1
        database.execute(sa.text("UPDATE entries SET raw = :raw WHERE idx = 13"), {"raw": bytes(raw)})
    with pytest.raises(Damaged, match="entry 13 is not what was written"):
        Log.open(location, made.keys["coordinator"])


def rewrite(location: Path | str, entries: list[bytes]) -> None:
    """Put other entries into a stored log, with their digests and every tile above them."""
    edge = RightEdge()
    with edited(location) as database:
        for index, raw in enumerate(entries):
            digest = decode_statement(raw).digest
            entry = sa.update(ENTRIES).where(ENTRIES.c.idx == index)
            database.execute(entry.values(raw=raw, digest=digest))
            edge, full = edge.append(leaf_hash(raw))
            for (level, place), hashes in full:
                tile = sa.update(TILES).where(TILES.c.level == level, TILES.c.idx == place)
                database.execute(tile.values(hashes=hashes))


def test_an_entry_rewritten_with_all_its_hashes_is_named(location: Path | str) -> None:
    """Someone who rewrites an entry and the whole tree above it still lacks the issuer's signature."""
    made = Consortium(location=location)
    made.log.append([attest(made) for _ in range(20)])
    made.log.checkpoint()
    entries = made.log.entries(0, made.log.size)
    made.log.close()
    forged = bytearray(entries[13])
    artifact = decode_statement(entries[13]).payload["artifact"]
    forged[entries[13].index(artifact)] ^= 1
    entries[13] = bytes(forged)
    rewrite(location, entries)
    with pytest.raises(Damaged, match=r"entry 13 cannot have been accepted.*signature"):
        Log.open(location, made.keys["coordinator"])


def test_a_history_rewritten_with_the_issuers_help_is_found(location: Path | str) -> None:
    made = Consortium(location=location)
    made.log.append([attest(made) for _ in range(20)])
    made.log.checkpoint()
    entries = made.log.entries(0, made.log.size)
    made.log.close()
    entries[13] = attest(made)
    rewrite(location, entries)
    with pytest.raises(Damaged, match="do not have the root of their checkpoint"):
        Log.open(location, made.keys["coordinator"])


def test_missing_entries_are_named(location: Path | str) -> None:
    made = Consortium(location=location)
    made.log.append([attest(made) for _ in range(5)])
    made.log.checkpoint()
    last = made.log.size - 1
    made.log.close()
    with edited(location) as database:
        database.execute(sa.text("DELETE FROM entries WHERE idx = :last"), {"last": last})
    with pytest.raises(Damaged, match=f"entry {last}"):
        Log.open(location, made.keys["coordinator"])
    with edited(location) as database:
        database.execute(sa.text("DELETE FROM entries WHERE idx = 4"))
    with pytest.raises(Damaged, match="entry 4"):
        Log.open(location, made.keys["coordinator"])


def test_a_full_disk_changes_nothing(path: Path) -> None:
    made = Consortium(location=path)
    log = made.log
    before = (log.size, log.root)
    engine = log._store._engine
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="free space"):
        log.append([attest(made) for _ in range(200)])
    assert (log.size, log.root) == before
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert log.append([attest(made)]) == [before[0]]
