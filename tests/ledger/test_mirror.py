"""A mirror believes nobody, follows the log's keys, loses nothing in a crash, and can be made from another one."""

import multiprocessing
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from consortium_simulator import CID, ORIGIN, Consortium, key_of
from crashing import Crash, crash_at

from ledger.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.errors import LedgerError, NoSuchEntry, StoreError
from ledger.finality import log_vkey
from ledger.founding import WrongFounding, founding_of
from ledger.mirror import Mirror
from ledger.rules import COORDINATOR, LOG, commitment
from ledger.source import Misbehaviour, WitnessRefusal
from ledger.transaction import Transaction
from ledger.witness import Witness

FIRST, SECOND = key_of("log 0"), key_of("log 1")


def attest(made: Consortium, count: int = 1) -> None:
    for _ in range(count):
        made.append("attest", "firm-0", subject="s", artifact=made.hash())


def mirror_of(made: Consortium, location: Any = None, **options: Any) -> Mirror:
    return Mirror(location, options.pop("log", made.log.vkey), CID, made.clock, **options)


@pytest.fixture
def made() -> Consortium:
    consortium = Consortium()
    attest(consortium, 2)
    consortium.cosign()
    return consortium


def test_a_mirror_needs_no_key_and_knows_what_is_final(made: Consortium) -> None:
    mirror = mirror_of(made)
    mirror.follow(made.log)
    assert (mirror.size, mirror.root, mirror.final_size) == (made.log.size, made.log.root, made.log.size)
    assert mirror.state == made.log.state
    assert mirror.final() == made.log.final()
    attest(made)
    mirror.follow(made.log)
    assert (mirror.size, mirror.final_size) == (made.log.size, made.log.size - 1)
    assert mirror.entries(0, 3) == made.log.entries(0, 3)
    assert mirror.inclusion(2, 7) == made.log.inclusion(2, 7)
    with pytest.raises(NoSuchEntry):
        mirror.entries(0, mirror.size + 1)


def test_a_mirror_is_a_source(made: Consortium) -> None:
    first, second = mirror_of(made), mirror_of(made)
    first.follow(made.log)
    second.follow(first)
    assert (second.root, second.final()) == (first.root, first.final())
    attest(made)
    second.follow(made.log)
    with pytest.raises(WitnessRefusal, match="rollback"):
        second.follow(first)
    assert second.evidence() == []
    with pytest.raises(NoSuchEntry, match="nothing is mirrored"):
        second.follow(mirror_of(made))


def test_cosignatures_that_come_later_make_it_final(made: Consortium) -> None:
    mirror = mirror_of(made)
    attest(made)
    mirror.follow(made.log)
    lines = [made.witness(name).follow(made.log) for name in made.members]
    with pytest.raises(LedgerError):
        mirror.add_cosignatures([lines[0][:-8] + "AAAA" + lines[0][-4:]])
    assert not mirror.add_cosignatures(lines[:3])
    assert mirror.add_cosignatures(lines[3:])
    assert mirror.final_size == made.log.size


def test_a_cosignature_from_the_future_does_not_count(made: Consortium) -> None:
    attest(made)
    made.clock.now_s += 86_400
    made.cosign()
    made.clock.now_s -= 86_400
    mirror = mirror_of(made)
    mirror.follow(made.log)
    assert mirror.final_size == 0


# founding


def fingerprint(made: Consortium) -> str:
    return founding_of(ORIGIN, made.log.entries(0, made.log.size)).fingerprint


def test_the_founding_is_compared_and_remembered(made: Consortium, tmp_path: Path) -> None:
    path, wrong = tmp_path / "mirror.db", "0000-" + fingerprint(made)[5:]
    with mirror_of(made, founding=wrong) as mirror, pytest.raises(WrongFounding):
        mirror.follow(made.log)
    with mirror_of(made, path, founding=fingerprint(made)) as mirror:
        mirror.follow(made.log)
        assert mirror.facts["founding"] == fingerprint(made)
    with mirror_of(made, path) as mirror:
        mirror.follow(made.log)
    with pytest.raises(LedgerError, match="was founded"):
        mirror_of(made, path, founding=wrong)


def test_a_founding_that_was_not_given_is_remembered_too(made: Consortium, tmp_path: Path) -> None:
    path = tmp_path / "mirror.db"
    with mirror_of(made, path) as mirror:
        mirror.follow(made.log)
        assert mirror.facts["founding"] == fingerprint(made)
    with pytest.raises(LedgerError, match="was founded"):
        mirror_of(made, path, founding="0000-" + fingerprint(made)[5:])


def test_one_other_founder_is_another_founding(made: Consortium) -> None:
    other = Consortium(firms=5)
    attest(other)
    witness = Witness(
        None, other.keys["firm-0"], "firm-0", other.log.vkey, CID, other.clock, founding=fingerprint(made)
    )
    with pytest.raises(WrongFounding):
        witness.follow(other.log)
    assert witness.size == 0


def test_a_log_founded_with_another_key_is_refused(made: Consortium) -> None:
    elsewhere = Consortium(log_key=FIRST)
    attest(elsewhere)
    mirror = mirror_of(made)
    with pytest.raises(WitnessRefusal, match="founded with another key"):
        mirror.follow(elsewhere.log)


# the log's key


def test_it_follows_the_log_to_its_next_key() -> None:
    made = Consortium(log_key=FIRST, next_log=commitment(SECOND.public))
    mirror, late = mirror_of(made), mirror_of(made)
    attest(made)
    mirror.follow(made.log)
    before = made.log.checkpoint()
    made.log.append([made.approved([], "rotate", member=LOG, key=SECOND.public.raw, next_log=None)])
    made.log.use_key(SECOND)
    mirror.follow(made.log)
    attest(made)
    mirror.follow(made.log)
    late.follow(made.log)
    assert (mirror.root, late.root) == (made.log.root, made.log.root)
    assert log_vkey(ORIGIN, mirror.state).key == SECOND.public
    # the old key signs nothing more
    size = made.log.size
    old = sign_checkpoint(Checkpoint(ORIGIN, size, made.log.root), FIRST)
    with pytest.raises(WitnessRefusal, match="not signed"):
        mirror.advance([], old, [])
    with pytest.raises(WitnessRefusal):
        mirror.advance([], before.replace(before.split("\n")[2], "A" * 43 + "="), [])
    assert mirror.evidence() == []


def test_a_checkpoint_by_the_old_key_over_the_rotation_is_refused() -> None:
    made = Consortium(log_key=FIRST, next_log=commitment(SECOND.public))
    mirror = mirror_of(made)
    mirror.follow(made.log)
    made.log.append([made.approved([], "rotate", member=LOG, key=SECOND.public.raw, next_log=None)])
    size = made.log.size
    note = sign_checkpoint(Checkpoint(ORIGIN, size, made.log.root), FIRST)
    with pytest.raises(WitnessRefusal, match="not signed"):
        mirror.advance(made.log.entries(mirror.size, size), note, made.log.consistency(mirror.size, size))
    assert mirror.size == size - 1


# coming late


def test_one_that_comes_late_learns_how_the_members_changed(made: Consortium) -> None:
    """The founders' quorum cannot be had any more: most of them have left."""
    live = mirror_of(made)
    for number in range(3):
        name = f"firm-{5 + number}"
        made.keys[name] = key_of(name)
        fields = {"member": name, "kind": "firm", "key": made.keys[name].public.raw, "name": name}
        made.log.append([made.approved(made.members, "enrol", **fields)])
        made.members.append(name)
        assert made.cosign()
        live.follow(made.log)
    for name in list(made.members[:3]):
        made.log.append([made.approved(made.members, "suspend", member=name, reason="left")])
        made.members.remove(name)
        assert made.cosign()
        live.follow(made.log)
    assert live.final_size == made.log.size
    late = mirror_of(made)
    late.follow(live)
    assert late.size == live.size
    rebuilt = mirror_of(made)
    rebuilt.rebuild(live)
    assert rebuilt.final_size == live.final_size


def test_a_long_log_is_taken_in_chunks(made: Consortium, tmp_path: Path) -> None:
    made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash()) for _ in range(2100)])
    made.log.checkpoint()
    asked = Asked(made.log)
    with mirror_of(made, tmp_path / "mirror.db") as mirror:
        mirror.follow(asked)
        assert (mirror.size, mirror.root) == (made.log.size, made.log.root)
    assert max(end - start for start, end in asked.ranges) == 1024
    with mirror_of(made, tmp_path / "mirror.db") as again:
        assert again.root == made.log.root


class Asked:
    """A source that notes what is asked of it."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.ranges: list[tuple[int, int]] = []
        self.checkpoint, self.final, self.consistency = log.checkpoint, log.final, log.consistency

    def entries(self, start: int, end: int) -> list[bytes]:
        self.ranges.append((start, end))
        return list(self.log.entries(start, end))


# crashes


def test_a_crash_at_any_write_leaves_a_mirror_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(1, 200):
        made = Consortium()
        path = tmp_path / f"{step}.db"
        witness = Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock)
        witness.follow(made.log)
        attest(made, 3)
        made.log.checkpoint()
        size, finished = made.log.size, False
        with crash_at(step, monkeypatch), suppress(Crash):
            witness.follow(made.log)
            finished = True
        seen = [witness.size]
        witness.rest()  # the process is gone: its lock with it, nothing else is done
        with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as again:
            assert again.size in (size - 3, size)
            assert again.root == made.log.root or again.size == size - 3
            again.follow(made.log)
            assert (again.size, again.root) == (size, made.log.root)
            forged = sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), made.keys[COORDINATOR])
            with pytest.raises(Misbehaviour):
                again.advance([], forged, [])
        if finished:
            assert seen == [size]
            return
    raise AssertionError("it never finished")


def test_a_failed_write_changes_nothing_in_memory(
    made: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mirror_of(made, tmp_path / "mirror.db")
    mirror.follow(made.log)
    attest(made)
    before = (mirror.size, mirror.root, mirror.note, mirror.final_size)

    def full(*_: Any, **__: Any) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(Transaction, "put_checkpoint", full)
    with pytest.raises(StoreError):
        mirror.follow(made.log)
    monkeypatch.undo()
    assert (mirror.size, mirror.root, mirror.note, mirror.final_size) == before
    mirror.follow(made.log)
    assert mirror.root == made.log.root


# two at once


def test_two_threads_never_cosign_two_histories(tmp_path: Path) -> None:
    """Both read the same mirror before either writes; the second finds that it was advanced."""
    left, right = Consortium(), Consortium()
    attest(left)
    right.append("attest", "firm-1", subject="other", artifact=right.hash())
    path = tmp_path / "mirror.db"
    both = []
    for _ in range(2):  # the lock is let go of, so that only the transaction stands between them
        witness = Witness(path, left.keys["firm-0"], "firm-0", left.log.vkey, CID, left.clock)
        witness.rest()
        both.append(witness)
    barrier, lines, refusals = threading.Barrier(2), [], []

    def follow(witness: Witness, made: Consortium) -> None:
        news = (made.log.entries(0, made.log.size), made.log.checkpoint())
        barrier.wait()
        try:
            lines.append(witness.advance(*news, []))
        except LedgerError as error:
            refusals.append(error)

    threads = [threading.Thread(target=follow, args=pair) for pair in zip(both, (left, right), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(lines), len(refusals)) == (1, 1)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM checkpoints").fetchone() == (1,)


def test_two_processes_never_cosign_two_histories(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    path = tmp_path / "mirror.db"
    made = Consortium()
    Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock).close()
    lock = context.Lock()

    def run(to_right: bool) -> None:
        with lock:
            made = Consortium()
            made.append("attest", "firm-1" if to_right else "firm-0", subject="s", artifact=made.hash())
            witness = Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock)
            witness.rest()
        barrier.wait()
        try:
            results.put(witness.advance(made.log.entries(0, made.log.size), made.log.checkpoint(), []))
        except LedgerError as error:
            results.put(error.exit_code)

    processes = [context.Process(target=run, args=(to_right,)) for to_right in (False, True)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(type(one).__name__ for one in found) == ["int", "str"]
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM checkpoints").fetchone() == (1,)
        (note,) = database.execute("SELECT note FROM checkpoints").fetchone()
    assert SignedCheckpoint.parse(note).checkpoint.size == 7


# who is asked to cosign


def test_who_is_suspended_is_still_asked_for_the_suspension(made: Consortium) -> None:
    """The checkpoint that ends a membership needs a quorum of that one too."""
    made.log.append([made.approved(made.members, "suspend", member="firm-3", reason="left")])
    made.log.checkpoint()
    leaving = made.witness("firm-3")
    assert leaving.follow(made.log)
    attest(made)
    assert leaving.follow(made.log)
    assert made.log.add_cosignatures([made.witness(name).follow(made.log) for name in made.members])
    attest(made)
    with pytest.raises(WitnessRefusal, match="not an active member"):
        leaving.follow(made.log)


def test_who_is_enrolled_cosigns_from_its_enrolment_on(made: Consortium) -> None:
    made.keys["firm-9"] = key_of("firm-9")
    fields = {"member": "firm-9", "kind": "firm", "key": made.keys["firm-9"].public.raw, "name": "Nine"}
    newcomer = made.witness("firm-9")
    with pytest.raises(WitnessRefusal, match="not an active member"):
        newcomer.follow(made.log)
    made.log.append([made.approved(made.members, "enrol", **fields)])
    lines = {name: made.witness(name).follow(made.log) for name in [*made.members, "firm-9"]}
    newest = ["firm-9", *made.members[:3]]
    assert not made.log.add_cosignatures(lines[name] for name in newest)  # a quorum of six, and of the five before not
    assert made.log.add_cosignatures([lines["bank-0"]])
    assert newcomer.size == made.log.size
