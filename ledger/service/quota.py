"""How many bytes of bodies a member may keep here: entries are bounded by what people sign, bodies by nothing else."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ledger.log import Log


class Quota:
    """What each member has handed in and is about to. Lives in one event loop."""

    def __init__(self, most: int) -> None:
        """Allow `most` bytes to each member."""
        self._most = most
        self._coming: Counter[str] = Counter()

    @contextmanager
    def coming(self, member: str, size: int) -> Iterator[int]:
        """Count `size` bytes that `member` is handing in, while the block runs; give what it may have stored before."""
        self._coming[member] += size
        try:
            yield self._most - self._coming[member]
        finally:
            self._coming[member] -= size


def too_many(log: Log, member: str, bodies: Sequence[tuple[bytes, int]], room: int) -> list[bytes]:
    """The digests of those statements whose bodies do not fit any more.

    Args:
        bodies: digest and size of each; what is stored already takes no room again, what was erased none.
        room: how many bytes `member` may have stored, if all of them are to fit.
    """
    stored, total = log.body_bytes(member), sum(size for _, size in bodies)
    if stored <= room:
        return []
    left, refused = room + total - stored, list[bytes]()
    kept = log.kept([digest for digest, _ in bodies])
    for digest, size in bodies:
        if digest not in kept:
            if size > left:
                refused.append(digest)
            else:
                left -= size
    return refused
