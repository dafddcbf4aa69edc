"""A file that several processes change loses nothing, is its owner's alone, and is whole."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clients.locked_file import changing, write_whole


def test_of_many_changes_at_once_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    write_whole(path, "[]")

    def add(number: int) -> None:
        with changing(path):
            write_whole(path, json.dumps([*json.loads(path.read_text()), number]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert sorted(json.loads(path.read_text())) == list(range(40))
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "known.json"
    write_whole(path, "before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "after")
    assert [one.name for one in tmp_path.iterdir()] == ["known.json"]
    assert path.read_text() == "before"
