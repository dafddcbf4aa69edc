"""The app bundle (Flower's FAB): what a firm runs of this software, as one file with one hash.

The coordinator submits the bundle of its installed version, a firm compares a run's bundle with that of its own. Both
build it from what is installed: `clients` and `ledger`, sorted, with fixed dates and without compression, whose bytes
would depend on the machine's zlib. Nothing ever runs from a bundle: it says what is asked for.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomli_w

import clients
import ledger
from clients.versions import SOFTWARE

RUN_CONFIG: Mapping[str, str] = {"home": "", "task": "", "measure": "", "ticket": ""}
"""Every key that a run may set, with what it is where a run does not; only the ServerApp reads them."""

MOST_BYTES = 10 << 20
"""Flower's own limit for a bundle."""

_SUFFIXES = frozenset({".py", ".toml", ".proto"})
_DATE = (2024, 10, 1, 0, 0, 0)
_CONFIG, _LIST = "pyproject.toml", ".info/CONTENT"
_MOST_FILES = 5000
_ENTRY = b"PK\1\2"  # before each entry of a zip's list
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_PIECE_BYTES = 64 << 10


@dataclass(frozen=True)
class Bundle:
    """A bundle as it is sent.

    Attributes:
        content: a zip archive.
        sha256: hex, of the content: what a firm approves.
        files: SHA-256 (hex) by name, of everything that is in it.
        version: of the software.
    """

    content: bytes
    sha256: str
    files: Mapping[str, str]
    version: str


@lru_cache(maxsize=1)
def installed_bundle() -> Bundle:
    """The bundle of the version that is installed here."""
    content = _archive({_CONFIG: _config(), **_sources()})
    assert len(content) <= MOST_BYTES, "the bundle has outgrown Flower's limit"
    return Bundle(content, hashlib.sha256(content).hexdigest(), listed_files(content), SOFTWARE)


def listed_files(content: bytes) -> dict[str, str]:
    """SHA-256 (hex) by name of what is in a bundle of anybody's making; of what cannot be read, nothing.

    What is read of it altogether stays under `MOST_BYTES`, whatever it says of itself, in pieces of `_PIECE_BYTES`; of
    the compressors only the one that can be stopped in between. The names are as they stand there: show them, never
    open them.
    """
    if len(content) > MOST_BYTES or content.count(_ENTRY) > _MOST_FILES:
        return {}
    found, left = dict[str, str](), MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                if entry.filename == _LIST or entry.file_size > left or entry.compress_type not in _METHODS:
                    continue
                digest = hashlib.sha256()
                with archive.open(entry) as file:
                    while piece := file.read(_PIECE_BYTES):
                        left -= len(piece)
                        digest.update(piece)
                        if left < 0:
                            return {}
                found[entry.filename] = digest.hexdigest()
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError, struct.error):
        return {}
    return found


def differences(asked: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """One line a file in which two bundles differ: `+` only in the one asked for, `-` only installed, `~` another."""
    signs = {name: "+" if name not in installed else "-" if name not in asked else "~" for name in {*asked, *installed}}
    return [f"{signs[name]} {name}" for name in sorted(signs) if asked.get(name) != installed.get(name)]


def _config() -> bytes:
    app: dict[str, Any] = {
        "publisher": "artesian",
        "components": {"serverapp": "server.app:app", "clientapp": "clients.app:app"},
        "config": dict(RUN_CONFIG),
    }
    project = {"name": "artesian", "version": SOFTWARE, "description": "", "license": "Apache-2.0", "dependencies": []}
    return tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}).encode()


def _sources() -> dict[str, bytes]:
    found = {}
    for package in (clients, ledger):
        root = Path(package.__path__[0])
        for path in root.rglob("*"):
            if path.suffix in _SUFFIXES and path.is_file():
                found[f"{root.name}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return found


def _archive(files: Mapping[str, bytes]) -> bytes:
    """A zip with Flower's list of its contents (name, SHA-256, bits)."""
    lines = [f"{name},{hashlib.sha256(files[name]).hexdigest()},{8 * len(files[name])}" for name in sorted(files)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [*sorted(files.items()), (_LIST, "\n".join(lines).encode())]:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3
            archive.writestr(entry, content)
    return out.getvalue()
