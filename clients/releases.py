"""Releases at a firm: taken when they are final on the ledger that it mirrors, and checked again when they are read.

A release is a folder `releases/<task>/<model hash>` of the firm's home, like the coordinator's, written whole or not at
all. Nothing says which one is current but the ledger: it is the newest that is not revoked there.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.errors import ClientError
from clients.model_files import AVERAGE, FILES, FILES_WITH_MEMORY, MEMORY, file_digests, model_digest, read_vector
from ledger.folder_sync import sync_folder
from ledger.receipt import VerifiedReceipt
from ledger.rules import State

if TYPE_CHECKING:
    from clients.tasks.task import Task

MANIFEST = "manifest.json"
STATEMENT = "publish.cose"
RECEIPT = "publish.receipt"
RELEASES = "releases"
_BESIDE = (MANIFEST, STATEMENT, RECEIPT)
_PUBLICATION = "publish"
_MOST_BYTES = 1 << 30


class ReleaseNotTaken(ClientError):
    """A release that this firm does not take or use; says why."""

    exit_code = 1


class NoReleaseFolder(ReleaseNotTaken):
    """A folder that is not there, or lacks a file of a release."""

    exit_code = 2


@dataclass(frozen=True)
class OfferedRelease:
    """A release as it comes from outside.

    Attributes:
        files: its model files by name.
        manifest: JSON: task spec, rounds, firms, privacy statement, file digests.
        statement: the signed `publish` record that names the model's and the manifest's hash.
        receipt: proof that it is on the ledger.
    """

    files: Mapping[str, bytes]
    manifest: bytes
    statement: bytes
    receipt: bytes

    @classmethod
    def from_folder(cls, folder: Path) -> OfferedRelease:
        """Read a release's folder.

        Raises:
            ReleaseNotTaken: a file is missing, or not a release's.
        """
        try:
            names = (*(FILES_WITH_MEMORY if (folder / MEMORY).exists() else FILES), *_BESIDE)
            if sum((folder / name).stat().st_size for name in names) > _MOST_BYTES:
                raise ReleaseNotTaken(f"{folder}: over {_MOST_BYTES} bytes; that is no release of a model for firms")
            files = {name: (folder / name).read_bytes() for name in names}
        except OSError as error:
            problem = f"{Path(error.filename).name}: {error.strerror}" if error.filename else str(error)
            raise NoReleaseFolder(f"{folder}: not a release's folder: {problem}") from error
        manifest, statement, receipt = (files.pop(name) for name in _BESIDE)
        return cls(files, manifest, statement, receipt)

    @property
    def contents(self) -> dict[str, bytes]:
        """All its files by name."""
        return {**self.files, MANIFEST: self.manifest, STATEMENT: self.statement, RECEIPT: self.receipt}


@dataclass(frozen=True)
class HeldRelease:
    """A release that this firm has taken.

    Attributes:
        model: its hash on the ledger, 32 bytes.
        entry: the ledger's entry that published it.
        parameters: float64[size], what answers: the average of the run's last rounds.
    """

    model: bytes
    entry: int
    manifest: Mapping[str, Any]
    parameters: NDArray[np.float64]


def check_release(task: Task, offered: OfferedRelease, proof: VerifiedReceipt, ledger: State) -> HeldRelease:
    """Hold a release against what the firm knows: its own spec, and what its mirror's entries mean.

    Args:
        proof: what the release's receipt has proved under the policy that the firm trusts.

    Raises:
        ReleaseNotTaken: naming what does not fit.
    """
    name, payload = task.spec.name, proof.statement.payload
    if payload["t"] != _PUBLICATION:
        raise _no(name, f"the statement is a {payload['t']!r} record, not a publication")
    if offered.files.keys() not in (set(FILES), set(FILES_WITH_MEMORY)):
        raise _no(name, f"a model is {', '.join(FILES)}, no more and no less but {MEMORY}")
    model = model_digest(file_digests(offered.files))
    if payload["model"] != model or payload["manifest"] != hashlib.sha256(offered.manifest).digest():
        raise _no(name, "the publication is of another model or manifest; have it sent again")
    _require_published(name, model, proof, ledger)
    manifest = _manifest(name, offered)
    if manifest.get("task") != name or manifest.get("spec_sha256") != task.spec.hash.hex():
        raise _no(name, "it is of another task, or of another version of the task spec than this firm's")
    parameters = read_vector(offered.files[AVERAGE], AVERAGE)
    if parameters.shape != (task.architecture.size,) or not np.isfinite(parameters).all():
        raise _no(name, "the model does not fit the task")
    return HeldRelease(model, proof.index, manifest, parameters)


def _require_published(name: str, model: bytes, proof: VerifiedReceipt, ledger: State) -> None:
    known = ledger.releases.get(model)
    if known is None or known.index != proof.index or known.task != name:
        raise _no(name, "its publication is not in this firm's mirror of the ledger, or is of another task")
    if known.revoked is not None:
        raise _no(name, f"the model {model.hex()[:16]} was revoked at entry {known.revoked}")


def _manifest(name: str, offered: OfferedRelease) -> dict[str, Any]:
    try:
        manifest = json.loads(offered.manifest)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise _no(name, f"{MANIFEST} is no manifest")
    return manifest


def _no(name: str, why: str) -> ReleaseNotTaken:
    return ReleaseNotTaken(f"release of {name}: {why}")


def keep_release(home: Path, task_name: str, model: bytes, offered: OfferedRelease) -> Path:
    """Write a release that was checked, whole or not at all; one that is there and whole stays as it is."""
    folder = home / RELEASES / task_name / model.hex()
    if folder.exists() and _is_same(folder, offered):
        return folder
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name[:16]}.{secrets.token_hex(8)}")
    temporary.mkdir(mode=0o700)
    try:
        for name, content in offered.contents.items():
            _write(temporary / name, content)
        sync_folder(temporary)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        os.replace(temporary, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_same(folder: Path, offered: OfferedRelease) -> bool:
    try:
        held = OfferedRelease.from_folder(folder)
    except ReleaseNotTaken:
        return False
    return replace(held, receipt=b"") == replace(offered, receipt=b"")  # receipts of one entry may differ


def held_release(home: Path, task: Task, ledger: State) -> HeldRelease:
    """The newest release of a task that this firm has taken and that is not revoked, checked file by file.

    Raises:
        ReleaseNotTaken: there is none, or its files are not what was published.
    """
    name, revoked = task.spec.name, 0
    published = sorted(
        (one for one in ledger.releases.values() if one.task == name), key=lambda one: one.index, reverse=True
    )
    for one in published:
        folder = home / RELEASES / name / one.model.hex()
        if not folder.exists():
            continue
        if one.revoked is not None:
            revoked += 1
            continue
        return _read(folder, task, one.model, one.manifest, one.index)
    if revoked:
        raise _no(name, "what this firm has taken was revoked; wait for the next release")
    raise _no(
        name,
        "this firm has taken none yet; it comes with a training run, or take one from a folder: "
        "artesian firm take-release DIR",
    )


def _read(folder: Path, task: Task, model: bytes, manifest: bytes, entry: int) -> HeldRelease:
    offered = OfferedRelease.from_folder(folder)
    whole = model_digest(file_digests(offered.files)) == model
    if not whole or hashlib.sha256(offered.manifest).digest() != manifest:
        raise ReleaseNotTaken(f"{folder}: the files are not what was published; delete the folder and take it again")
    parameters = read_vector(offered.files[AVERAGE], AVERAGE)
    if parameters.shape != (task.architecture.size,):
        raise _no(task.spec.name, "the model does not fit the task")
    return HeldRelease(model, entry, _manifest(task.spec.name, offered), parameters)
