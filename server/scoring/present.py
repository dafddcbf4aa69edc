"""The scorers that answer now: a release that is published while the service runs is the next to answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from clients.errors import ClientError
from ledger.errors import LedgerError
from server.errors import ServerError
from server.releases import CURRENT, load_scorers
from server.scoring.desk import PublishedScorer

AGAIN_S = 5.0
"""How long after a release could not be read it is read again."""
log = logging.getLogger("artesian.scores")


class PresentScorers(Mapping[str, PublishedScorer]):
    """Scorers by task, read again when another release has become the current one.

    A release that cannot be read leaves those in place that were read before; that is logged, and it is read again
    some seconds later, until it is taken or another one is there.
    """

    def __init__(self, home: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read those of the coordinator's home.

        Raises:
            ReleaseDamaged: a release is not what was published.
        """
        self._home, self._monotonic = home, monotonic
        self._failed: tuple[dict[str, int], float] | None = None
        self._seen = self._pointers()
        self._scorers = load_scorers(home)

    def __getitem__(self, task: str) -> PublishedScorer:
        self._refresh()
        return self._scorers[task]

    def __iter__(self) -> Iterator[str]:
        self._refresh()
        return iter(self._scorers)

    def __len__(self) -> int:
        self._refresh()
        return len(self._scorers)

    def _refresh(self) -> None:
        seen = self._pointers()
        if seen == self._seen:
            return
        if self._failed is not None and self._failed[0] == seen and self._monotonic() < self._failed[1] + AGAIN_S:
            return
        try:
            self._scorers = load_scorers(self._home)
        except (ServerError, ClientError, LedgerError, OSError) as error:
            self._failed = seen, self._monotonic()
            log.error("the release that was published last is not taken yet: %s", error)
            return
        self._seen, self._failed = seen, None

    def _pointers(self) -> dict[str, int]:
        """When each task's pointer to its current release was last written, in ns."""
        found = (self._home / "releases").glob(f"*/{CURRENT}")
        return {path.parent.name: path.stat().st_mtime_ns for path in found}
