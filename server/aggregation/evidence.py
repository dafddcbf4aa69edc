"""What must hold of a stored round: each byte string against the hash that its firm recorded on the ledger.

The aggregator applies these checks as messages arrive; an audit applies the same ones to what was stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clients.encryption.vectors import blocks_of
from clients.errors import ClientError
from clients.masking import wire
from clients.masking.contribution import Header, commit_pair_seed, commit_self_seed
from clients.masking.derivation import KEY_BYTES
from clients.masking.errors import MalformedMessage
from clients.masking.keystream import apply_masks
from clients.masking.ring import Integers, Residues
from clients.masking.session import HASH_BYTES, Session
from server.errors import ServerError

_UNMASKING: dict[str, type] = {"sid": bytes, "closed_set": bytes, "self_seeds": dict, "pair_seeds": dict}


class AggregationError(ServerError):
    """Base of what aggregation refuses."""


class ContributionRefused(AggregationError):
    """A contribution does not fit the session, its header or its ledger statement; the round may go on."""

    exit_code = 1


class ReplyRefused(AggregationError):
    """An unmasking reply does not fit the closed set or what its firm committed to; the round may go on."""

    exit_code = 1


class RoundVoid(AggregationError):
    """The sum cannot be opened. Firms train again in a new round.

    Attributes:
        members: the firms whose messages are missing or do not agree.
    """

    exit_code = 1

    def __init__(self, message: str, members: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.members = members


class ArtifactMismatch(AggregationError):
    """A stored artifact of a round is not the one recorded; the message names the first."""

    exit_code = 1


@dataclass(frozen=True)
class Unmasking:
    """What opened a sum, published with the aggregate.

    Attributes:
        sid: the session id.
        closed_set: the hash of the closed set.
        self_seeds: {included member: its self seed, 32 bytes}; empty in a plain session.
        pair_seeds: {dropped member: {included member: the seed of the mask between them, 32 bytes}}.
    """

    sid: bytes
    closed_set: bytes
    self_seeds: dict[str, bytes]
    pair_seeds: dict[str, dict[str, bytes]]

    def to_bytes(self) -> bytes:
        """The record as deterministic CBOR; its SHA-256 is the `unmask` of the aggregate statement."""
        return wire.encode({name: getattr(self, name) for name in _UNMASKING})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Unmasking:
        """Reads a record.

        Raises:
            clients.masking.errors.MalformedMessage: not an unmasking record.
        """
        fields = wire.decode(raw, _UNMASKING, "unmasking record")
        self_seeds = wire.bytes_by_member(fields["self_seeds"], "unmasking record self seeds", KEY_BYTES)
        pair_seeds = {}
        for dropped, seeds in fields["pair_seeds"].items():
            if type(dropped) is not str or type(seeds) is not dict:
                raise MalformedMessage("unmasking record: pair seeds are not {member: {member: seed}}")
            pair_seeds[dropped] = wire.bytes_by_member(seeds, "unmasking record pair seeds", KEY_BYTES)
        return cls(fields["sid"], fields["closed_set"], self_seeds, pair_seeds)


_HASHES: Mapping[str, Callable[[Session], int]] = {
    "masked": lambda session: len(session.roster) - 1,  # of the pair seeds
    "encrypted": lambda session: len(blocks_of(session.dimension)),  # of the pieces
    "plain": lambda _: 0,
}
"""How many hashes a contribution brings along."""


def check_contribution(
    session: Session,
    member: str,
    header: bytes,
    masked: bytes | None,
    pair_hashes: bytes,
    commit: bytes,
    refusal: type[AggregationError],
) -> Header:
    """Checks one contribution against its ledger commitment, from the outside in.

    Args:
        masked: None where it comes later, as that of an encrypted sum does.

    Raises:
        refusal: names the first thing that does not match.
    """
    if member not in session:
        raise refusal(f"contribution of {member}: not in the session's roster")
    if hashlib.sha256(header).digest() != commit:
        raise refusal(f"contribution of {member}: the header is not the one recorded on the ledger")
    try:
        read = Header.from_bytes(header)
    except ClientError as error:
        raise refusal(f"contribution of {member}: {error}") from None
    if (read.sid, read.member) != (session.sid, member):
        raise refusal(f"contribution of {member}: the header speaks for another session or member")
    # An encrypted vector has another length every time; its reader holds it against the dimension.
    expected = 0 if session.protection == "encrypted" else session.dimension * session.ring.value_bytes
    if masked is not None and expected not in (0, len(masked)):
        raise refusal(f"contribution of {member}: {len(masked)} bytes of masked values, expected another length")
    if masked is not None and hashlib.sha256(masked).digest() != read.masked:
        raise refusal(f"contribution of {member}: the masked values are not those of its header")
    if (session.protection != "plain") != bool(read.self_seed):
        raise refusal(f"contribution of {member}: the session is {session.protection}, the header is not")
    if session.protection == "encrypted" and read.self_seed != session.context:
        raise refusal(f"contribution of {member}: it is encrypted under another context than the session's")
    expected = _HASHES[session.protection](session) * HASH_BYTES
    if len(pair_hashes) != expected:
        raise refusal(f"contribution of {member}: {len(pair_hashes)} bytes of pair hashes, expected {expected}")
    if expected and hashlib.sha256(pair_hashes).digest() != read.pair_seeds:
        raise refusal(f"contribution of {member}: the pair hashes are not those of its header")
    return read


def pair_hash(session: Session, pair_hashes: bytes, member: str, peer: str) -> bytes:
    """The commitment of `member` to its seed with `peer`, out of its list in roster order."""
    position = session.position(peer) - (session.position(peer) > session.position(member))
    return pair_hashes[position * HASH_BYTES : (position + 1) * HASH_BYTES]


def check_unmasking(
    session: Session,
    unmasking: Unmasking,
    headers: Mapping[str, Header],
    pair_hashes: Mapping[str, bytes],
    refusal: type[AggregationError],
) -> None:
    """Checks every opened seed against what its firm committed to.

    Raises:
        refusal: names the first seed that is missing, superfluous or another.
    """
    masked = session.protection == "masked"
    dropped = {member for member in session.members if member not in headers} if masked else set()
    if unmasking.self_seeds.keys() != (headers.keys() if masked else set()):
        raise refusal("unmasking record: its self seeds are not those of the included firms")
    if unmasking.pair_seeds.keys() != dropped:
        raise refusal("unmasking record: its pair seeds are not those of the dropped firms")
    for member, seed in sorted(unmasking.self_seeds.items()):
        if commit_self_seed(session, member, seed) != headers[member].self_seed:
            raise refusal(f"unmasking record: the self seed of {member} is not the one it committed to")
    for absent, seeds in sorted(unmasking.pair_seeds.items()):
        if seeds.keys() != headers.keys():
            raise refusal(f"unmasking record: pair seeds with {absent} are not those of the included firms")
        for member, seed in sorted(seeds.items()):
            hashes = pair_hashes[member]
            if commit_pair_seed(session, member, absent, seed) != pair_hash(session, hashes, member, absent):
                raise refusal(f"unmasking record: the seed of {member} with {absent} is not the one committed to")


def open_sum(session: Session, total: Residues, unmasking: Unmasking, contributions: int) -> Integers:
    """Takes the masks off a sum of masked vectors, in place.

    Args:
        total: uint32[dimension], the sum of the contributions; overwritten.
        contributions: how many vectors were added.

    Returns:
        int64[dimension], the exact sum of the quantised updates.

    Raises:
        RoundVoid: a value is beyond what so many firms can send: some firm did not mask as it said.
    """
    # What the lower id of a pair added, the higher subtracted: taking it off turns the signs round.
    pairs = [(m < absent, seed) for absent, seeds in unmasking.pair_seeds.items() for m, seed in seeds.items()]
    added = [seed for lower_is_included, seed in pairs if not lower_is_included]
    removed = [seed for lower_is_included, seed in pairs if lower_is_included]
    apply_masks(total, added, [*unmasking.self_seeds.values(), *removed])
    opened = session.ring.centre(total)
    limit = contributions * session.quantiser.largest
    if max(int(opened.max()), -int(opened.min())) > limit:
        raise RoundVoid(f"sum: a value exceeds {limit}, more than {contributions} firms can send; open a new round")
    return opened
