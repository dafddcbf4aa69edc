"""A folder of secrets, each file encrypted under a wrapping key beside them: without that key all of them are gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clients.masking.errors import KeySetupRefused
from ledger.folder_sync import sync_folder

WRAPPING_KEY = "wrapping.key"
_NONCE_BYTES = 12


class SealedFolder:
    """Files of mode 0600 in a folder of mode 0700, written whole or not at all."""

    def __init__(self, folder: Path, random_bytes: Callable[[int], bytes]) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._random_bytes = random_bytes

    def begin(self) -> None:
        """Make the wrapping key, unless there is one."""
        if not self.path(WRAPPING_KEY).exists():
            self.write_plain(WRAPPING_KEY, self._random_bytes(32))

    def wrapping_key(self) -> bytes:
        """The 32 bytes under which files are encrypted.

        Raises:
            KeySetupRefused: it was destroyed.
        """
        try:
            return self.path(WRAPPING_KEY).read_bytes()
        except FileNotFoundError:
            raise KeySetupRefused("masking keys: they were destroyed; begin a new epoch") from None

    def path(self, name: str) -> Path:
        """Where a file is, or would be."""
        return self._folder / name

    def names(self) -> list[str]:
        """The files that are there, sorted."""
        return sorted(path.name for path in self._folder.iterdir())

    def read(self, name: str) -> bytes | None:
        """The secret in a file; None where there is no such file.

        Raises:
            KeySetupRefused: it was changed, or the wrapping key is another one or gone.
        """
        raw = self.read_plain(name)
        if raw is None:
            return None
        try:
            return AESGCM(self.wrapping_key()).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            where = f"{self._folder.name}/{name}"  # the coordinator is told this, and no path of the firm's machine
            raise KeySetupRefused(f"{where}: cannot be read: changed, or its wrapping key is another one") from None

    def write(self, name: str, secret: bytes) -> None:
        """Keep a secret.

        Raises:
            KeySetupRefused: the wrapping key was destroyed.
        """
        nonce = self._random_bytes(_NONCE_BYTES)
        self.write_plain(name, nonce + AESGCM(self.wrapping_key()).encrypt(nonce, secret, name.encode()))

    def read_plain(self, name: str) -> bytes | None:
        """A file's bytes as they are; None where there is no such file."""
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None

    def write_plain(self, name: str, raw: bytes) -> None:
        """Write a file whole or not at all, durably."""
        path = self.path(name)
        temporary = path.with_name(f".{name}.{self._random_bytes(8).hex()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def destroy(self, *, keep: str) -> list[str]:
        """Delete every file but `keep`, durably, the wrapping key first; returns their names, sorted.

        A process that stops in between leaves files that nothing can open.
        """
        gone = [name for name in self.names() if name != keep]
        for name in sorted(gone, key=lambda one: one != WRAPPING_KEY):
            with suppress(FileNotFoundError):
                self.path(name).unlink()
            if name == WRAPPING_KEY:
                sync_folder(self._folder)
        sync_folder(self._folder)
        return gone
