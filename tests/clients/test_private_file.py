"""A private file: whole, its owner's alone, and with nothing left beside it of a writer that was killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clients.private_file import PrivateFile


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("then", ["write", "destroy"])
def test_what_a_killed_writer_has_left_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    file = PrivateFile(tmp_path / "sums-credit")
    (tmp_path / ".sums-credit.4711").write_bytes(b"of an earlier release")
    (tmp_path / ".sums-credit-2.new").write_bytes(b"another task's")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            file.write(b"bare sums")
    assert (tmp_path / ".sums-credit.new").stat().st_mode & 0o777 == 0o600
    if then == "write":
        file.write(b"new sums")
        assert file.read() == b"new sums"
    else:
        file.destroy()
        assert file.read() is None
    left = {one.name for one in tmp_path.iterdir()} - {".sums-credit-2.new"}
    assert left == ({"sums-credit"} if then == "write" else set())
