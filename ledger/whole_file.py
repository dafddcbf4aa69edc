"""A small file that is replaced whole or not at all, whatever ends the process that writes it."""

from __future__ import annotations

import os
from pathlib import Path

from ledger.folder_sync import sync_folder

PRIVATE = 0o600


def write_whole(path: Path, content: bytes | str, *, mode: int = PRIVATE, durable: bool = True) -> None:
    """Put a file in place of what was there. Several processes may do so at once: the last one's stays.

    Args:
        content: text is written as UTF-8.
        mode: of the file, before the process's umask.
        durable: whether it must outlive a power cut; what only processes tell each other need not, and costs less.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    raw = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(raw)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)
