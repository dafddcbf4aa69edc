"""Releases: published versions of a task's model, with their manifest, their place on the ledger and their receipt.

A release is a folder `releases/<task>/<model hash>` of the coordinator's home; `releases/<task>/current` names the one
that answers banks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clients.model_files import FILES, MEMORY, file_digests, model_digest
from clients.releases import MANIFEST as MANIFEST
from clients.releases import RECEIPT as RECEIPT
from clients.releases import STATEMENT as STATEMENT
from clients.tasks.spec import TaskSpec, parse_spec
from ledger.statement import decode_statement
from server.coordinator import CONFIG_FILE, Coordinator, load_coordinator_config, write_file, write_json
from server.descent import Descent
from server.errors import ServerError
from server.recording import Record

if TYPE_CHECKING:
    from server.scoring.desk import PublishedScorer

CURRENT = "current"


class ReleaseDamaged(ServerError):
    """A release's files are not what was published."""

    exit_code = 1


class ReleaseRefused(ServerError):
    """A model that may not be published: it was, from another round, or it was revoked."""

    exit_code = 1


@dataclass(frozen=True)
class Release:
    """A published model.

    Attributes:
        task: the task's name.
        model: its hash on the ledger, 32 bytes.
        folder: where it lies.
        descent: its parameters; what answers is `descent.average`.
        manifest: task spec, rounds, firms, privacy statement, file digests.
    """

    task: str
    model: bytes
    folder: Path
    descent: Descent
    manifest: Mapping[str, Any]


def publish(
    home: Coordinator,
    task_name: str,
    descent: Descent,
    round_id: bytes,
    *,
    facts: Mapping[str, Any],
    record: Record | None,
    sign: Callable[..., bytes],
    witness: Callable[[], None],
) -> Release:
    """Write a release, put it on the ledger, and make it the current one when that is final.

    Called again after it was interrupted, it goes on where it stopped; the ledger takes a publication once.

    Args:
        sign: makes the signed statement of a record: kind, subject, fields.
        witness: has the firms cosign.

    Raises:
        ReleaseRefused: this very model was published before, from another round, or revoked.
        NotWitnessed: the publication did not become final; the current release stays what it was.
    """
    files = descent.files()
    digests = file_digests(files)
    model = model_digest(digests)
    folder = home.home / "releases" / task_name / model.hex()
    for name, content in files.items():
        write_file(folder / name, content)
    known = None if record is None else record.ledger.state.releases.get(model)
    if known is not None and (known.revoked is not None or known.round != round_id):
        raise ReleaseRefused(f"{task_name}: the model {model.hex()[:16]} was published before; train it further")
    if known is None:
        manifest = _manifest(home.spec(task_name), task_name, digests, round_id, facts)
        content = write_json(folder / MANIFEST, manifest)
        hashes = {"model": model, "manifest": home.artifacts.put(content)}
        statement = b"" if record is None else sign("publish", round_id.hex(), round=round_id, **hashes)
    else:  # a run that stopped after it put the publication on the ledger
        assert record is not None
        content = home.artifacts.get(known.manifest, "manifest of the release")
        manifest = json.loads(content)
        write_file(folder / MANIFEST, content)
        (statement,) = record.ledger.entries(known.index, known.index + 1)
    if record is not None:
        (index,) = record.append([statement])
        witness()
        record.require_final()
        write_file(folder / STATEMENT, statement)
        write_file(folder / RECEIPT, record.ledger.receipt(index))
    write_file(folder.parent / CURRENT, f"{model.hex()}\n".encode())
    return Release(task_name, model, folder, descent, manifest)


def _manifest(
    spec: TaskSpec, task_name: str, digests: Mapping[str, bytes], round_id: bytes, facts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "task": task_name,
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "spec_sha256": spec.hash.hex(),
        "model": model_digest(digests).hex(),
        "files": {name: digest.hex() for name, digest in sorted(digests.items())},
        "round": round_id.hex(),
        **facts,
    }


def is_current(home: Path, task_name: str, model: bytes | None) -> bool:
    """Whether this model is the task's current release."""
    pointer = home / "releases" / task_name / CURRENT
    return model is not None and pointer.exists() and pointer.read_text(encoding="ascii").strip() == model.hex()


def current_release(home: Path, task_name: str) -> Release | None:
    """The release that answers for a task, re-checked file by file; None if nothing was published.

    Raises:
        ReleaseDamaged: a file is missing or changed.
    """
    pointer = home / "releases" / task_name / CURRENT
    if not pointer.exists():
        return None
    folder = pointer.parent / pointer.read_text(encoding="ascii").strip()
    try:
        names = (*FILES, MEMORY) if (folder / MEMORY).exists() else FILES
        files = {name: (folder / name).read_bytes() for name in names}
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise ReleaseDamaged(f"{folder}: the release cannot be read: {error}") from error
    model = model_digest(file_digests(files))
    if model.hex() != folder.name:
        raise ReleaseDamaged(f"{folder}: the files are not the model of that name; restore them from a copy")
    return Release(task_name, model, folder, Descent.from_files(files), manifest)


def release_spec(release: Release) -> TaskSpec:
    """The task spec that a release was trained for, from its manifest.

    Raises:
        ReleaseDamaged: it is not the spec whose hash the manifest names.
    """
    spec = parse_spec(dict(release.manifest["spec"]), str(release.folder / MANIFEST))
    if spec.hash.hex() != release.manifest["spec_sha256"]:
        raise ReleaseDamaged(f"{release.folder / MANIFEST}: the spec is not the one of its hash")
    return spec


def load_scorers(home: Path) -> dict[str, PublishedScorer]:
    """A scorer for every credit task with a current release whose publication is on the ledger.

    Raises:
        ReleaseDamaged: a release is not what was published.
    """
    scorers = {}
    for task in load_coordinator_config(home / CONFIG_FILE).task:
        release = current_release(home, task.name)
        if release is None or not (release.folder / RECEIPT).exists():
            continue
        spec = release_spec(release)
        if spec.kind == "credit":
            scorers[task.name] = _scorer(release, spec)
    return scorers


def _scorer(release: Release, spec: TaskSpec) -> PublishedScorer:
    from clients.tasks.credit_scorer import CreditScorer  # what scores is large: only who has a release to score with
    from server.scoring.desk import PublishedScorer

    statement = (release.folder / STATEMENT).read_bytes()
    manifest = hashlib.sha256((release.folder / MANIFEST).read_bytes()).digest()
    payload = decode_statement(statement).payload
    if (payload["model"], payload["manifest"]) != (release.model, manifest):
        raise ReleaseDamaged(f"{release.folder}: the publication is of another model or manifest")
    scorer = CreditScorer(spec, release.descent.average)
    return PublishedScorer(scorer, release.model, (release.folder / RECEIPT).read_bytes(), statement)
