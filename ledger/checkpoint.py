"""Checkpoints (C2SP tlog-checkpoint), their cosignatures (C2SP tlog-cosignature), and when one is final."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from ledger.errors import LedgerError
from ledger.keys import SIGNATURE_BYTES, BadSignature, SigningKey
from ledger.merkle import HASH_BYTES
from ledger.note import NoteError, SignatureLine, Vkey, check_name, decode_base64, join_note, parse_note
from ledger.policy import Policy as Policy
from ledger.policy import PolicyError as PolicyError
from ledger.policy import quorum_size as quorum_size

FUTURE_TOLERANCE_S = 300
"""How far a witness's clock may run ahead of ours before its cosignature is refused."""

_SIZE = re.compile("0|[1-9][0-9]{0,18}")


class CheckpointError(LedgerError):
    """A checkpoint or cosignature is not what it claims to be."""

    exit_code = 1


class NotFinal(CheckpointError):
    """A checkpoint lacks the quorum of cosignatures that the policy asks for."""


class UnknownLogKey(CheckpointError):
    """A checkpoint is signed by none of the log's keys that are trusted."""


def witness_name(origin: str, member: str) -> str:
    """The key name under which `member` cosigns the log `origin`: `<origin>/<member>`.

    A member cosigns with its signing key. That is safe: the two kinds of signed bytes cannot be confused, as
    a cosigned message starts with the text `cosignature/v1` and a COSE Sig_structure with a CBOR array.
    """
    return check_name(f"{origin}/{member}")


@dataclass(frozen=True)
class Checkpoint:
    """A commitment to the first `size` entries of the log `origin`.

    Attributes:
        origin: the log's name.
        size: number of entries.
        root: 32 bytes, RFC 9162 root of them.
    """

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, body: str) -> Self:
        """Read a note's text. Extension lines are refused: this log writes none.

        Raises:
            NoteError: not a checkpoint.
        """
        lines = body.split("\n")
        if len(lines) != 4 or lines[3] or not _SIZE.fullmatch(lines[1]):
            raise NoteError("the note is not a checkpoint: origin, size and root are expected, a line each")
        root = decode_base64(lines[2], "the checkpoint's root")
        if len(root) != HASH_BYTES:
            raise NoteError(f"the checkpoint's root has {len(root)} bytes, {HASH_BYTES} are expected")
        return cls(check_name(lines[0]), int(lines[1]), root)

    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class SignedCheckpoint:
    """A parsed checkpoint note. Parsing verifies nothing.

    Attributes:
        checkpoint: what is claimed.
        body: the signed text.
        lines: all signature lines.
    """

    checkpoint: Checkpoint
    body: str
    lines: tuple[SignatureLine, ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Raise `NoteError` unless `note` is a signed checkpoint."""
        body, lines = parse_note(note)
        return cls(Checkpoint.parse(body), body, tuple(lines))

    def verify_log(self, vkey: Vkey) -> None:
        """Raise `CheckpointError` unless the log with key `vkey` signed this checkpoint of its own."""
        if self.checkpoint.origin != vkey.name:
            raise CheckpointError(
                f"the checkpoint is of the log {self.checkpoint.origin!r}, the trusted one is {vkey.name!r}"
            )
        own = [line for line in self.lines if line.is_by(vkey)]
        if not own:
            raise CheckpointError(f"the checkpoint is not signed by the log {vkey.name!r}")
        for line in own:
            try:
                vkey.key.verify(line.signature, self.body.encode())
            except BadSignature:
                raise CheckpointError(f"the log's signature on checkpoint {self.checkpoint.size} is wrong") from None

    def verify_any(self, vkeys: Iterable[Vkey]) -> None:
        """Raise `CheckpointError` unless one of a log's `vkeys` signed, and no signature by them is wrong.

        It is `UnknownLogKey` when none of them is the signer's.
        """
        signers = [vkey for vkey in vkeys if any(line.is_by(vkey) for line in self.lines)]
        if not signers:
            raise UnknownLogKey(f"the checkpoint is not signed by a trusted key of the log {self.checkpoint.origin!r}")
        for vkey in signers:
            self.verify_log(vkey)

    def with_lines(self, lines: Iterable[SignatureLine]) -> str:
        """The note with more signature lines."""
        return join_note(self.body, [*self.lines, *lines])


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return the note with the log's signature."""
    vkey = Vkey.of_log(checkpoint.origin, key.public)
    body = checkpoint.body()
    return join_note(body, [SignatureLine(vkey.name, vkey.id, key.sign(body.encode()))])


def cosign(body: str, *, name: str, key: SigningKey, timestamp_s: int) -> str:
    """Return the cosignature/v1 line of witness `name` on a checkpoint's text, made at `timestamp_s`."""
    vkey = Vkey.of_witness(name, key.public)
    signature = timestamp_s.to_bytes(8, "big") + key.sign(_cosigned(body, timestamp_s))
    return str(SignatureLine(vkey.name, vkey.id, signature))


def cosigned_s(line: SignatureLine) -> int:
    """When a cosignature says that it was made, in seconds since the epoch; `verify_cosignature` checks it."""
    return int.from_bytes(line.signature[:8], "big")


@lru_cache(maxsize=1024)  # a line is looked at when it comes, when it is kept, and in the whole note
def verify_cosignature(body: str, line: SignatureLine, vkey: Vkey) -> int:
    """Return the time of a cosignature in seconds since the epoch.

    Raises:
        CheckpointError: the line is not this witness's cosignature on `body`.
    """
    timestamp_s, signature = cosigned_s(line), line.signature[8:]
    if not line.is_by(vkey) or len(signature) != SIGNATURE_BYTES or timestamp_s >= 1 << 63:
        raise CheckpointError(f"the line by {line.name!r} is not a cosignature of {vkey.name!r}")
    try:
        vkey.key.verify(signature, _cosigned(body, timestamp_s))
    except BadSignature:
        raise CheckpointError(f"the cosignature of {vkey.name!r} does not fit this checkpoint") from None
    return timestamp_s


def require_timely(timestamp_s: int, now_s: float, name: str) -> None:
    """Raise `CheckpointError` when a cosignature was made in the future."""
    if timestamp_s > now_s + FUTURE_TOLERANCE_S:
        ahead = int(timestamp_s - now_s)
        raise CheckpointError(f"the cosignature of {name!r} is {ahead} s in the future; set the witness's clock")


def verify_final(note: str, policy: Policy, *, now_s: float | None = None) -> tuple[Checkpoint, list[str]]:
    """Return the checkpoint and the policy names of the witnesses that cosigned it.

    A signature that names a known key and does not verify condemns the whole note (C2SP signed-note).

    Args:
        now_s: when given, cosignatures made after it (with a tolerance) are refused.

    Raises:
        NoteError: not a checkpoint note.
        CheckpointError: not of a trusted log, or a known key's signature is wrong.
        NotFinal: too few cosignatures.
    """
    signed = SignedCheckpoint.parse(note)
    logs = policy.logs_named(signed.checkpoint.origin)
    if not logs:
        raise CheckpointError(f"the policy does not know the log {signed.checkpoint.origin!r}")
    signed.verify_any(logs)
    cosigners = []
    for name, vkey in policy.witnesses.items():
        lines = [line for line in signed.lines if line.is_by(vkey)]
        for line in lines:
            timestamp_s = verify_cosignature(signed.body, line, vkey)
            if now_s is not None:
                require_timely(timestamp_s, now_s, name)
        if lines:
            cosigners.append(name)
    if not policy.is_met_by(cosigners):
        raise NotFinal(
            f"checkpoint {signed.checkpoint.size} has {len(cosigners)} of {len(policy.witnesses)} "
            "cosignatures, too few for the quorum; ask the members' witnesses to cosign"
        )
    return signed.checkpoint, sorted(cosigners)


def is_final(note: str, policy: Policy, *, now_s: float | None = None) -> bool:
    """Whether a quorum cosigned `note`. Anything that cannot be read or verified is not final."""
    try:
        verify_final(note, policy, now_s=now_s)
    except LedgerError:
        return False
    return True


def _cosigned(body: str, timestamp_s: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp_s}\n{body}".encode()
