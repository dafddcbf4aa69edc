"""Artifacts by content: every file is named by its SHA-256 and checked against it whenever it is read."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ledger.folder_sync import sync_folder
from server.errors import ServerError


class ArtifactMissing(ServerError):
    """The store does not have this artifact.

    Attributes:
        artifact: its SHA-256.
    """

    exit_code = 1

    def __init__(self, message: str, artifact: bytes) -> None:
        super().__init__(message)
        self.artifact = artifact


class ArtifactDamaged(ServerError):
    """An artifact's bytes are not those of its name."""

    exit_code = 1


class ArtifactStore:
    """A folder of artifacts, or memory where `folder` is None. Nothing is ever half-written."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: dict[bytes, bytes] = {}

    def put(self, content: bytes) -> bytes:
        """Store an artifact durably; returns its SHA-256 (32 bytes)."""
        return self.put_all([content])[0]

    def put_all(self, contents: Iterable[bytes]) -> list[bytes]:
        """Store several artifacts durably; returns their SHA-256 in order."""
        names, folders = [], set()
        for content in contents:
            name = hashlib.sha256(content).digest()
            names.append(name)
            if self._folder is None:
                self._memory[name] = content
            elif not self._holds(name, content):
                folders.add(self._write(self.path(name), content))
        for folder in folders:
            sync_folder(folder)
        return names

    def get(self, name: bytes, what: str = "artifact") -> bytes:
        """The artifact of this SHA-256.

        Raises:
            ArtifactMissing, ArtifactDamaged: `what` says what it was needed for.
        """
        content: bytes | None
        if self._folder is None:
            content = self._memory.get(name)
        else:
            try:
                content = self.path(name).read_bytes()
            except FileNotFoundError:
                content = None
        if content is None:
            raise ArtifactMissing(f"{what}: the store has no artifact {name.hex()}", name)
        if hashlib.sha256(content).digest() != name:
            raise ArtifactDamaged(f"{what}: the stored artifact {name.hex()} has been changed; restore it from a copy")
        return content

    def has(self, name: bytes) -> bool:
        """Whether there is an artifact of this SHA-256; its bytes are not looked at."""
        return name in self._memory if self._folder is None else self.path(name).is_file()

    def size(self, name: bytes) -> int:
        """Bytes of an artifact; 0 where it is not there."""
        if self._folder is None:
            return len(self._memory.get(name, b""))
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return 0

    def delete(self, names: Iterable[bytes]) -> int:
        """Delete artifacts for good; those that are not there are passed over.

        Returns:
            The bytes that were freed. When it returns, a power failure brings nothing back.
        """
        freed, folders = 0, set()
        for name in names:
            freed += self.size(name)
            if self._folder is None:
                self._memory.pop(name, None)
            else:
                with suppress(FileNotFoundError):
                    self.path(name).unlink()
                    folders.add(self.path(name).parent)
        for folder in folders:
            sync_folder(folder)
        return freed

    def path(self, name: bytes) -> Path:
        """Where an artifact lies on disk."""
        assert self._folder is not None
        text = name.hex()
        return self._folder / text[:2] / text

    def _holds(self, name: bytes, content: bytes) -> bool:
        """Whether the artifact is there, undamaged; a damaged one is mended by writing it again."""
        path = self.path(name)
        return path.exists() and path.read_bytes() == content

    def _write(self, path: Path, content: bytes) -> Path:
        """Write a file whole or not at all; returns its folder, which keeps the name only once it is synced too."""
        new = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        if new:
            sync_folder(path.parent.parent)
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
        return path.parent
