"""One small file of a firm's own: written whole or not at all, for its owner alone; in memory without a path."""

from __future__ import annotations

import os
from pathlib import Path

from ledger.folder_sync import sync_folder


class PrivateFile:
    """Bytes that outlive a crash, mode 0600. What a writer that was killed has left is gone with the next write."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._memory: bytes | None = None

    def read(self) -> bytes | None:
        """What was written last; None if nothing is there."""
        if self._path is None:
            return self._memory
        return self._path.read_bytes() if self._path.exists() else None

    def write(self, content: bytes) -> None:
        """Put `content` in place of what was there."""
        if self._path is None:
            self._memory = content
            return
        self._remove_left()
        temporary = self._path.with_name(f".{self._path.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
        sync_folder(self._path.parent)

    def destroy(self) -> None:
        """Forget it, and what a writer that was killed may have left of it."""
        self._memory = None
        if self._path is not None:
            self._remove_left()
            self._path.unlink(missing_ok=True)

    def _remove_left(self) -> None:
        assert self._path is not None
        for left in self._path.parent.glob(f".{self._path.name}.*"):  # of earlier releases by the writer's pid
            left.unlink(missing_ok=True)
