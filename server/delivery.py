"""Releases on their way to the firms: each firm is sent the current one of a task once, when it is there to take it.

Which firm has taken which is in the coordinator's store, so that one that was away is sent it when it comes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from clients.messages import RELEASE
from clients.model_files import FILES, MEMORY
from server.cohort import Cohort
from server.coordinator import Coordinator
from server.recording import Record
from server.releases import CURRENT, MANIFEST, STATEMENT
from server.store import PREFIX, Part

TAKEN = "taken.json"
"""Where the firms stood before there was a store: read once, and removed."""
DELIVERIES = sa.Table(
    f"{PREFIX}deliveries",
    sa.MetaData(),
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),  # in hexadecimal
    sa.Column("member", sa.Text, primary_key=True),
)
_PART = Part("deliveries", DELIVERIES.metadata)


class Delivery:
    """The current release of one task, as it goes to the firms of a cohort."""

    def __init__(self, coordinator: Coordinator, task_name: str, record: Record) -> None:
        self._folder = coordinator.home / "releases" / task_name
        self._store = coordinator.store
        self._task_name = task_name
        self._record = record

    def lacking(self, members: Sequence[str]) -> list[str]:
        """Those of the members that have not taken the current release, where there is one that is not revoked."""
        model = self._current()
        if model is None:
            return []
        taken = self._taken(model)
        return [member for member in members if member not in taken]

    def send(self, cohort: Cohort, members: Sequence[str]) -> list[str]:
        """Send the current release to those that lack it and whose mirrors have all entries; returns who took it.

        A refusal is noted with the cohort's others; that firm is asked again the next time.
        """
        model = self._current()
        lacking = [member for member in self.lacking(members) if self._record.follows(member)]
        if model is None or not lacking:
            return []
        folder = self._folder / model
        names = (*FILES, MEMORY) if (folder / MEMORY).exists() else FILES
        request = {
            "task": self._task_name,
            "files": {name: (folder / name).read_bytes() for name in names},
            "manifest": (folder / MANIFEST).read_bytes(),
            "statement": (folder / STATEMENT).read_bytes(),
            "receipt": self._receipt(bytes.fromhex(model)),
        }
        replies = cohort.ask(RELEASE, dict.fromkeys(lacking, request), 0)
        took = sorted(member for member, reply in replies if reply["model"].hex() == model)
        self._keep(model, took)
        return took

    def _receipt(self, model: bytes) -> bytes:
        """One under the newest final checkpoint, whose members the firms know: the release's own may be of others."""
        known = self._record.ledger.state.releases.get(model)
        assert known is not None
        return self._record.ledger.receipt(known.index)

    def _current(self) -> str | None:
        pointer = self._folder / CURRENT
        if not pointer.exists():
            return None
        model = pointer.read_text(encoding="ascii").strip()
        known = self._record.ledger.state.releases.get(bytes.fromhex(model))
        return None if known is None or known.revoked is not None else model

    def _taken(self, model: str) -> set[str]:
        """The firms that have this release."""
        before = self._folder / TAKEN
        if before.exists():
            known = json.loads(before.read_bytes())
            self._keep(known["model"], known["firms"])
            before.unlink()
        found = sa.select(DELIVERIES.c.member).where(self._of(model))
        with self._store.read(_PART) as connection:
            return set(connection.scalars(found))

    def _keep(self, model: str, members: Iterable[str]) -> None:
        with self._store.write(_PART) as connection:
            known = set(connection.scalars(sa.select(DELIVERIES.c.member).where(self._of(model))))
            for member in sorted(set(members) - known):
                connection.execute(sa.insert(DELIVERIES).values(task=self._task_name, model=model, member=member))

    def _of(self, model: str) -> sa.ColumnElement[bool]:
        return sa.and_(DELIVERIES.c.task == self._task_name, DELIVERIES.c.model == model)
