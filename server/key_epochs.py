"""The masking epochs of a run: firms' keys stand on the ledger before secrets are drawn with them, and end in time."""

from __future__ import annotations

from collections.abc import Callable

from clients.masking.announcement import roster_on_ledger
from ledger.rules import Refused
from server.cohort import Cohort
from server.recording import Record
from server.witnessing import bring_up_to_date

_HEARD_ONCE_S = 86_400  # a firm's limit on the age of an epoch is a day or more

_MOST_BELIEVED = 2**30
"""Half of the epochs that firms go along with. A member can put a key of any epoch on the ledger by itself; one that is
further than this is not followed, so that none can lead the others to where no epoch is left."""


def last_epoch(record: Record | None) -> int:
    """The highest epoch of a key on the ledger, of those that are believed; 0 where there is none."""
    if record is None:
        return 0
    known = (key.epoch for own in record.ledger.state.epoch_keys.values() for key in own.values())
    return max((epoch for epoch in known if epoch < _MOST_BELIEVED), default=0)


class KeyEpochs:
    """Begins a run's masking epochs, and says when the next one is due."""

    def __init__(self, cohort: Cohort, record: Record | None, now: Callable[[], float]) -> None:
        self._cohort = cohort
        self._record = record
        self._now = now
        self._heard: dict[str, float] = {}
        self._begun = 0

    def has_begun(self, epoch: int) -> bool:
        """Whether secrets have been drawn for this epoch."""
        return self._begun == epoch

    def take_up(self, epoch: int) -> None:
        """Go on in an epoch whose secrets were drawn before this process began."""
        self._begun = epoch

    def begin(self, epoch: int) -> None:
        """Have the cohort that has met draw the epoch's pair secrets; with a ledger its keys go there first.

        Raises:
            NotWitnessed: the keys do not become final.
            RunFailed: no firm set up its keys.
        """
        self._cohort.pair(epoch, "" if self._record is None else self._on_ledger(self._record, epoch))
        self._begun = epoch

    def are_over(self, epoch: int) -> bool:
        """Whether the epoch has begun and the keys of a firm have ended: by its own word, or by the ledger's.

        A firm that says so is heard once a day, so that none can have new keys put on the ledger in every round.
        """
        if not self.has_begun(epoch):
            return False
        now, said = self._now(), self._cohort.take_ended()
        heard = [member for member in said if now - self._heard.get(member, -_HEARD_ONCE_S) >= _HEARD_ONCE_S]
        self._heard.update(dict.fromkeys(heard, now))
        if self._record is None:
            return bool(heard)
        good = set(roster_on_ledger(self._record.ledger.state, epoch))
        return bool(heard) or not good.issuperset(self._cohort.roster)

    def _on_ledger(self, record: Record, epoch: int) -> str:
        """Put the announced keys there, all at once, and make them final; returns the final checkpoint."""
        announced = self._cohort.announcements
        try:
            record.append(list(announced.values()))
        except Refused:  # then each by itself: one firm must not keep out the others
            for member, statement in announced.items():
                self._append_one(record, member, statement)
        bring_up_to_date(self._cohort, record, 0)
        if not all(record.follows(member) for member in announced):
            bring_up_to_date(self._cohort, record, 0)  # who does not mirror the keys now has none in this epoch
        good = set(roster_on_ledger(record.ledger.state, epoch))
        self._cohort.leave_out([entry.member for entry in self._cohort.roster if entry not in good])
        return record.require_final()

    def _append_one(self, record: Record, member: str, statement: bytes) -> None:
        try:
            record.append([statement])
        except Refused as error:
            self._cohort.note(0, member, str(error))
