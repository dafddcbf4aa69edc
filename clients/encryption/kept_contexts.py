"""The public contexts that a firm was sent: one for each key holder, its latest. They are no secret."""

from __future__ import annotations

from pathlib import Path

from clients.encryption.contexts import Context, public_context
from clients.encryption.errors import ContextRefused
from ledger.whole_file import write_whole


class KeptContexts:
    """Contexts by holder, in files under `folder`, or in memory where it is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: dict[str, bytes] = {}

    def keep(self, holder: str, raw: bytes) -> Context:
        """Keep a context in place of the holder's earlier one.

        Args:
            holder: an enrolled member's id, or one that this firm's own configuration names.

        Raises:
            ContextRefused: it is not one, or carries more than the public key; nothing was kept.
        """
        read = public_context(raw)
        if self._folder is None:
            self._memory[holder] = raw
        else:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(self._folder / holder, raw)
        return read

    def context(self, holder: str, digest: bytes) -> Context:
        """The holder's context of this SHA-256.

        Raises:
            ContextRefused: this firm was not sent it.
        """
        if self._folder is None:
            raw = self._memory.get(holder)
        else:
            path = self._folder / holder
            raw = path.read_bytes() if path.exists() else None
        if raw is not None and (read := public_context(raw)).hash == digest:
            return read
        raise ContextRefused(f"context of {holder}: this firm was not sent the one that the plan names")
