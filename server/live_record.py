"""A run's record on a served ledger, which members' live witnesses make final while the run waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ledger.errors import LedgerError
from server.coordinator import Coordinator
from server.recording import MessagedRecord, NotWitnessed, Record

if TYPE_CHECKING:
    from ledger.service.served import ServedLedger

_POLL_S = 0.05


class LiveRecord(Record):
    """Waits where `MessagedRecord` sends messages: every member's witness follows the ledger by itself."""

    def __init__(
        self,
        ledger: ServedLedger,
        *,
        final_s: float,
        witness_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        """See `server.ledger_service.LedgerService` for the waits."""
        super().__init__(ledger)
        self._served = ledger
        self._final_s, self._witness_s = final_s, witness_s
        self._monotonic, self._sleep, self._now = monotonic, sleep, now
        self._wanted = 0
        self._cosigned: dict[str, int] = {}
        self._away: set[str] = set()

    def has_mirrored(self, member: str, size: int) -> None:
        """Nothing: what counts is what the member's witness has cosigned."""

    def follows(self, member: str) -> bool:
        """Whether a member's witness had cosigned every entry when they were last waited for."""
        return 0 < self._wanted <= self._cosigned.get(member, 0)

    def require_final(self) -> str:
        """Wait until everything so far is final; returns the checkpoint with its cosignatures.

        Raises:
            NotWitnessed: it is not, after `final_s`; says who is behind, and since when the oldest entry waits.
        """
        return self._final(self._served.size)

    def wait_for(self, members: Sequence[str]) -> None:
        """Wait until everything so far is final, and then a little for the witnesses of `members`.

        A witness that was not there the last time is not waited for again before it has come back.

        Raises:
            NotWitnessed: it does not become final.
        """
        size = self._served.size
        self._final(size)
        end_s = self._monotonic() + self._witness_s
        while True:
            self._cosigned, _ = self._served.cosigned()
            late = {member for member in members if self._cosigned.get(member, 0) < size}
            if late <= self._away or self._monotonic() >= end_s:
                break
            self._sleep(_POLL_S)
        self._away, self._wanted = late, size

    def _final(self, size: int) -> str:
        note = self._served.final() if self._served.wait_final(size, self._final_s) else None
        if note is None:
            raise NotWitnessed(self._behind(size))
        return note

    def _behind(self, size: int) -> str:
        missing = size - self._served.final_size
        said = f"ledger: {missing} of {size} entries are not final after {self._final_s:.0f} s"
        mend = "see that these members' witnesses run, then start again"
        try:
            cosigned, waits_s = self._served.cosigned()
        except LedgerError as error:
            return f"{said}: {error}"
        late = [f"{member} has cosigned {has}" for member, has in sorted(cosigned.items()) if has < size]
        since = datetime.fromtimestamp(self._now() - waits_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return f"{said}: {', '.join(late)}; the oldest waits since {since} UTC; {mend}"


def open_record(coordinator: Coordinator) -> Record:
    """The ledger for a run: opened here, or as it is served.

    Raises:
        LedgerError: it cannot be opened or reached.
    """
    service = coordinator.config.ledger_service
    if service is None:
        return MessagedRecord(coordinator.log)
    return LiveRecord(coordinator.served, final_s=service.final_s, witness_s=service.witness_s)


def wait_until_final(coordinator: Coordinator) -> None:
    """Outside of a run: wait until live witnesses have made everything final; without them it happens in the next run.

    Raises:
        NotWitnessed: they do not in time.
    """
    record = open_record(coordinator)
    if isinstance(record, LiveRecord):
        record.require_final()
