"""Cosignatures wait a moment for others: a quorum's lines cost one transaction, and not one each."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from ledger.policy import quorum_size

_SIZES = 8


class Cosigned(Protocol):
    """Lines on the checkpoint at a size, handed in together."""

    @property
    def lines(self) -> Sequence[str]: ...
    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Cosigned)


class Gathering(Generic[T]):
    """What waits, until a quorum of members has cosigned one checkpoint, or for `gather_s` at most.

    Who has cosigned is read off the lines and believed here: it decides when they are looked at, and nothing else.
    """

    def __init__(self, gather_s: float, monotonic: Callable[[], float]) -> None:
        """`monotonic`: seconds from any start."""
        self._gather_s = gather_s
        self._monotonic = monotonic
        self._waiting: list[T] = []
        self._until_s = 0.0
        self._passed: dict[int, set[str]] = {}

    def add(self, given: T) -> None:
        """Let `given` wait with the others."""
        if not self._waiting:
            self._until_s = self._monotonic() + self._gather_s
        self._waiting.append(given)

    def wait_s(self) -> float:
        """For how long nothing needs to be done."""
        return max(0.0, self._until_s - self._monotonic()) if self._waiting else float("inf")

    def take(self, voters: int) -> list[T]:
        """All that waits, if it is time: `voters` members could cosign."""
        if not self._waiting or (self.wait_s() > 0 and not self._makes_quorum(voters)):
            return []
        return self.take_all()

    def take_all(self) -> list[T]:
        """All that waits."""
        taken, self._waiting = self._waiting, []
        for given in taken:
            self._passed.setdefault(given.size, set()).update(map(_name, given.lines))
        for size in sorted(self._passed)[:-_SIZES]:
            del self._passed[size]
        return taken

    def _makes_quorum(self, voters: int) -> bool:
        needed = quorum_size(max(voters, 1))
        for size in {given.size for given in self._waiting}:
            passed = self._passed.get(size, set())
            fresh = {_name(line) for given in self._waiting if given.size == size for line in given.lines}
            if len(passed) < needed <= len(passed | fresh):
                return True
        return False


def _name(line: str) -> str:
    """The key name on a signature line, or what stands there."""
    return line.split(" ", 2)[1] if line.count(" ") > 1 else line
