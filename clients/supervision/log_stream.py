"""One stream for all processes of a set: on standard error, and in a file for each that rotates by size."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

from clients.supervision.log_lines import Level, Line, read_line

LogFormat = Literal["text", "json", "none"]
MAX_FILE = 2 * 2**20
"""Bytes of one file; with `BACKUPS` older ones beside it a program keeps at most four times as much."""
BACKUPS = 3
MOST_WAITING = 10_000
"""Lines that wait for whoever reads the stream; more are lost to it."""
_LAST_WORDS_S = 2.0


def to_standard_error(text: str) -> None:
    """Write all of it, past Python's buffer: a thread that hangs in that would hold up the process's own end."""
    sys.stderr.flush()
    left = text.encode()
    while left:
        left = left[os.write(sys.stderr.fileno(), left) :]


class LogStream:
    """Writes lines as they come and keeps none.

    A disk that is full, and a reader that has gone away or has stopped reading, lose lines and stop nothing.

    Args:
        folder: made if missing; `NAME.log` in it.
        form: of the lines on `out`, `none` for none there; files hold the text form.
        now: seconds since 1970.
        out: takes the text; may block, or raise OSError or ValueError.
    """

    def __init__(
        self, folder: Path, form: LogFormat, now: Callable[[], float], out: Callable[[str], None] = to_standard_error
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._form, self._now = folder, form, now
        self._shown = None if form == "none" else _Shown(out)
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
        """Show what is still to be shown, if anybody reads it, and close the files."""
        if self._shown is not None:
            self._shown.close()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, line: Line, program: str) -> None:
        if self._shown is not None:
            self._shown.put(line.json() if self._form == "json" else line.plain())
        if program not in self._files:
            path = self._folder / f"{program}.log"
            self._files[program] = _Quiet(path, maxBytes=MAX_FILE, backupCount=BACKUPS, encoding="utf-8", delay=True)
        self._files[program].handle(makeLogRecord({"msg": line.plain()}))


class _Shown:
    """Hands lines to `out` in a thread of its own, so that only that waits for a reader."""

    def __init__(self, out: Callable[[str], None]) -> None:
        self._out = out
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._show, daemon=True, name="log")
        self._thread.start()

    def put(self, line: str) -> None:
        """Show a line some time; it is lost if too many wait already."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Wait until all is shown, but not for long."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(_LAST_WORDS_S)

    def _show(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._out(f"{line}\n")


class _Quiet(RotatingFileHandler):
    def handleError(self, record: LogRecord) -> None:  # noqa: N802
        """Lose the line: whoever supervises goes on, whatever the disk says."""
