"""What another policy changes, line by line: for the operator who is to approve it or to take it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, TASKS
from clients.plain_text import printable

MOST_PAIRS = 4_000_000  # of lines that are compared; what the desk shows is somebody else's text


def difference(home: Path, raw: bytes, specs: Mapping[str, bytes]) -> list[str]:
    """The lines in which a policy and its task specs differ from what a home has, each safe to print.

    Args:
        raw: the bytes of `consortium.toml`.
        specs: TOML by task.
    """
    files = {CONSORTIUM: raw, **{f"{TASKS}/{name}.toml": specs[name] for name in sorted(specs)}}
    return [printable(line) for name, content in files.items() for line in _lines(home / name, name, content)]


def _lines(path: Path, name: str, content: bytes) -> Iterator[str]:
    # Cut where TOML does, and nowhere else: str.splitlines also cuts at letters that a TOML comment may hold.
    old, new = (
        raw.decode("utf-8", "replace").split("\n") for raw in (path.read_bytes() if path.is_file() else b"", content)
    )
    names = f"{name} (now)", f"{name} (new)"
    if len(old) * len(new) > MOST_PAIRS:
        return _whole(old, new, *names)
    return difflib.unified_diff(old, new, *names, lineterm="", n=1)


def _whole(old: list[str], new: list[str], before: str, after: str) -> Iterator[str]:
    """All lines of both: to look for the fewest that differ takes time with the square of their number."""
    if old != new:
        yield from (f"--- {before}", f"+++ {after}")
        yield from (f"-{line}" for line in old)
        yield from (f"+{line}" for line in new)
