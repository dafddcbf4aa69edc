"""A member's home follows the consortium's policy while it is up: what a quorum has changed is fetched by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from clients.errors import ClientError
from clients.taking_policy import fetch_policy
from ledger.errors import LedgerError
from ledger.homes import MIRROR
from ledger.store import Store

LOOK_S = 10.0
"""How often it looks whether the mirror has grown."""
RETRY_S = 60.0
"""How soon it asks the desk again, which may not have the policy in place yet."""


class PolicyWatch:
    """Looks when it is asked to, and does nothing while nothing has changed.

    Args:
        say: told one line when a policy was taken, or could not be.
    """

    def __init__(
        self,
        home: Path,
        now: Callable[[], float],
        say: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._now, self._say, self._monotonic = home, now, say, monotonic
        self._size, self._next_s, self._trouble = 0, 0.0, ""

    def look(self) -> None:
        """Take the policy that the home's mirror names, if the home has another."""
        if self._monotonic() < self._next_s:
            return
        self._next_s = self._monotonic() + LOOK_S
        try:
            size = self._entries()
            if size == self._size:
                return
            taken = fetch_policy(self._home, self._now, replace_specs=False)
        except (ClientError, LedgerError, OSError) as error:  # a renewal is not to wait for what is wrong here
            self._next_s = self._monotonic() + RETRY_S
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._say(f"{error}; trying again every {RETRY_S:.0f} s")
            return
        self._size, self._trouble = size, ""
        if taken is not None:
            self._say(f"{self._home} has taken the policy on which the members have agreed")

    def _entries(self) -> int:
        path = self._home / MIRROR
        if not path.is_file():
            return 0
        store = Store(path, read_only=True)
        try:
            return store.size()
        finally:
            store.close()
