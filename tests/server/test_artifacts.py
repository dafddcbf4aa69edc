"""Artifacts by content: what is put comes back, what was changed does not, and nothing is half there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.artifacts import ArtifactDamaged, ArtifactMissing, ArtifactStore


@given(st.lists(st.binary(max_size=64), max_size=6))
def test_what_is_put_comes_back_under_its_hash(contents: list[bytes]) -> None:
    store = ArtifactStore(None)
    names = store.put_all(contents)
    assert names == [hashlib.sha256(content).digest() for content in contents]
    assert [store.get(name) for name in names] == contents


def test_on_disk_it_outlives_the_store_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    name = ArtifactStore(tmp_path / "a").put(b"content")
    assert ArtifactStore(tmp_path / "a").get(name) == b"content"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name.hex()]


def test_a_missing_artifact_says_what_it_was_for(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match=r"header of firm-1: .* no artifact 0000"):
        ArtifactStore(tmp_path).get(bytes(32), "header of firm-1")


def test_a_changed_artifact_is_never_handed_out_and_can_be_mended(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    name = store.put(b"content")
    store.path(name).write_bytes(b"Content")
    with pytest.raises(ArtifactDamaged, match=r"model: .* has been changed"):
        store.get(name, "model")
    assert store.put(b"content") == name
    assert store.get(name) == b"content"


@pytest.mark.parametrize("folder", [None, "a"])
def test_what_is_deleted_is_gone(tmp_path: Path, folder: str | None) -> None:
    store = ArtifactStore(None if folder is None else tmp_path / folder)
    gone, stays = store.put_all([b"gone", b"stays"])
    assert (store.has(gone), store.has(bytes(32))) == (True, False)
    store.delete([gone, bytes(32)])
    assert not store.has(gone)
    store.delete([gone])
    with pytest.raises(ArtifactMissing):
        store.get(gone)
    assert store.get(stays) == b"stays"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError("disk full")

    store = ArtifactStore(tmp_path)
    store.put(b"before")
    with monkeypatch.context() as patch:
        patch.setattr("server.artifacts.os.fsync", full)
        with pytest.raises(OSError, match="full"):
            store.put(b"content")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    with pytest.raises(ArtifactMissing):
        store.get(hashlib.sha256(b"content").digest())
