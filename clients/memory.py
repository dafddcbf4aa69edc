"""How much memory the process of one message may take, and what becomes of it when that is not enough.

The limit is on data (setrlimit(2) RLIMIT_DATA: what a process may write to and shares with nobody), not on addresses:
libraries reserve gigabytes of those and never touch them. A request beyond it fails inside the process, which says so
and lives; beyond what the machine has, the kernel would pick some process and kill it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from clients.errors import ClientError

LEAST_MIB = 2048
"""What imports, and the gigabyte that pyarrow sets aside at its first table, leave room in."""
_SHARE = 0.75  # of the machine: the other processes of the firm and the system need the rest
_LEAST_BY_DEFAULT_MIB = 4096
_MIB = 1 << 20
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


class OutOfMemory(ClientError):
    """The process of a message has no memory left: one record more may be why, so nobody but the firm is told."""

    exit_code = 1


def limit_memory(mib: int | None, machine: Callable[[], int] | None = None) -> int:
    """Let this process, and no other, take so many MiB and no more; returns how many.

    Args:
        mib: None for three quarters of the machine's, and 4 GiB at least.
        machine: the machine's memory in bytes, as `machine_memory`.
    """
    share = int((machine or machine_memory)() * _SHARE) // _MIB
    most = mib if mib is not None else max(share, _LEAST_BY_DEFAULT_MIB)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = most * _MIB if hard == resource.RLIM_INFINITY else min(most * _MIB, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))
    return wanted // _MIB


def machine_memory(groups: Path = _GROUPS, own_group: Path = _OWN_GROUP) -> int:
    """Bytes of memory of this machine, or of the smallest control group that this process is in."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *_group_limits(groups, own_group)])


def out_of_memory(error: BaseException) -> OutOfMemory | None:
    """What an error says if it says that there is no memory; None for any other.

    The sizes in its text are those of tables: they stay in the log.
    """
    # torch raises no MemoryError; numpy, pandas and pyarrow do
    of_torch = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if not isinstance(error, MemoryError) and not of_torch:
        return None
    return OutOfMemory(
        "the message's process may take no more memory; memory_mib under [machine] in firm.toml says how much"
    )


def _group_limits(groups: Path, own_group: Path) -> Iterator[int]:
    try:
        lines = own_group.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")  # of version 2; the first has none
    folder = groups / own.strip("/")
    for one in (folder, *folder.parents):
        if not one.is_relative_to(groups):
            return
        try:
            text = (one / "memory.max").read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            yield int(text)
