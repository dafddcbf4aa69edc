"""The consortium's ledger as the join desk and the operator's commands see it: how it stands, and how they append."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.commands.places import Standing, reading, standing
from ledger.commands.placing import own_log, put
from ledger.homes import LEDGER, SIGNING_KEY, Settings, database_of
from ledger.keys import SigningKey
from ledger.rules import COORDINATOR
from ledger.service.errors import Unreachable

if TYPE_CHECKING:
    from ledger.rules import State


class LedgerAccess:
    """Reads the database beside the process that serves it, and appends through that process. Threads may share it."""

    def __init__(self, home: Path) -> None:
        """The ledger of a coordinator's home; it need not be founded yet."""
        self._home = home
        self._known: tuple[int, Standing] | None = None
        self._lock = threading.Lock()

    @property
    def founded(self) -> bool:
        """Whether there is one."""
        return bool(Settings.load(self._home).founding)

    def standing(self) -> Standing | None:
        """How it stands now; None before the founding.

        Raises:
            StoreError, Damaged: it cannot be read.
        """
        if not self.founded:
            return None
        with self._lock:
            with reading(database_of(self._home)) as store:
                size = store.size()
            if self._known is None or self._known[0] != size:
                at = standing(self._home)
                self._known = (at.state.size, at)
            return self._known[1]

    def state(self) -> State | None:
        """What the rules make of it; None before the founding."""
        at = self.standing()
        return None if at is None else at.state

    def founding_entries(self) -> tuple[str, list[bytes]]:
        """The log's name and its founding entries; nothing before the founding."""
        settings = Settings.load(self._home)
        if not settings.founding:
            return "", []
        with reading(database_of(self._home)) as store:
            first = store.entries(0, store.size() and 1)
            size = _founding_size(settings.origin, first)
            return settings.origin, store.entries(0, size)

    def append(self, statement: bytes) -> int:
        """Put a statement by the coordinator on the ledger; returns its entry.

        Through the service; where none answers, straight into the database.

        Raises:
            Refused: a rule forbids it.
            StoreError, Unreachable: neither can be used.
        """
        key = SigningKey.load(self._home / SIGNING_KEY)
        try:
            (place,) = put([statement], self._home, "", None, (COORDINATOR, key))
            return place.index
        except Unreachable:
            if not (self._home / LEDGER).is_file():
                raise
        with own_log(self._home) as log:
            (index,) = log.append([statement])
            log.checkpoint()
            return index


def _founding_size(origin: str, first: list[bytes]) -> int:
    from ledger.statement import decode_statement

    founders = decode_statement(first[0]).payload.get("founders") if first else None
    return 1 + founders if isinstance(founders, int) else len(first)
