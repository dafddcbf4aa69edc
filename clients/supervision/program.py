"""What a supervisor starts: a command, what must be ready before it, and how it shows that it is ready itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Listens:
    """Ready when something accepts TCP connections at `address` (HOST:PORT)."""

    address: str


@dataclass(frozen=True)
class Touches:
    """Ready when the file exists and is newer than the process's start; the process writes it itself.

    The supervisor deletes it before each start.
    """

    path: Path


@dataclass(frozen=True)
class Program:
    """One process of a set.

    Attributes:
        name: short; names it in the log and in the status.
        command: words of the command line; the first is an executable's path.
        needs: names of those that must be ready before this one is started.
        ready: how it shows that it is ready; None is ready as soon as it runs.
        environment: adds to what the supervisor's own environment gives.
        ready_within_s: without being ready by then it is stopped and started again.
        stop_within_s: between SIGTERM and SIGKILL.
        after: files that must be there before it is started: until then it waits, for as long as it takes.
        after_words: what these files come with, such as `the founding`; empty names the file that is missing.
        reads: files that it reads only when it starts, like certificates: it is restarted when one changes, and on
            SIGHUP.
        essential: whether the set is ready only when this one is.
        retry_at_most_s: longest pause before it is started again.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    ready: Listens | Touches | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_within_s: float = 60.0
    stop_within_s: float = 10.0
    after: tuple[Path, ...] = ()
    after_words: str = ""
    reads: tuple[Path, ...] = ()
    essential: bool = True
    retry_at_most_s: float = 30.0


def in_order(programs: Sequence[Program]) -> list[Program]:
    """The programs, each after those that it needs, otherwise as they were given.

    Raises:
        ValueError: a name twice, a need that is not there, or a circle of needs.
    """
    by_name = {program.name: program for program in programs}
    if len(by_name) != len(programs):
        raise ValueError("two programs have one name")
    ordered: dict[str, Program] = {}

    def place(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"programs need each other in a circle: {' -> '.join([*above, name])}")
        if name not in by_name:
            raise ValueError(f"{above[-1]} needs {name}, which is not there")
        if name not in ordered:
            for need in by_name[name].needs:
                place(need, (*above, name))
            ordered[name] = by_name[name]

    for program in programs:
        place(program.name, ())
    return list(ordered.values())
