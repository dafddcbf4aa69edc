"""Where Flower's files are in a firm's home, and what its processes there share."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ledger.secret_files import KeyFileError, read_secret_file, write_secret_file

LOOPBACK = "127.0.0.1"
HEARTBEAT_S = 15
"""Flower counts a node, or a task's process, as gone after two of these."""

_SECRET_BYTES = 32


class NodeHome:
    """The folders `flower/` and `run/` of a firm's home; they and the secret are made when first asked for."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def folder(self) -> Path:
        folder = _made(self.home / "flower")
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
        return folder

    @property
    def run(self) -> Path:
        return _made(self.home / "run")

    @property
    def socket(self) -> Path:
        """Where the SuperNode hands out tasks: a Unix socket, in a folder that no other user can enter."""
        return self.folder / "tasks.socket"

    @property
    def executor_ready(self) -> Path:
        return self.run / "executor.ready"

    @property
    def secret(self) -> bytes:
        """Who signs with it may take this firm's tasks. 32 bytes."""
        return secret_file(self.folder / "executor.secret", "the secret of the executor")

    @property
    def environment(self) -> dict[str, str]:
        """What Flower's processes must find set."""
        return {**flower_environment(), "FLWR_HOME": str(self.folder)}


def flower_environment() -> dict[str, str]:
    """No telemetry, nothing installed at run time, and no proxy between processes of one machine."""
    local = ",".join(filter(None, (os.environ.get("NO_PROXY", ""), LOOPBACK, "localhost")))
    return {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "NO_PROXY": local,
        "no_proxy": local,
        "PYTHONUNBUFFERED": "1",
    }


def secret_file(path: Path, what: str) -> bytes:
    """The secret in a file, which is made, for its owner alone, if it is missing.

    Raises:
        KeyFileError: others can read it, or it is not of 32 bytes.
    """
    if not path.exists():
        try:
            write_secret_file(path, secrets.token_bytes(_SECRET_BYTES), what)
        except KeyFileError:
            if not path.exists():  # else another process of this home was faster
                raise
    secret = read_secret_file(path, what)
    if len(secret) != _SECRET_BYTES:
        raise KeyFileError(f"{path}: {what} must have {_SECRET_BYTES} bytes; remove it, and start again")
    return secret


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
