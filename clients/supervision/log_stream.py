"""One stream for all processes of a set: on standard error, and in a file for each that rotates by size."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal, TextIO

from clients.supervision.log_lines import Level, Line, read_line

LogFormat = Literal["text", "json", "none"]
MAX_FILE = 2 * 2**20
"""Bytes of one file; with `BACKUPS` older ones beside it a program keeps at most four times as much."""
BACKUPS = 3


class LogStream:
    """Writes lines as they come and keeps none.

    A disk that is full or a reader that has gone away loses lines, and stops nothing.

    Args:
        folder: made if missing; `NAME.log` in it.
        form: of the lines on `out`, `none` for none there; files hold the text form.
        now: seconds since 1970.
        out: standard error.
    """

    def __init__(self, folder: Path, form: LogFormat, now: Callable[[], float], out: TextIO | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._form, self._now = folder, form, now
        self._out = out or sys.stderr
        self._files: dict[str, _Quiet] = {}

    def take(self, name: str, raw: str) -> str:
        """A line that program `name` wrote; returns its text."""
        line = read_line(self._now(), name, raw)
        if line is None:
            return ""
        self._write(line, name)
        return line.text

    def say(self, text: str, level: Level = "info", name: str = "supervisor") -> None:
        """A line of the supervisor's own."""
        self._write(Line(self._now(), name, level, text), name)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, line: Line, program: str) -> None:
        if self._form != "none":
            with contextlib.suppress(OSError, ValueError):
                print(line.json() if self._form == "json" else line.plain(), file=self._out, flush=True)
        if program not in self._files:
            path = self._folder / f"{program}.log"
            self._files[program] = _Quiet(path, maxBytes=MAX_FILE, backupCount=BACKUPS, encoding="utf-8", delay=True)
        self._files[program].handle(makeLogRecord({"msg": line.plain()}))


class _Quiet(RotatingFileHandler):
    def handleError(self, record: LogRecord) -> None:  # noqa: N802
        """Lose the line: whoever supervises goes on, whatever the disk says."""
