"""What the ledger binds of how a round was opened: the unmasking records, and what rules about groups took beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clients.masking import wire
from clients.masking.errors import MalformedMessage
from clients.masking.session import HASH_BYTES
from server.aggregation.group_sums import Evidence
from server.artifacts import ArtifactStore

_OPENING: dict[str, type] = {"unmaskings": list, "root": bytes, "votes": dict}


@dataclass(frozen=True)
class Opening:
    """What opened the sums of several groups and what the rules took beside, all by SHA-256.

    Its own SHA-256 is the `unmask` of the aggregate statement. (Of one group that is the unmasking record itself.)

    Attributes:
        unmaskings: the groups' unmasking records, in the order in which the groups are drawn.
        root: the root gradient, as a model file; empty without one.
        votes: the firms' signed votes, by firm; empty without any.
    """

    unmaskings: tuple[bytes, ...]
    root: bytes = b""
    votes: Mapping[str, bytes] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The record as deterministic CBOR."""
        return wire.encode({"unmaskings": list(self.unmaskings), "root": self.root, "votes": dict(self.votes)})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Opening:
        """Reads a record.

        Raises:
            clients.masking.errors.MalformedMessage: not such a record.
        """
        fields = wire.decode(raw, _OPENING, "opening record")
        votes = wire.bytes_by_member(fields["votes"], "opening record votes", HASH_BYTES)
        named = [*fields["unmaskings"], *([fields["root"]] if fields["root"] else [])]
        if any(type(one) is not bytes or len(one) != HASH_BYTES for one in named):
            raise MalformedMessage(f"opening record: an entry is not a hash of {HASH_BYTES} bytes")
        return cls(tuple(fields["unmaskings"]), fields["root"], votes)

    @property
    def beside(self) -> tuple[bytes, ...]:
        """What it names beside the unmasking records."""
        return (*([self.root] if self.root else []), *self.votes.values())


def store_opening(store: ArtifactStore, unmaskings: Sequence[bytes], evidence: Evidence) -> bytes:
    """Store what opened a round; returns the `unmask` of its aggregate, 32 bytes."""
    names = store.put_all(unmaskings)
    if len(names) == 1:
        return names[0]
    root = store.put(evidence.root) if evidence.root else b""
    votes = dict(zip(evidence.votes, store.put_all(evidence.votes.values()), strict=True))
    return store.put(Opening(tuple(names), root, votes).to_bytes())


def load_opening(store: ArtifactStore, unmask: bytes, groups: int) -> Opening:
    """What an aggregate's `unmask` names.

    Args:
        groups: how many the round's plan asks for.

    Raises:
        ArtifactMissing, ArtifactDamaged, MalformedMessage: it is not there, or not for so many groups.
    """
    if groups == 1:
        return Opening((unmask,))
    opening = Opening.from_bytes(store.get(unmask, "opening record"))
    if len(opening.unmaskings) != groups:
        raise MalformedMessage(f"opening record: of {len(opening.unmaskings)} groups, the plan asks for {groups}")
    return opening
