"""Taking turns at a mirror: who waits for it says so, and who holds it lets go soon.

The holder of a mirror's lock may keep it for as long as it has work. A process that finds it taken holds a second lock
beside it, shared with whoever else waits: the holder looks for that, rests the mirror, and takes it again only when
nobody waits. So neither of two busy processes keeps the other out.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ledger.errors import StoreError

T = TypeVar("T")
PAUSE_S = 0.01


class Turns:
    """The processes that wait for one mirror; in memory there is none."""

    def __init__(self, mirror: Path | None) -> None:
        """Those of the mirror at a path; None for one in memory."""
        self._path = None if mirror is None else mirror.with_name(mirror.name + ".wanted")

    def are_wanted(self) -> bool:
        """Whether another process waits for the mirror now."""
        if self._path is None or not self._path.exists():
            return False
        with self._opened() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A span in which this process is known to wait.

        Raises:
            StoreError: the file beside the mirror cannot be written.
        """
        if self._path is None:
            yield
            return
        with self._opened() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def _opened(self) -> Iterator[int]:
        assert self._path is not None
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path}: {os.strerror(error.errno or 0)}; check its rights") from None
        try:
            yield file
        finally:
            os.close(file)


def take_turn(
    turns: Turns,
    take: Callable[[], T],
    for_s: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """What `take` gives, tried again for `for_s` seconds while another process holds the mirror.

    Args:
        take: opens or wakes the mirror; raises `StoreError`, most often `Locked`, while it cannot be had.
        sleep: waits for so many seconds.

    Raises:
        StoreError: it could not be had in all that time.
    """
    try:
        return take()
    except StoreError:
        if for_s <= 0:
            raise
    end_s = monotonic() + for_s
    with turns.waiting():
        while True:
            sleep(PAUSE_S)
            try:
                return take()
            except StoreError:
                if monotonic() >= end_s:
                    raise
