"""A Unix socket in a folder of this user's own: who can reach it, and who can stand in for it, is this user alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_LONGEST = 100  # sockaddr_un has room for 107 bytes, see unix(7)
_folders = dict[Path, int]()


def listen_at(path: Path, backlog: int = 64) -> socket.socket:
    """Listen there, in place of a process that is gone.

    Raises:
        OSError: the folder is not this user's alone, or the socket cannot be made.
    """
    require_own(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(reachable(path))
        path.chmod(0o600)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def require_own(folder: Path) -> None:
    """Insist that a folder is this user's and that nobody else can enter it.

    Raises:
        PermissionError: it is not.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder}: must be this user's alone; run: chmod 700 {folder}")


def reachable(path: Path) -> str:
    """A name of the socket that is short enough: through an open folder where the path is too long (Linux)."""
    if len(os.fsencode(path)) <= _LONGEST:
        return str(path)
    if path.parent not in _folders:
        _folders[path.parent] = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{_folders[path.parent]}/{path.name}"
