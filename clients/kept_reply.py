"""A firm's reply to the round that it is in, word for word: who lost it is given the same again, and never another.

It is written before it leaves, encrypted under a key of its own beside it, and destroyed with that key when the round
is over: so to be asked again costs nothing and shows nothing new. An update is not made again, with new noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from clients.masking import wire
from clients.sealed_folder import SealedFolder

_STORED: dict[str, type] = {"offer": bytes, "kind": str, "fields": dict}
_SUFFIX = ".reply"


class KeptReply:
    """One reply at most, in a folder, or in memory where it is None."""

    def __init__(self, folder: Path | None, random_bytes: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._memory: tuple[bytes, bytes] | None = None

    def keep(self, round_id: bytes, offer: bytes, kind: str, fields: Mapping[str, bytes]) -> None:
        """Keep a reply in place of the one before, which is destroyed; durable when this returns.

        Args:
            offer: the hash of the round's statement, 32 bytes.
            kind: of the message that it answers.
        """
        self.destroy()
        raw = wire.encode({"offer": offer, "kind": kind, "fields": dict(fields)})
        if self._folder is None:
            self._memory = round_id, raw
            return
        files = SealedFolder(self._folder, self._random_bytes)
        files.begin()
        files.write(_name(round_id), raw)

    def of(self, round_id: bytes, offer: bytes, kind: str) -> dict[str, bytes] | None:
        """The reply to a message of this kind in a round of these terms; None where none is kept.

        Raises:
            KeySetupRefused, MalformedMessage: it was changed, or its key is gone.
        """
        raw = self._read(round_id)
        if raw is None:
            return None
        stored = wire.decode(raw, _STORED, "kept reply")
        return stored["fields"] if (stored["offer"], stored["kind"]) == (offer, kind) else None

    def round(self) -> bytes | None:
        """The round that a reply is kept of; None where there is none."""
        if self._folder is None:
            return None if self._memory is None else self._memory[0]
        names = SealedFolder(self._folder, self._random_bytes).names() if self._folder.exists() else []
        return next((bytes.fromhex(name[: -len(_SUFFIX)]) for name in names if name.endswith(_SUFFIX)), None)

    def destroy(self) -> None:
        """Forget the reply, its key first."""
        self._memory = None
        if self._folder is not None and self._folder.exists():
            files = SealedFolder(self._folder, self._random_bytes)
            if files.names():
                files.destroy(keep="")

    def _read(self, round_id: bytes) -> bytes | None:
        if self._folder is None:
            return None if self._memory is None or self._memory[0] != round_id else self._memory[1]
        if not self._folder.exists():
            return None
        return SealedFolder(self._folder, self._random_bytes).read(_name(round_id))


def _name(round_id: bytes) -> str:
    return round_id.hex() + _SUFFIX
