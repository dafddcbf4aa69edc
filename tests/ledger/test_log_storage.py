"""A log and its database over time: full disks, a second writer, copies, times, bodies, new keys of the log."""

import sqlite3
from pathlib import Path

import pytest
from consortium_simulator import Consortium, key_of

from ledger.checkpoint import CheckpointError, SignedCheckpoint
from ledger.errors import Conflict, Damaged, NoSuchEntry, StoreError, StoreFull
from ledger.kept_bodies import BodyState, Kept
from ledger.log import Log
from ledger.receipt import verify_receipt
from ledger.rules import COORDINATOR, LOG, Refused, commitment
from ledger.service.keeping import erase
from ledger.statement import decode_statement

KEY = key_of("coordinator")


def attest(made: Consortium, count: int = 1) -> list[bytes]:
    return [made.statement("attest", "firm-0", subject="s", artifact=made.hash()) for _ in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def limit_pages(log: Log, pages: int | None) -> None:
    with log._store._engine.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages or used}")


def test_a_log_on_a_full_disk_goes_on_when_there_is_room(path: Path) -> None:
    made = Consortium(location=path)
    before = (made.log.size, made.log.root, made.log.state)
    limit_pages(made.log, None)
    many = attest(made, 200)
    for _ in range(2):
        with pytest.raises(StoreFull, match="free space") as refused:
            made.log.append(many)
        assert len(str(refused.value).splitlines()) == 1
        assert (made.log.size, made.log.root, made.log.state) == before
    limit_pages(made.log, 1_000_000)
    assert made.log.append(many) == list(range(before[0], before[0] + 200))
    assert made.cosign()
    whole = (made.log.root, made.log.final())
    made.log.close()
    with Log.open(path, KEY, made.clock) as log:
        assert (log.root, log.final()) == whole


def test_a_full_disk_at_a_snapshot_does_not_undo_the_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Consortium(location=path)
    monkeypatch.setattr("ledger.log.SNAPSHOT_EVERY", 1)
    monkeypatch.setattr("ledger.log.put_snapshot", lambda *_: (_ for _ in ()).throw(StoreFull("full")))
    [place] = made.log.append(attest(made))
    assert made.log.size == place + 1


def test_a_log_that_was_overtaken_says_so_and_stays_out(path: Path) -> None:
    made = Consortium(location=path)
    path.with_name("ledger.db.lock").unlink()  # the lock is lost: someone has deleted its file
    with Log.open(path, KEY, made.clock) as other:
        mine, theirs = attest(made, 2)
        other.append([theirs])
        for refused in (lambda: made.log.append([mine]), lambda: made.log.append([mine]), made.log.checkpoint):
            with pytest.raises(Conflict, match="open"):
                refused()
        assert made.log.index_of(decode_statement(mine).digest) is None
        [place] = other.append([mine])
        whole = other.root
    made.log.close()
    with Log.open(path, KEY, made.clock) as log:
        assert (log.size, log.root) == (place + 1, whole)


def test_a_log_that_was_overtaken_does_not_answer_for_the_other(path: Path) -> None:
    made = Consortium(location=path)
    path.with_name("ledger.db.lock").unlink()
    [raw] = attest(made)
    with Log.open(path, KEY, made.clock) as other:
        other.append([raw])
        with pytest.raises(Conflict, match="holds more"):
            made.log.append([raw])


def test_after_a_failure_of_which_the_outcome_is_unknown_the_log_looks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Consortium(location=path)
    write = made.log._store.write

    def lost() -> None:
        raise StoreError("the connection was lost")

    monkeypatch.setattr(made.log._store, "write", lost)
    [raw, other] = attest(made, 2)
    with pytest.raises(StoreError, match="lost"):
        made.log.append([raw])
    monkeypatch.setattr(made.log._store, "write", write)
    [place] = made.log.append([raw])  # nothing had been written

    class Committed:
        def __enter__(self) -> object:
            self.block = write()
            return self.block.__enter__()

        def __exit__(self, *error: object) -> None:
            self.block.__exit__(None, None, None)
            raise StoreError("the connection was lost")

    monkeypatch.setattr(made.log._store, "write", Committed)
    with pytest.raises(StoreError, match="lost"):
        made.log.append([other])
    monkeypatch.setattr(made.log._store, "write", write)
    for refused in (made.log.checkpoint, lambda: made.log.append([other])):
        with pytest.raises(Conflict, match="holds more"):
            refused()
    made.log.close()
    with Log.open(path, KEY, made.clock) as log:
        assert log.append([other]) == [place + 1]


def test_a_copy_is_taken_while_the_log_runs_and_opens_as_it_was(path: Path, tmp_path: Path) -> None:
    made = Consortium(location=path)
    made.log.append(attest(made, 300))
    made.cosign()
    then = (made.log.size, made.log.root, made.log.final())
    made.log.backup(tmp_path / "copy.db")
    made.log.append(attest(made))
    with pytest.raises(StoreError, match="already there"):
        made.log.backup(tmp_path / "copy.db")
    with pytest.raises(StoreError, match="cannot write"):
        made.log.backup(tmp_path / "no directory" / "copy.db")
    with Log.open(tmp_path / "copy.db", KEY, made.clock) as log:
        assert (log.size, log.root, log.final()) == then
    with pytest.raises(Damaged, match="newest copy"):
        Log.open(tmp_path / "copy.db", KEY, made.clock, at_least=made.log.size)
    assert sorted(file.name for file in tmp_path.iterdir() if "unfinished" in file.name) == []


@pytest.mark.postgresql
def test_a_copy_of_a_server_is_taken_by_its_own_program(postgres_url: str, tmp_path: Path) -> None:
    made = Consortium(location=postgres_url)
    with pytest.raises(StoreError, match="back it up with: pg_dump --format=custom --file="):
        made.log.backup(tmp_path / "copy.dump")
    made.log.close()


def test_when_entries_were_taken(location: Path | str) -> None:
    made = Consortium(location=location)
    made.clock.now_s += 60.5
    [place] = made.log.append(attest(made))
    assert made.log.accepted_s(place) - made.log.accepted_s(0) == 60
    assert made.log.accepted([place, 0]) == {0: 1_800_000_000, place: 1_800_000_060}
    with pytest.raises(NoSuchEntry):
        made.log.accepted_s(place + 1)
    made.log.close()


def test_bodies_come_and_go_and_the_log_stays(location: Path | str) -> None:
    made = Consortium(location=location)
    [raw] = attest(made)
    made.log.append([raw])
    digest = decode_statement(raw).digest
    assert made.log.body(digest) is None
    made.log.put_body(digest, b"sealed", "firm-0")
    assert (made.log.body_bytes("firm-0"), made.log.body_bytes("firm-1")) == (6, 0)
    made.log.put_body(digest, b"another", "firm-0")
    made.log.put_body(made.hash(), b"others", "firm-1")
    assert (made.log.body_bytes("firm-0"), made.log.body_bytes("firm-1")) == (6, 6)
    assert made.log.body(digest) == b"sealed"
    made.log.delete_body(digest, "coordinator")
    made.log.delete_body(digest, "firm-0")
    assert made.log.body(digest) is None
    assert (made.log.body_bytes("firm-0"), made.log.body_bytes("firm-1")) == (0, 6)
    assert not made.log.put_body(digest, b"sealed", "firm-0")
    never, others = made.hash(), [made.hash() for _ in range(500)]
    made.log.delete_body(never, "firm-0")  # none was there: none is taken
    assert not made.log.put_body(never, b"sealed", "firm-0")
    made.cosign()
    made.log.close()
    with Log.open(location, KEY, made.clock) as log:
        assert log.body(digest) is None
        known = {digest: Kept(0, "firm-0"), never: Kept(0, "firm-0")}
        assert log.kept([*others, digest, never]) == known
        assert {one.state for one in known.values()} == {BodyState.ERASED}
        verify_receipt(log.receipt(log.size - 1), raw, log.policy)


def test_a_deleted_body_is_gone_from_the_files(path: Path) -> None:
    made = Consortium(location=path)
    digest, envelope = made.hash(), made.entropy(20_000)
    made.log.put_body(digest, envelope)
    made.log.append(attest(made))

    def kept() -> bool:
        return any(envelope[10_000:10_100] in file.read_bytes() for file in path.parent.iterdir())

    assert kept()
    made.log.delete_body(digest)
    assert not kept()
    made.log.close()


def test_a_body_that_a_reader_kept_in_the_files_is_gone_when_it_is_erased_again(path: Path) -> None:
    made = Consortium(location=path)
    envelope, content = made.entropy(20_000), {"acl": "parties", "body_sha256": made.hash()}
    [index] = made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash(), **content)])
    digest = decode_statement(made.log.entries(index, index + 1)[0]).digest
    made.log.put_body(digest, envelope, "firm-0")
    with sqlite3.connect(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchall()
        assert erase(made.log, digest, COORDINATOR) is BodyState.KEPT
    reader.close()

    def kept() -> bool:
        return any(envelope[10_000:10_100] in file.read_bytes() for file in path.parent.iterdir())

    assert kept()
    assert erase(made.log, digest, "firm-0") is BodyState.ERASED
    assert not kept()
    assert made.log.kept([digest]) == {digest: Kept(0, COORDINATOR)}
    made.log.close()


def test_damage_does_not_pass_for_an_erased_body(path: Path) -> None:
    made = Consortium(location=path)
    digest, other = made.hash(), made.hash()
    made.log.put_body(digest, made.entropy(2_000), "firm-0")
    made.log.put_body(other, made.entropy(2_000), "firm-0")
    made.log.delete_body(other, "firm-0")
    assert made.log.kept([digest, other]) == {digest: Kept(2_000, "firm-0"), other: Kept(0, "firm-0")}
    with sqlite3.connect(path) as damaging:
        damaging.execute("UPDATE bodies SET envelope = x'' WHERE digest = ?", (digest,))
    damaging.close()
    with pytest.raises(Damaged, match="was erased is not what was written"):
        made.log.kept([digest])
    made.log.close()


def test_the_log_goes_over_to_its_next_key(path: Path) -> None:
    following = key_of("the log's next key")
    made = Consortium(location=path, next_log=commitment(following.public))
    made.cosign()
    parent = made.log.state.membership_digest
    made.append("rotate", member=LOG, key=following.public.raw, next_log=None, approvals=[], parent=parent)
    with pytest.raises(CheckpointError, match="not the key"):
        made.log.checkpoint()
    with pytest.raises(CheckpointError, match="not the key"):
        made.log.use_key(key_of("mallory"))
    made.log.use_key(following)
    note = SignedCheckpoint.parse(made.log.checkpoint())
    note.verify_log(made.log.vkey)
    assert made.log.vkey.key == following.public
    assert made.cosign()
    whole = (made.log.root, made.log.final())
    made.log.close()
    with pytest.raises(CheckpointError, match="not the key"):
        Log.open(path, KEY, made.clock)
    with Log.open(path, following, made.clock) as log:
        assert (log.root, log.final()) == whole


def test_the_first_entry_names_the_key_of_the_log_that_takes_it() -> None:
    made = Consortium(founded=False)
    founding = made.genesis(log=key_of("another").public)
    with pytest.raises(CheckpointError, match="not the key"):
        made.log.append(founding)
    assert made.log.size == 0


def test_a_handover_names_the_root_of_what_it_continues() -> None:
    made = Consortium()
    fields = {"log": key_of("new").public.raw, "next_log": None, "size": made.log.size}
    parent = made.log.state.membership_digest
    wrong = made.approved(made.members, "handover", parent=parent, root=bytes(32), **fields)
    with pytest.raises(Refused, match="root"):
        made.log.append([wrong])
    right = made.approved(made.members, "handover", parent=parent, root=made.log.root, **fields)
    assert made.log.append([right]) == [made.log.size - 1]
