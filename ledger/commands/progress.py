"""How far long work is: a bar on a terminal, now and then a plain line in a pipe; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

_SILENT_S, _LINE_S = 2.0, 10.0


@contextmanager
def progress(
    what: str, monotonic: Callable[[], float] = time.monotonic, *, silent: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """A function to call with how much of how much is done; short work stays silent.

    Args:
        what: what is being done, such as `auditing`.
        silent: long work stays silent, too: a program is waiting, and not a person.
    """
    if silent:
        yield lambda done, total: None
        return
    began_s = monotonic()
    if not sys.stderr.isatty():
        said_s = began_s

        def line(done: int, total: int) -> None:
            nonlocal said_s
            if monotonic() >= said_s + _LINE_S:
                said_s = monotonic()
                typer.echo(f"{what}: {done} of {total} entries", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None, visible=False)
        yield lambda done, total: bars.update(
            task, completed=done, total=total, visible=monotonic() >= began_s + _SILENT_S
        )
