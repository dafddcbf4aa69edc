"""What a supervisor starts: a command, what must be ready before it, and how it shows that it is ready itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Listens:
    """Ready when something accepts TCP connections at `address` (HOST:PORT)."""

    address: str


@dataclass(frozen=True)
class Touches:
    """Ready when the file exists and is newer than the process's start; the process writes it itself."""

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
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    ready: Listens | Touches | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_within_s: float = 60.0
    stop_within_s: float = 10.0
