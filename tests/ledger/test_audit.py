"""The audit: finds what was changed in a stored ledger, and says where."""

import random
import sqlite3
from pathlib import Path

import pytest
from consortium_simulator import Consortium

from ledger.audit import audit
from ledger.errors import LedgerError, StoreError
from ledger.policy import Policy
from ledger.schema import row_crc32


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Policy]:
    """A ledger of a whole round, final, closed."""
    path = tmp_path_factory.mktemp("audit") / "ledger.db"
    made = Consortium(firms=3, location=path)
    made.task()
    made.cosign()
    made.train()
    made.cosign()
    policy = made.log.policy
    made.log.close()
    return path, policy


@pytest.fixture
def copy(stored: tuple[Path, Policy], tmp_path: Path) -> Path:
    target = tmp_path / "copy.db"
    target.write_bytes(stored[0].read_bytes())
    return target


def change(path: Path, *statement: object) -> None:
    with sqlite3.connect(path) as database:
        database.create_function("row_crc32", -1, row_crc32)
        database.execute(*statement)  # type: ignore[arg-type]


def test_a_sound_ledger(stored: tuple[Path, Policy]) -> None:
    path, policy = stored
    before = path.read_bytes()
    report = audit(path, policy)
    assert report.ok, report.problems
    assert (report.entries, report.final_size, report.checkpoints, report.cosignatures) == (12, 12, 2, 8)
    assert path.read_bytes() == before


def test_each_kind_of_change_is_named(stored: tuple[Path, Policy], tmp_path: Path) -> None:
    path, policy = stored
    for number, (statement, words) in enumerate(
        [
            ("UPDATE entries SET raw = zeroblob(9) WHERE idx = 5", "entry 5"),
            ("UPDATE entries SET raw = 'text' WHERE idx = 5", "entry 5"),
            ("UPDATE entries SET digest = zeroblob(32) WHERE idx = 5", "entry 5"),
            ("DELETE FROM entries WHERE idx = 5", "entry 5"),
            ("UPDATE entries SET accepted_s = 1 WHERE idx = 5", "time of entry 5"),
            ("UPDATE checkpoints SET note = 'x' WHERE size = 12", "checkpoint 12"),
            ("UPDATE checkpoints SET note = 'x', crc32 = row_crc32(12, 'x') WHERE size = 12", "checkpoint 12"),
            ("UPDATE checkpoints SET size = 11 WHERE size = 12", "checkpoint 11"),
            ("UPDATE checkpoints SET size = 11, crc32 = row_crc32(11, note) WHERE size = 12", "checkpoint 11"),
            ("UPDATE cosignatures SET line = 'x' WHERE size = 12", "cosignature on checkpoint 12"),
            (
                "UPDATE cosignatures SET line = 'x', crc32 = row_crc32(12, name, 'x') WHERE size = 12",
                "cosignature on checkpoint 12",
            ),
            (
                "UPDATE cosignatures SET name = 'x', crc32 = row_crc32(size, 'x', line) WHERE name LIKE '%firm-1'",
                "no witness",
            ),
            ("UPDATE meta SET value = 'x' WHERE key = 'origin'", "'origin' is not what was written"),
            ("UPDATE meta SET value = 'x', crc32 = row_crc32(key, 'x') WHERE key = 'origin'", "does not know the log"),
            ("UPDATE meta SET value = 'x', crc32 = row_crc32(key, 'x') WHERE key = 'cid'", "entry 0"),
            ("DELETE FROM cosignatures", "quorum"),
        ]
    ):
        target = tmp_path / f"{number}.db"
        target.write_bytes(path.read_bytes())
        change(target, statement)
        report = audit(target, policy)
        assert not report.ok
        assert any(words in problem for problem in report.problems), (statement, report.problems)


def test_random_bit_flips_never_pass_unseen(stored: tuple[Path, Policy], tmp_path: Path) -> None:
    """A flip is either caught, or changed nothing that the ledger says (free pages, unused header bytes)."""
    path, policy = stored
    original, expected = path.read_bytes(), audit(path, policy)
    generator = random.Random(20260101)
    caught = 0
    target = tmp_path / "flipped.db"
    for _ in range(240):
        damaged = bytearray(original)
        place = generator.randrange(len(damaged) * 8)
        damaged[place // 8] ^= 1 << place % 8
        target.write_bytes(bytes(damaged))
        try:
            report = audit(target, policy)
        except LedgerError:
            caught += 1
            continue
        assert not report.ok or report == expected
        caught += not report.ok
    assert caught > 20  # a small database is mostly free space


def test_another_policy_does_not_accept_it(stored: tuple[Path, Policy]) -> None:
    path, _ = stored
    report = audit(path, Consortium(firms=3, seed="other").log.policy)
    assert not report.ok
    assert report.final_size == 0


def test_a_mirror_can_be_audited(tmp_path: Path) -> None:
    made = Consortium(firms=3)
    mirror = made.witness("firm-0", tmp_path / "mirror.db")
    mirror.follow(made.log)
    mirror.close()
    report = audit(tmp_path / "mirror.db", made.log.policy)
    assert report.ok, report.problems
    assert (report.entries, report.cosignatures) == (made.log.size, 1)


def test_nothing_there(tmp_path: Path) -> None:
    policy = Consortium(firms=3).log.policy
    with pytest.raises(StoreError, match="no ledger here"):
        audit(tmp_path / "none.db", policy)
    assert list(tmp_path.iterdir()) == []
