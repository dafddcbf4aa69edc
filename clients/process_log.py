"""How our processes log: plain lines, or one JSON object a line where ARTESIAN_LOG_FORMAT is `json`.

JSON lines are made to be collected elsewhere, so they say less than plain ones: of an error they have its code and what
may be told of it, never a traceback, since an error about a table quotes the cell that is wrong. Plain lines stay on
the machine and say all.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

FORMAT_VARIABLE = "ARTESIAN_LOG_FORMAT"
PLAIN = "%(name)s %(levelname)s %(message)s"
FIELDS = ("member", "task", "round", "code")
"""What a line may say beside time, level, process and text, where it is known."""

Told = Callable[[Exception], tuple[str, str]]
"""Code and words of an error, as far as others may know them."""

_about: ContextVar[Mapping[str, str | int]] = ContextVar("artesian_log", default=MappingProxyType({}))


@contextmanager
def about(**fields: str | int) -> Iterator[None]:
    """Lines of this block say these `FIELDS` too."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def by_its_name(error: Exception) -> tuple[str, str]:
    """What is told of an error where no firm's records are: its class, and its text."""
    return type(error).__name__, str(error)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, process, text, and what is known of `FIELDS`.

    Args:
        process: its name in the set, such as `executor`.
        told: what may be said of errors among a line's arguments.
    """

    def __init__(self, process: str, told: Told = by_its_name) -> None:
        super().__init__()
        self._process, self._told = process, told

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        facts: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            **{name: value for name, value in _about.get().items() if name in FIELDS},
            **{name: value for name in FIELDS if isinstance(value := getattr(record, name, None), str | int)},
        }
        raised = record.exc_info[1] if record.exc_info else None
        if isinstance(raised, Exception):
            facts["code"] = self._told(raised)[0]
        args = record.args
        if isinstance(args, tuple):
            for one in args:
                if isinstance(one, Exception):
                    facts["code"] = self._told(one)[0]
            args = tuple(": ".join(self._told(one)) if isinstance(one, Exception) else one for one in args)
        text = record.getMessage() if isinstance(args, Mapping) else str(record.msg)
        facts["text"] = text % args if isinstance(args, tuple) and args else text
        return json.dumps(facts, ensure_ascii=False)


def log_to_stderr(
    process: str,
    told: Told = by_its_name,
    level: int = logging.WARNING,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Log to standard error from here on: our own lines from INFO up, those of others from `level`."""
    handler = logging.StreamHandler()
    as_json = environment.get(FORMAT_VARIABLE) == "json"
    handler.setFormatter(JsonLines(process, told) if as_json else logging.Formatter(PLAIN))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("artesian").setLevel(logging.INFO)
