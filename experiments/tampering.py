"""Show that an audit sees what it should: recompute a round from copies, then flip one byte of each copy."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from clients.masking.contribution import Header
from experiments.errors import ExperimentError
from ledger.audit import audit
from ledger.policy import Policy
from server.artifacts import ArtifactStore
from server.audit import ARTIFACTS, audit_round
from server.audit_report import RoundAudit
from server.coordinator import LEDGER_FILE
from server.ledger_copy import LedgerCopy

_SNIPPET_BYTES = 48  # of an entry, to find it in the database file


def audit_and_tamper(home: Path, policy: Policy, copy: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """Audit copies of a coordinator's ledger and artifacts, whole and with one byte flipped.

    Args:
        home: the coordinator's home; only read.
        policy: whom the auditor trusts.
        copy: where the copies are made; must not exist.
    """
    ledger, store = copy / LEDGER_FILE, copy / ARTIFACTS
    shutil.copytree(home / ARTIFACTS, store)
    copy_database(home / LEDGER_FILE, ledger)
    whole = audit(ledger, policy)
    read = LedgerCopy.read(ledger, policy)
    last = [one for one in read.rounds.values() if one.aggregate is not None][-1]
    recomputed = audit_round(read.entries, ArtifactStore(store), last.id)
    progress(f"recomputed {_named(recomputed)} from copies of the ledger and the store: {_said(recomputed.problem)}")

    flip_byte(store, _masked_vector(ArtifactStore(store), next(iter(last.contributions.values())).commit))
    tampered_store = audit_round(read.entries, ArtifactStore(store), last.id)
    progress(f"with one byte of the store flipped: {_said(tampered_store.problem)}")

    flip_entry(ledger, read.entries[last.entry])
    tampered_ledger = audit(ledger, policy)
    found = tampered_ledger.problems[0] if tampered_ledger.problems else None
    progress(f"with one byte of the ledger flipped: {_said(found)}")
    return {
        "ledger_ok": whole.ok,
        "recomputed": recomputed.ok,
        "recomputed_round": _named(recomputed),
        "tamper_detected": not tampered_store.ok and not tampered_ledger.ok,
        "store_tampered": tampered_store.problem,
        "ledger_tampered": found,
    }


def _named(one: RoundAudit) -> str:
    return f"round {one.number} of {one.task}"


def _said(problem: str | None) -> str:
    return "the same bytes" if problem is None else f"caught: {problem}"


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of an SQLite database that may be in use, as one file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")


def _masked_vector(store: ArtifactStore, commit: bytes) -> bytes:
    """Name of the masked vector that a contribution's commitment leads to."""
    return Header.from_bytes(store.get(commit, "header")).masked


def flip_byte(store: Path, artifact: bytes) -> None:
    """Flip one bit in the middle of a stored artifact."""
    path = ArtifactStore(store).path(artifact)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_entry(database: Path, entry: bytes) -> None:
    """Flip one bit of an entry, in the database's file itself.

    Raises:
        ExperimentError: the entry is not found in the file.
    """
    content = bytearray(database.read_bytes())
    middle = len(entry) // 2
    at = content.find(entry[middle : middle + _SNIPPET_BYTES])
    if at < 0:
        raise ExperimentError(f"{database}: the entry was not found in the file")
    content[at] ^= 1
    database.write_bytes(content)
