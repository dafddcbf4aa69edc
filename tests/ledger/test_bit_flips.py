"""Bit rot: of 300 changed bytes in the database's file, each is found at start, or changed nothing that can be read."""

import random
from pathlib import Path
from typing import Any

import pytest
from consortium_simulator import Consortium, key_of

from ledger.errors import LedgerError
from ledger.log import Log
from ledger.statement import decode_statement
from ledger.store import Store

FLIPS = 300
SEED = 20261122
KEY = key_of("coordinator")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A closed ledger with all that a database of it can hold, and a statement that is not on it yet."""
    path = tmp_path_factory.mktemp("flips") / "ledger.db"
    made = Consortium(firms=2, location=path)
    made.task()
    made.cosign()
    for _ in range(3):
        made.train(parent=made.log.state.tasks.get("credit").model)  # type: ignore[union-attr]
        made.cosign()
    made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash()) for _ in range(270)])
    made.cosign(["firm-0"])
    digest = decode_statement(made.log.entries(9, 10)[0]).digest
    made.log.put_body(digest, b"sealed" * 30)
    with made.log._store.write() as transaction:
        transaction.put_evidence("fork", "known", "offered", b"file")
    new = made.statement("attest", "firm-1", subject="s", artifact=made.hash())
    made.log.close()
    return path, new


def everything(log: Log, new: bytes) -> Any:
    """All that can be read of an open ledger; then what happens to a new statement and to a known one."""
    with log:
        store: Store = log._store
        entries = log.entries(0, log.size)
        digests = [decode_statement(raw).digest for raw in entries]
        read = [
            store.meta(),
            (log.size, log.root, log.state, log.final(), log.final_size, log.audited, log.policy),
            entries,
            log.accepted(list(range(log.size))),
            store.indices(digests),
            [(size, note, store.cosignatures(size)) for size, note in store.checkpoints().items()],
            (log.checkpoints, log.checkpoint()),
            [log.inclusion(index, log.size) for index in range(0, log.size, 31)],
            [log.consistency(old, log.size) for old in range(1, log.size, 31)],
            [log.receipt(index) for index in range(0, log.final_size, 9)],
            [log.body(digest) for digest in digests[8:11]],
            (store.evidence(), store.evidence_files()),
        ]
        return [*read, log.append([entries[50], new]), log.append([new]), log.root]


def test_no_changed_byte_passes_unseen(written: tuple[Path, bytes], tmp_path: Path) -> None:
    path, new = written
    original, target = path.read_bytes(), tmp_path / "flipped.db"
    target.write_bytes(original)
    expected = everything(Log.open(target, KEY), new)
    generator = random.Random(SEED)
    caught = 0
    for number in range(FLIPS):
        place, mask = generator.randrange(len(original)), generator.randrange(1, 256)
        damaged = bytearray(original)
        damaged[place] ^= mask
        target.write_bytes(damaged)
        try:
            log = Log.open(target, KEY)
        except LedgerError:
            caught += 1
        else:
            assert everything(log, new) == expected, (number, place, mask)
    assert caught > FLIPS // 3, f"only {caught} of {FLIPS} were found; the ledger is mostly free space"
