"""What all firms of one masked sum agree on; its hash, the session id, is bound into every key."""

from __future__ import annotations

import hashlib
import math
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from clients.encryption.scheme import require_room
from clients.masking import wire
from clients.masking.errors import MalformedMessage, PlanRefused, SessionMismatch
from clients.masking.quantiser import Quantiser
from clients.masking.ring import Ring
from clients.masking.shamir import MAX_SHARES
from clients.masking.threshold import FEWEST_FIRMS, SMALLEST_GROUP, threshold_for

Protection = Literal["masked", "encrypted", "plain"]
ROUND_BYTES = 16
HASH_BYTES = 32
MAX_DIMENSION = 1 << 27
_SCHEMA: dict[str, type] = {
    "cid": str,
    "epoch": int,
    "round": bytes,
    "roster": list,
    "model": bytes,
    "dimension": int,
    "ring_bits": int,
    "threshold": int,
    "bound": bytes,
    "protection": str,
}
_HELD: dict[str, type] = {**_SCHEMA, "key_holder": str, "context": bytes}  # of an encrypted session


@dataclass(frozen=True)
class RosterEntry:
    """A firm of the session.

    Attributes:
        member: its id.
        signing_key: its raw Ed25519 public key, 32 bytes.
        epoch_key: its raw ML-KEM-768 + X25519 public key of the epoch, 1,216 bytes; empty when unprotected.
    """

    member: str
    signing_key: bytes
    epoch_key: bytes = b""


@dataclass(frozen=True)
class Session:
    """One masked sum.

    Attributes:
        cid: the consortium's id.
        epoch: number of the key epoch.
        round_id: 16 bytes; one session per round id, ever.
        roster: the firms, sorted by member id.
        model: the 32-byte hash of the model that the updates start from.
        dimension: values in an update.
        ring_bits: 24 or 32.
        threshold: fewest firms in the closed set, and fewest that must send shares.
        bound: largest magnitude of one value of one firm's update.
        protection: `masked`, `encrypted`, or `plain` for updates sent without protection (simulations).
        key_holder: the member with the key of an encrypted sum, who is not in the roster; else empty.
        context: SHA-256 of the public context of an encrypted sum, 32 bytes; else empty.

    Raises:
        PlanRefused: a field breaks a rule, sums could wrap, or the threshold could open a single update.
    """

    cid: str
    epoch: int
    round_id: bytes
    roster: tuple[RosterEntry, ...]
    model: bytes
    dimension: int
    ring_bits: int
    threshold: int
    bound: float
    protection: Protection = "masked"
    key_holder: str = ""
    context: bytes = b""

    def __post_init__(self) -> None:
        names = [entry.member for entry in self.roster]
        if names != sorted(set(names)) or not all(names):
            raise PlanRefused("roster: member ids must be sorted, distinct and not empty")
        if not self.cid or self.epoch < 0:
            raise PlanRefused(f"session: needs a consortium id and an epoch of at least 0, got {self.epoch}")
        if len(self.round_id) != ROUND_BYTES or len(self.model) != HASH_BYTES:
            raise PlanRefused(f"session: round is {ROUND_BYTES} bytes and model {HASH_BYTES}")
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise PlanRefused(f"dimension: {self.dimension} is not within 1..{MAX_DIMENSION}")
        if self.protection not in get_args(Protection):
            raise PlanRefused(f"protection: {self.protection!r}, use one of {', '.join(get_args(Protection))}")
        if not math.isfinite(self.bound):
            raise PlanRefused(f"bound: {self.bound} must be a finite number above 0")
        _ = self.quantiser  # refuses plans that could wrap
        self._check_threshold()
        self._check_key_holder()

    def _check_threshold(self) -> None:
        size = len(self.roster)
        fewest = 1
        if self.protection == "masked":
            if not FEWEST_FIRMS <= size <= MAX_SHARES:
                raise PlanRefused(f"roster: {size} firms, masking takes {FEWEST_FIRMS} to {MAX_SHARES}")
            fewest = threshold_for(size, colluders=0, smallest_group=SMALLEST_GROUP)
        if self.protection == "encrypted":
            fewest = SMALLEST_GROUP
            if size < FEWEST_FIRMS:
                raise PlanRefused(f"roster: {size} firms, an encrypted sum takes at least {FEWEST_FIRMS}")
        if not fewest <= self.threshold <= size:
            raise PlanRefused(f"threshold: {self.threshold} is not within {fewest}..{size} for {size} firms")

    def _check_key_holder(self) -> None:
        if self.protection != "encrypted":
            if self.key_holder or self.context:
                raise PlanRefused(f"session: a {self.protection} one has no key holder and no context")
            return
        if not self.key_holder or self.key_holder in self:
            raise PlanRefused(f"key holder: {self.key_holder!r} must be named, and take no part in the sum")
        if len(self.context) != HASH_BYTES:
            raise PlanRefused(f"context: its hash is {HASH_BYTES} bytes")
        require_room(len(self.roster), self.ring_bits, self.dimension)

    @cached_property
    def ring(self) -> Ring:
        """The ring in which updates are added."""
        return Ring(self.ring_bits)

    @cached_property
    def quantiser(self) -> Quantiser:
        """The grid of this session's updates."""
        return Quantiser(self.bound, max(1, len(self.roster)), self.ring_bits)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The member ids, in order."""
        return tuple(entry.member for entry in self.roster)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {member: position for position, member in enumerate(self.members)}

    def __contains__(self, member: object) -> bool:
        return member in self._positions

    def position(self, member: str) -> int:
        """The place of `member` in the roster, from 0; its Shamir share is at x = position + 1."""
        return self._positions[member]

    def entry(self, member: str) -> RosterEntry:
        """The roster's entry of `member`."""
        return self.roster[self._positions[member]]

    def peers(self, member: str) -> tuple[str, ...]:
        """All the others, in order."""
        return tuple(other for other in self.members if other != member)

    @cached_property
    def raw(self) -> bytes:
        """The session as deterministic CBOR; fields of encrypted sums are in no other session."""
        held = {"key_holder": self.key_holder, "context": self.context} if self.protection == "encrypted" else {}
        return wire.encode(
            {
                **held,
                "cid": self.cid,
                "epoch": self.epoch,
                "round": self.round_id,
                "roster": [[entry.member, entry.signing_key, entry.epoch_key] for entry in self.roster],
                "model": self.model,
                "dimension": self.dimension,
                "ring_bits": self.ring_bits,
                "threshold": self.threshold,
                "bound": struct.pack(">d", self.bound),  # eight bytes: a float has many CBOR encodings
                "protection": self.protection,
            }
        )

    @cached_property
    def sid(self) -> bytes:
        """The session id: SHA-256 of `raw`."""
        return hashlib.sha256(self.raw).digest()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Session:
        """Reads what `raw` gave.

        Raises:
            MalformedMessage: not a session in deterministic encoding.
            PlanRefused: a session that breaks a rule.
        """
        try:
            fields = wire.decode(raw, _SCHEMA, "session")
        except MalformedMessage as error:
            fields = _held(raw)
            if fields.get("protection") != "encrypted":
                raise error from None
        bound = fields["bound"]
        if len(bound) != 8:
            raise MalformedMessage("session: field bound is not 8 bytes")
        roster = []
        for row in fields["roster"]:
            if type(row) is not list or [type(item) for item in row] != [str, bytes, bytes]:
                raise MalformedMessage("session: a roster entry is not [member, signing key, epoch key]")
            roster.append(RosterEntry(*row))
        return cls(
            cid=fields["cid"],
            epoch=fields["epoch"],
            round_id=fields["round"],
            roster=tuple(roster),
            model=fields["model"],
            dimension=fields["dimension"],
            ring_bits=fields["ring_bits"],
            threshold=fields["threshold"],
            bound=struct.unpack(">d", bound)[0],
            protection=fields["protection"],
            key_holder=fields.get("key_holder", ""),
            context=fields.get("context", b""),
        )

    def require_same(self, other: Session) -> None:
        """Accepts `other` only if it is this session.

        Raises:
            SessionMismatch: names the first field that differs.
        """
        if self.sid == other.sid:
            return
        for field in self.__dataclass_fields__:
            if getattr(self, field) != getattr(other, field):
                raise SessionMismatch(f"session: {field} is not the one this firm took part in; start a new round")
        raise SessionMismatch("session: another session id")


def _held(raw: bytes) -> dict[str, Any]:
    """The fields of an encrypted session; none where it is no such thing."""
    with suppress(MalformedMessage):
        return wire.decode(raw, _HELD, "session")
    return {}
