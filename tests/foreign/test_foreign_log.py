"""golang.org/x/mod and pymerkle accept our notes, cosignatures and proofs, and refuse changed ones."""

from __future__ import annotations

from typing import Any

import pymerkle
import pytest
from foreign_programs import ask_go
from ledger_artefacts import LOG, MEMBERS, ORIGIN, Tree, key_of, statement, witness_vkey

from ledger.checkpoint import Checkpoint, SignedCheckpoint
from ledger.note import Vkey, join_note

SIZE = 24
TREE = Tree(statement(number) for number in range(SIZE))
LOG_VKEY = str(Vkey.of_log(ORIGIN, LOG.public))


def changed(text: str) -> list[str]:
    """Copies of a note with one character changed; a key name's or id's change makes an unknown key's line."""
    return [text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :] for place in range(len(text))]


def signed_by(note: str, vkey: Vkey) -> str:
    """The note with one key's lines only."""
    parsed = SignedCheckpoint.parse(note)
    return join_note(parsed.body, [line for line in parsed.lines if line.is_by(vkey)])


@pytest.mark.foreign
def test_signed_notes() -> None:
    notes = [TREE.note(size) for size in range(1, SIZE + 1)]
    assert ask_go({"by": "note", "vkey": LOG_VKEY, "note": note} for note in notes) == [None] * SIZE
    alone = signed_by(notes[-1], Vkey.of_log(ORIGIN, LOG.public))
    assert None not in ask_go({"by": "note", "vkey": LOG_VKEY, "note": bad} for bad in changed(alone))
    stranger = str(Vkey.of_log(ORIGIN, key_of("mallory").public))
    assert None not in ask_go([{"by": "note", "vkey": stranger, "note": notes[-1]}])


@pytest.mark.foreign
def test_cosignatures() -> None:
    note = TREE.note(SIZE)
    vkeys = [witness_vkey(name) for name in MEMBERS]
    assert ask_go({"by": "cosignature", "vkey": str(vkey), "note": note} for vkey in vkeys) == [None] * len(vkeys)
    for vkey in vkeys:
        alone = signed_by(note, vkey)
        answers = ask_go({"by": "cosignature", "vkey": str(vkey), "note": bad} for bad in changed(alone))
        assert None not in answers
    other = TREE.note(SIZE - 1)
    moved = join_note(SignedCheckpoint.parse(note).body, SignedCheckpoint.parse(other).lines)
    assert None not in ask_go({"by": "cosignature", "vkey": str(vkey), "note": moved} for vkey in vkeys)


def inclusion(size: int, index: int, /, **changes: Any) -> dict[str, Any]:
    path = [item.hex() for item in TREE.inclusion(index, size)]
    leaf, root = TREE.leaves[index].hex(), TREE.roots[size].hex()
    return {"by": "inclusion", "size": size, "index": index, "leaf": leaf, "path": path, "root": root, **changes}


def consistency(old: int, size: int, /, **changes: Any) -> dict[str, Any]:
    path = [item.hex() for item in TREE.consistency(old, size)] if old < size else []
    roots = {"oldRoot": TREE.roots[old].hex(), "root": TREE.roots[size].hex()}
    return {"by": "consistency", "size": size, "old": old, "path": path, **roots, **changes}


@pytest.mark.foreign
def test_proofs_by_go() -> None:
    good = [inclusion(size, index) for size in range(1, SIZE + 1) for index in range(size)]
    good += [consistency(old, size) for size in range(1, SIZE + 1) for old in range(1, size + 1)]
    assert ask_go(good) == [None] * len(good)


@pytest.mark.foreign
def test_changed_proofs_by_go() -> None:
    path, other = inclusion(SIZE, 5)["path"], "00" * 32
    between = consistency(5, SIZE)["path"]
    bad = [
        inclusion(SIZE, 5, index=6),
        inclusion(SIZE, 5, index=SIZE),
        inclusion(SIZE, 5, leaf=TREE.leaves[6].hex()),
        inclusion(SIZE, 5, root=TREE.roots[SIZE - 1].hex()),
        inclusion(SIZE, 5, path=path[:-1]),
        inclusion(SIZE, 5, path=[*path, other]),
        *(inclusion(SIZE, 5, path=[*path[:k], other, *path[k + 1 :]]) for k in range(len(path))),
        consistency(5, SIZE, old=6),
        consistency(5, SIZE, oldRoot=other),
        consistency(5, SIZE, root=other),
        consistency(5, SIZE, path=between[:-1]),
        *(consistency(5, SIZE, path=[*between[:k], other, *between[k + 1 :]]) for k in range(len(between))),
    ]
    assert None not in ask_go(bad)


def test_roots_and_paths_by_pymerkle() -> None:
    oracle = pymerkle.InmemoryTree(algorithm="sha256")
    for size, entry in enumerate(TREE.entries, start=1):
        oracle.append_entry(entry)
        assert oracle.get_state() == TREE.roots[size]
        for index in range(size):
            proof = oracle.prove_inclusion(index + 1, size).serialize()
            assert [bytes.fromhex(item) for item in proof["path"]] == [
                TREE.leaves[index],
                *TREE.inclusion(index, size),
            ]


def test_checkpoints_name_what_go_checked() -> None:
    """The notes above are checkpoints of that tree, not just any signed text."""
    parsed = SignedCheckpoint.parse(TREE.note(SIZE)).checkpoint
    assert parsed == Checkpoint(ORIGIN, SIZE, TREE.roots[SIZE])
