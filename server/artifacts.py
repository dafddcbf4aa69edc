"""Artifacts by content: every file is named by its SHA-256 and checked against it whenever it is read."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from server.errors import ServerError


class ArtifactMissing(ServerError):
    """The store does not have this artifact."""

    exit_code = 1


class ArtifactDamaged(ServerError):
    """An artifact's bytes are not those of its name."""

    exit_code = 1


class ArtifactStore:
    """A folder of artifacts, or memory where `folder` is None. Nothing is ever overwritten or half-written."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: dict[bytes, bytes] = {}

    def put(self, content: bytes) -> bytes:
        """Store an artifact durably; returns its SHA-256 (32 bytes)."""
        return self.put_all([content])[0]

    def put_all(self, contents: Iterable[bytes]) -> list[bytes]:
        """Store several artifacts durably; returns their SHA-256 in order."""
        names = []
        for content in contents:
            name = hashlib.sha256(content).digest()
            names.append(name)
            if self._folder is None:
                self._memory[name] = content
            elif not self.path(name).exists():
                self._write(self.path(name), content)
        return names

    def get(self, name: bytes, what: str = "artifact") -> bytes:
        """The artifact of this SHA-256.

        Raises:
            ArtifactMissing, ArtifactDamaged: `what` says what it was needed for.
        """
        if self._folder is None:
            content = self._memory.get(name)
        else:
            content = self.path(name).read_bytes() if self.path(name).exists() else None
        if content is None:
            raise ArtifactMissing(f"{what}: the store has no artifact {name.hex()}")
        if hashlib.sha256(content).digest() != name:
            raise ArtifactDamaged(f"{what}: the stored artifact {name.hex()} has been changed; restore it from a copy")
        return content

    def path(self, name: bytes) -> Path:
        """Where an artifact lies on disk."""
        assert self._folder is not None
        text = name.hex()
        return self._folder / text[:2] / text

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
