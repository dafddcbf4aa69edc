"""Releases on their way to the firms: each firm is sent the current one of a task once, when it is there to take it.

Which firm has taken which is kept beside the releases, so that one that was away is sent it when it comes back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from clients.messages import RELEASE
from clients.model_files import FILES, MEMORY
from server.cohort import Cohort
from server.coordinator import write_json
from server.recording import Record
from server.releases import CURRENT, MANIFEST, STATEMENT

TAKEN = "taken.json"


class Delivery:
    """The current release of one task, as it goes to the firms of a cohort."""

    def __init__(self, home: Path, task_name: str, record: Record) -> None:
        self._folder = home / "releases" / task_name
        self._task_name = task_name
        self._record = record

    def lacking(self, members: Sequence[str]) -> list[str]:
        """Those of the members that have not taken the current release, where there is one that is not revoked."""
        model = self._current()
        return [] if model is None else [member for member in members if member not in self._taken(model)]

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
        write_json(self._folder / TAKEN, {"model": model, "firms": sorted({*self._taken(model), *took})})
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
        path = self._folder / TAKEN
        known = json.loads(path.read_bytes()) if path.exists() else {}
        return set(known.get("firms", ())) if known.get("model") == model else set()
