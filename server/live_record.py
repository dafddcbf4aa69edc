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
    from server.round_journal import RoundJournal

_POLL_S = 0.05
_QUIET_S = 2.0
"""A wait for finality that is no longer is not worth two writes to the journal."""


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
        journal: RoundJournal | None = None,
    ) -> None:
        """See `server.ledger_service.LedgerService` for the waits; the `journal` is told of long ones."""
        super().__init__(ledger)
        self._served = ledger
        self._final_s, self._witness_s = final_s, witness_s
        self._monotonic, self._sleep, self._now, self._journal = monotonic, sleep, now, journal
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
        end_s = self._monotonic() + self._final_s
        is_final = self._served.wait_final(size, min(_QUIET_S, self._final_s)) or self._wait_told(size, end_s)
        note = self._served.final() if is_final else None
        if note is None:
            raise NotWitnessed(self._behind(size))
        return note

    def _wait_told(self, size: int, end_s: float) -> bool:
        """Wait until `end_s`, by the monotonic clock, while the journal says for whose witnesses."""
        if self._journal is None:
            return self._served.wait_final(size, max(0.0, end_s - self._monotonic()))
        try:
            late = [member for member, has in self._served.cosigned()[0].items() if has < size]
        except LedgerError:  # then nobody in particular: the ledger itself does not answer
            late = []
        left_s = max(0.0, end_s - self._monotonic())
        self._journal.waits("finality", late, left_s)
        try:
            return self._served.wait_final(size, left_s)
        finally:
            self._journal.waits_no_more()

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


def open_record(coordinator: Coordinator, journal: RoundJournal | None = None) -> Record:
    """The ledger for a run: opened here, or as it is served; the `journal` is told of long waits.

    Raises:
        LedgerError: it cannot be opened or reached.
    """
    service = coordinator.config.ledger_service
    if service is None:
        return MessagedRecord(coordinator.log)
    return LiveRecord(coordinator.served, final_s=service.final_s, witness_s=service.witness_s, journal=journal)


def wait_until_final(coordinator: Coordinator) -> None:
    """Outside of a run: wait until live witnesses have made everything final; without them it happens in the next run.

    Raises:
        NotWitnessed: they do not in time.
    """
    record = open_record(coordinator)
    if isinstance(record, LiveRecord):
        record.require_final()
