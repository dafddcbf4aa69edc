"""A key holder's secret key: one an epoch, made on first use, destroyed once the sum is open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clients.encryption.contexts import Context, KeyPair, secret_context
from clients.encryption.errors import KeyRetired
from clients.sealed_folder import SealedFolder

_SECRET, _PUBLIC, _EPOCH = "secret.context", "public.context", "epoch"


class HeldKeys:
    """What a holder keeps, on disk under `folder`, or in memory where it is None. Epochs only rise."""

    def __init__(self, folder: Path | None, random_bytes: Callable[[int], bytes]) -> None:
        self._files = None if folder is None else SealedFolder(folder, random_bytes)
        self._memory: dict[str, bytes] = {}

    def public(self, epoch: int) -> bytes:
        """The public context of an epoch; its keys are made on first use, and those of earlier ones destroyed then.

        Raises:
            KeyRetired: the epoch has ended, or its key was retired.
        """
        now = self.epoch
        if epoch < now:
            raise KeyRetired(f"epoch {epoch}: it has ended, this key holder is in epoch {now}")
        if epoch > now:
            self._begin(epoch)
        public = self._read(_PUBLIC)
        if public is None:
            raise KeyRetired(f"epoch {epoch}: its key was destroyed; open a new round, which has a new one")
        return public

    def secret(self, epoch: int) -> Context:
        """The secret context of an epoch.

        Raises:
            KeyRetired: there is none, or none any more.
        """
        raw = self._read(_SECRET) if epoch == self.epoch else None
        if raw is None:
            raise KeyRetired(f"epoch {epoch}: its key was destroyed; open a new round, which has a new one")
        return secret_context(raw)

    @property
    def epoch(self) -> int:
        """The latest epoch that this holder has been in; 0 before the first."""
        raw = self._memory.get(_EPOCH) if self._files is None else self._files.read_plain(_EPOCH)
        return 0 if raw is None else int(raw)

    @property
    def begun_s(self) -> float | None:
        """Since when there is a key, in seconds since 1970; None where there is none, or in memory."""
        path = None if self._files is None else self._files.path(_SECRET)
        return path.stat().st_mtime if path is not None and path.exists() else None

    def retire(self) -> None:
        """Destroy the key for good; its epoch does not come again."""
        self._memory = {name: raw for name, raw in self._memory.items() if name == _EPOCH}
        if self._files is not None:
            self._files.destroy(keep=_EPOCH)

    def _begin(self, epoch: int) -> None:
        pair, number = KeyPair.generate(), str(epoch).encode()
        self.retire()
        if self._files is None:
            self._memory = {_EPOCH: number, _SECRET: pair.secret, _PUBLIC: pair.public}
            return
        self._files.write_plain(_EPOCH, number)  # first: after a crash in between, the epoch counts as retired
        self._files.begin()
        self._files.write(_SECRET, pair.secret)
        self._files.write(_PUBLIC, pair.public)

    def _read(self, name: str) -> bytes | None:
        return self._memory.get(name) if self._files is None else self._files.read(name)
