"""A file that several processes change loses nothing, and is its owner's alone."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clients.locked_file import changing
from ledger.whole_file import write_whole


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
