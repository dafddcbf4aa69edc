"""The memory of a set of processes, from the operating system (Linux): each with all that it has started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import ExperimentError

_KIB_A_MIB = 1024


class NoSuchProcess(ExperimentError):
    """A process whose memory was asked for has ended."""


@dataclass(frozen=True)
class Resident:
    """Memory in MiB.

    Attributes:
        rss: resident pages, those that others have too included: added up over processes they count several times.
        pss: proportional set size, in which each page is divided among those who have it: added up it is what the
            processes take of the machine together.
    """

    rss: float
    pss: float

    def __add__(self, other: Resident) -> Resident:
        return Resident(self.rss + other.rss, self.pss + other.pss)


NOTHING = Resident(0.0, 0.0)


def resident(pid: int) -> Resident:
    """The memory of one process, by proc_pid_smaps(5).

    Raises:
        NoSuchProcess: it has ended.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    except OSError as error:
        raise NoSuchProcess(f"process {pid}: its memory cannot be read: {error.strerror}") from None
    sizes = {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in lines)}
    return Resident(sizes["Rss"] / _KIB_A_MIB, sizes["Pss"] / _KIB_A_MIB)


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process took, and those of its children that have ended, by proc_pid_stat(5)."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def family(supervisor: int, known: Mapping[int, str]) -> dict[int, str]:
    """A supervisor and all that it has started, and they, each by its name.

    Args:
        known: names by pid; another is a `guard` where the supervisor started it, else a child of who did.
    """
    parents = dict[int, int]()
    for one in os.listdir("/proc"):
        if one.isdecimal():
            with contextlib.suppress(OSError):
                parents[int(one)] = int(_stat(int(one))[1])
    found = {supervisor: "supervisor"}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        for pid in more:
            above = parents[pid]
            other = "guard" if above == supervisor else f"child of {found[above]}"
            found[pid] = known.get(pid, other)
    return found


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
