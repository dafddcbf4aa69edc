"""A file that is replaced is the one before or the new one, never a part, and nothing else is left in the folder."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger import whole_file
from ledger.whole_file import write_whole


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


@pytest.mark.parametrize(("mode", "durable"), [(0o600, True), (0o644, False)])
def test_it_has_its_mode_and_its_content(tmp_path: Path, mode: int, durable: bool) -> None:
    before, path = os.umask(0o022), tmp_path / "known.txt"
    try:
        write_whole(path, "Zürich", mode=mode, durable=durable)
        assert path.read_bytes() == "Zürich".encode()
        write_whole(path, b"\x00\xff", mode=mode, durable=durable)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"\x00\xff"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_need_not_outlive_a_power_cut_costs_no_synchronising(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[object]()
    monkeypatch.setattr(os, "fsync", asked.append)
    monkeypatch.setattr(whole_file, "sync_folder", asked.append)
    write_whole(tmp_path / "status.json", "{}", durable=False)
    assert asked == []
    write_whole(tmp_path / "status.json", "{}")
    assert asked[1:] == [tmp_path]


def test_of_several_writers_at_once_one_is_read_whole(tmp_path: Path) -> None:
    path, contents = tmp_path / "known.bin", [bytes([number]) * 5000 for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(path, content, durable=False), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
