"""The scorers that answer now: another release is taken while the service runs, a damaged one is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from server.releases import ReleaseDamaged
from server.scoring import present
from server.scoring.present import PresentScorers


def test_another_release_answers_from_the_next_question_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = [{"credit": 1}, {"credit": 2}, ReleaseDamaged("a file is missing"), {"credit": 3, "other": 4}]
    seen = list[Path]()

    def load(home: Path) -> Any:
        seen.append(home)
        found = read.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(present, "load_scorers", load)
    pointer = tmp_path / "releases" / "credit" / "current"
    pointer.parent.mkdir(parents=True)

    def publish(at_s: int) -> None:
        pointer.write_text("a model")
        os.utime(pointer, (at_s, at_s))

    publish(1)
    scorers = PresentScorers(tmp_path)
    assert [scorers["credit"], scorers["credit"]] == [1, 1]
    publish(2)
    assert [scorers["credit"], scorers["credit"]] == [2, 2]
    publish(3)
    assert scorers["credit"] == 2  # what was published last cannot be read
    assert list(scorers) == ["credit"]
    publish(4)
    assert (sorted(scorers), len(scorers)) == (["credit", "other"], 2)
    assert seen == [tmp_path] * 4


def test_a_release_that_could_not_be_read_once_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = [{"credit": 1}, OSError("the share is away"), {"credit": 2}]
    now = [0.0]

    def load(_home: Path) -> Any:
        found = read.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(present, "load_scorers", load)
    pointer = tmp_path / "releases" / "credit" / "current"
    pointer.parent.mkdir(parents=True)
    scorers = PresentScorers(tmp_path, lambda: now[0])
    pointer.write_text("a model")
    assert [scorers["credit"], scorers["credit"]] == [1, 1]
    now[0] = present.AGAIN_S
    assert scorers["credit"] == 2
