"""What stands on the ledger, for everyone in the service's event loop who waits for it to change."""

import asyncio
import contextlib
from dataclasses import dataclass

from ledger.electorate import Membership
from ledger.rules import State


@dataclass(frozen=True)
class View:
    """What stands on the ledger at some moment.

    Attributes:
        state: what the rules make of all durable entries.
        checkpoint: the latest checkpoint, empty before the first.
        checkpoint_size: how many entries it covers.
        final: the largest final checkpoint with its cosignatures, empty before the first.
        final_size: how many entries that covers.
        settled: who belongs by what is final; None before the founding is complete.
    """

    state: State
    checkpoint: str = ""
    checkpoint_size: int = 0
    final: str = ""
    final_size: int = 0
    settled: Membership | None = None

    def is_news_after(self, other: "View") -> bool:
        """Whether there is anything to tell whoever knows `other`; one more cosignature on what is final is not."""
        return (self.checkpoint_size, self.final_size) != (other.checkpoint_size, other.final_size)


class Board:
    """Keeps the latest view only: a slow reader skips what has passed, and makes nothing pile up.

    Attributes:
        view: the latest.
        closed: whether no other will come.
    """

    def __init__(self, view: View) -> None:
        """Start with `view`. A board lives in one event loop."""
        self.view = view
        self.closed = False
        self._changed = asyncio.Event()

    def post(self, view: View) -> None:
        """Show a newer view, and wake whoever waits if it is news."""
        news = view.is_news_after(self.view)
        self.view = view
        if news:
            self._wake()

    def close(self) -> None:
        """Wake whoever waits for the last time."""
        self.closed = True
        self._wake()

    async def change(self, seen: View, timeout_s: float) -> View:
        """Wait until there is news after `seen`, the board is closed, or the time is over; give the latest."""
        if not self.view.is_news_after(seen) and not self.closed and timeout_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_s)
        return self.view

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
