"""What processes write, cut into lines of bounded length that no terminal obeys, each with its level."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
MAX_LINE = 4096
"""Bytes; what is more of a line is left out, and shown as …"""

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_WORD = re.compile(
    r"^(?:[a-z_.]+ (?=(?-i:[A-Z]+) ))?\W{0,2}(debug|info|warning|warn|error|critical|fatal)\b[\s:\])|-]*", re.IGNORECASE
)
_STAMP = re.compile(r"\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?\]?[\s:|-]+")
"""A moment at the beginning of a line, which the stream says itself."""
_KNOWN = ("time", "level", "process")  # what the stream says itself
_SAFE = re.compile(r"[^\w.-]")
_NAMES: dict[Level, tuple[str, ...]] = {
    "debug": ("debug",),
    "info": ("info",),
    "warning": ("warning", "warn"),
    "error": ("error", "critical", "fatal"),
}
_LEVELS = {name: level for level, names in _NAMES.items() for name in names}


@dataclass(frozen=True)
class Line:
    """One line of the stream. `name` is the program's; `time_s` counts from 1970."""

    time_s: float
    name: str
    level: Level
    text: str

    def plain(self) -> str:
        """`time name level text`."""
        return f"{_stamp(self.time_s)} {self.name} {self.level} {self.text}"

    def json(self) -> str:
        """One JSON object."""
        facts = {"time": _stamp(self.time_s), "name": self.name, "level": self.level, "text": self.text}
        return json.dumps(facts, ensure_ascii=False)


class LineCutter:
    """Cuts a stream of bytes into lines; keeps at most `MAX_LINE` bytes of one that has not ended."""

    def __init__(self) -> None:
        self._open = b""
        self._dropped = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that end in `chunk`."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._take(part)
            yield self._end()
        self._take(rest)

    def rest(self) -> Iterator[str]:
        """What stands at the end without a line break."""
        if self._open:
            yield self._end()

    def _take(self, part: bytes) -> None:
        room = MAX_LINE - len(self._open)
        self._dropped = self._dropped or len(part) > room
        self._open += part[:room]

    def _end(self) -> str:
        text = self._open.decode("utf-8", "replace").rstrip("\r") + ("…" if self._dropped else "")
        self._open, self._dropped = b"", False
        return text


def read_line(time_s: float, name: str, raw: str) -> Line | None:
    """A line as a process wrote it: its own level, if it names one, JSON or not; None for an empty one.

    A moment that it begins with is left out: the stream has its own, and one line has one.
    """
    text = _COLOURS.sub("", raw).strip()
    level: Level = "info"
    if text.startswith("{"):
        inner, level, text = _from_json(text)
        name = f"{name}/{inner}" if inner else name
    else:
        if found := _STAMP.match(text):
            text = text[found.end() :]
        if found := _WORD.match(text):
            level = _LEVELS[found[1].lower()]
            text = text[found.end() :]
    text = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text.replace("\t", " "))
    return Line(time_s, name, level, text) if text.strip() else None


def _from_json(text: str) -> tuple[str, Level, str]:
    """Name, level and words of a structured log's line; what else it says stays with it, as it stands.

    A name is only in what a supervisor writes: then the program supervises others.
    """
    try:
        facts = json.loads(text)
        level = _LEVELS.get(str(facts.get("level", "info")).lower(), "info")
    except (ValueError, AttributeError, RecursionError):
        return "", "info", text
    if set(facts) == {"time", "name", "level", "text"}:
        return _SAFE.sub("_", str(facts["name"])), level, str(facts["text"])
    for key in ("text", "message", "event"):
        if isinstance(words := facts.get(key), str):
            rest = {name: value for name, value in facts.items() if name not in (key, *_KNOWN)}
            return "", level, f"{words} {json.dumps(rest, ensure_ascii=False)}" if rest else words
    return "", level, text


def _stamp(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
