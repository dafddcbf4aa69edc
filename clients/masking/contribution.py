"""The first trip: a firm's update under masks, the header that commits to all of it, and the shares.

    y_i = q_i + PRG(b_i) + sum over j > i of PRG(k_ij) - sum over j < i of PRG(k_ij)

b_i is the firm's own seed, shared among all; k_ij is derived from the pair secret for this session only
(double masks of Bonawitz et al., CCS 2017, section 4). The header is made binding by a ledger statement that
holds its hash: masking itself signs nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clients.masking import wire
from clients.masking.answer_book import AnswerBook
from clients.masking.derivation import KEY_BYTES, commit, framed
from clients.masking.errors import MalformedMessage, PlanRefused, ValueOutOfBounds
from clients.masking.keystream import apply_masks
from clients.masking.pair_secrets import NONCE_BYTES, PairSecrets
from clients.masking.ring import Integers
from clients.masking.session import HASH_BYTES, Session
from clients.masking.shamir import RandomBytes, split
from clients.masking.threshold import GroupPolicy

SEALED_SHARE_BYTES = NONCE_BYTES + KEY_BYTES + 16
_HEADER: dict[str, type] = {
    "sid": bytes,
    "member": str,
    "masked": bytes,
    "self_seed": bytes,
    "pair_seeds": bytes,
    "shares": bytes,
}
_CONTRIBUTION: dict[str, type] = {"header": bytes, "masked": bytes, "pair_hashes": bytes, "shares": dict}
_KEPT: dict[str, type] = {"session": bytes, "me": str, "header": bytes, "own_share": bytes}


@dataclass(frozen=True)
class Header:
    """What a firm commits to; the hashes are 32 bytes, those of seeds and shares empty in a plain session.

    Attributes:
        sid: the session id.
        member: who contributes.
        masked: SHA-256 of the packed masked vector.
        self_seed: commitment to the firm's own seed.
        pair_seeds: SHA-256 of the commitments to the pair seeds, in roster order.
        shares: SHA-256 of the encrypted shares, in roster order.
    """

    sid: bytes
    member: str
    masked: bytes
    self_seed: bytes
    pair_seeds: bytes
    shares: bytes

    def to_bytes(self) -> bytes:
        """The header as deterministic CBOR; the ledger statement's `commit` is the SHA-256 of this."""
        return wire.encode({name: getattr(self, name) for name in _HEADER})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Header:
        """Reads a header.

        Raises:
            MalformedMessage: not a header, or a hash of another length.
        """
        fields = wire.decode(raw, _HEADER, "header")
        del fields["v"]
        header = cls(**fields)
        seeds = (header.self_seed, header.pair_seeds, header.shares)
        whole = all(len(item) == HASH_BYTES for item in seeds) or not any(seeds)
        if len(header.sid) != HASH_BYTES or len(header.masked) != HASH_BYTES or not whole:
            raise MalformedMessage(f"header of {header.member!r}: its hashes are not {HASH_BYTES} bytes each")
        return header


@dataclass(frozen=True)
class Contribution:
    """What a firm sends on the first trip.

    Attributes:
        header: the encoded `Header`.
        masked: the masked vector, packed by the session's ring.
        pair_hashes: commitments to the pair seeds, 32 bytes each, peers in roster order.
        shares: {peer: nonce and AES-256-GCM ciphertext of the peer's share of the self seed}, 60 bytes each.
    """

    header: bytes
    masked: bytes
    pair_hashes: bytes
    shares: dict[str, bytes]

    @property
    def commit(self) -> bytes:
        """SHA-256 of the header: what the firm's ledger statement holds."""
        return hashlib.sha256(self.header).digest()

    def to_bytes(self) -> bytes:
        """The contribution as deterministic CBOR."""
        return wire.encode({name: getattr(self, name) for name in _CONTRIBUTION})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Contribution:
        """Reads a contribution's shape; the aggregator checks it against its header and session.

        Raises:
            MalformedMessage: not a contribution.
        """
        fields = wire.decode(raw, _CONTRIBUTION, "contribution")
        shares = wire.bytes_by_member(fields["shares"], "contribution shares", SEALED_SHARE_BYTES)
        return cls(fields["header"], fields["masked"], fields["pair_hashes"], shares)


@dataclass(frozen=True)
class Kept:
    """What a firm keeps from the first trip for the second.

    Attributes:
        session: the session it entered.
        me: its member id.
        header: the encoded header it sent.
        own_share: its own share of its self seed, 32 bytes.
    """

    session: Session
    me: str
    header: bytes
    own_share: bytes = field(repr=False)  # not for logs

    def to_bytes(self) -> bytes:
        """For keeping between the trips. It is secret: one share of the firm's own seed."""
        fields = {
            "session": self.session.raw,
            "me": self.me,
            "header": self.header,
            "own_share": self.own_share,
        }
        return wire.encode(fields)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Kept:
        """Reads what `to_bytes` gave.

        Raises:
            MalformedMessage: something else.
        """
        fields = wire.decode(raw, _KEPT, "kept state")
        return cls(Session.from_bytes(fields["session"]), fields["me"], fields["header"], fields["own_share"])


def protect(
    session: Session,
    me: str,
    values: Integers,
    secrets: PairSecrets,
    random_bytes: RandomBytes,
    *,
    policy: GroupPolicy,
    book: AnswerBook,
) -> tuple[Contribution, Kept]:
    """Masks one update for one session.

    An update is never protected twice: when a round fails, train or add noise again and pay privacy for both.

    Args:
        session: the terms; its `model` must be the hash of the model that this firm trained from.
        me: this firm's member id.
        values: int64[dimension] from the session's quantiser.
        secrets: this firm's pair secrets of the session's epoch.
        random_bytes: a secure source, such as `secrets.token_bytes`.
        policy: what this firm demands of the session.
        book: where the session is noted before this returns.

    Raises:
        PlanRefused: the session is not masked, or against the firm's policy.
        KeySetupRefused: the roster's keys are not those that this firm authenticated.
        ValueOutOfBounds: a value is beyond what cannot wrap, or there are not `dimension` of them.
        SessionReused: this firm already protected an update in this session or round.
    """
    if session.protection != "masked":
        raise PlanRefused("session: it asks for an unprotected update; this firm sends masked ones only")
    if secrets.me.member != me:
        raise PlanRefused(f"session: pair secrets are those of {secrets.me.member}, not of {me}")
    policy.admit(len(session.roster), session.threshold)
    if me not in session:
        raise PlanRefused(f"session: {me} is not in the roster")
    secrets.require_roster(session)
    check_values(session, values)

    self_seed = random_bytes(KEY_BYTES)
    peers = session.peers(me)
    seeds = [secrets.mask_seed(session, peer) for peer in peers]
    masked = _mask(session, me, values, self_seed, seeds)
    pair_hashes = b"".join(commit_pair_seed(session, me, peer, seed) for peer, seed in zip(peers, seeds, strict=True))
    pieces = split(self_seed, len(session.roster), session.threshold, random_bytes)
    shares = {
        peer: _seal_share(session, me, peer, pieces[session.position(peer)], secrets, random_bytes) for peer in peers
    }
    header = Header(
        sid=session.sid,
        member=me,
        masked=hashlib.sha256(masked).digest(),
        self_seed=commit_self_seed(session, me, self_seed),
        pair_seeds=hashlib.sha256(pair_hashes).digest(),
        shares=hash_shares(session, me, shares),
    ).to_bytes()
    book.enter(session, hashlib.sha256(header).digest())
    own_share = pieces[session.position(me)]
    return Contribution(header, masked, pair_hashes, shares), Kept(session, me, header, own_share)


def check_values(session: Session, values: Integers) -> None:
    """Accepts int64[dimension] within the quantiser's range.

    Raises:
        ValueOutOfBounds: anything else.
    """
    if values.shape != (session.dimension,) or values.dtype != np.int64:
        raise ValueOutOfBounds(
            f"update: {values.dtype}{list(values.shape)}, the session asks for int64[{session.dimension}]"
        )
    largest = session.quantiser.largest
    if int(values.max()) > largest or int(values.min()) < -largest:
        raise ValueOutOfBounds(f"update: a value exceeds +/-{largest}, the sum could wrap; quantise it first")


def commit_self_seed(session: Session, member: str, seed: bytes) -> bytes:
    """The commitment to a member's own seed; hiding because the seed is 32 random bytes."""
    return commit("self-seed", session.sid, member.encode(), seed)


def commit_pair_seed(session: Session, one: str, other: str, seed: bytes) -> bytes:
    """The commitment to a pair's seed, the same at both ends."""
    lower, higher = sorted((one, other))
    return commit("pair-seed", session.sid, lower.encode(), higher.encode(), seed)


def hash_shares(session: Session, sender: str, shares: dict[str, bytes]) -> bytes:
    """SHA-256 over the encrypted shares of `sender`, each after its peer's name, in roster order."""
    named = (part for peer in session.peers(sender) for part in (peer.encode(), shares[peer]))
    return hashlib.sha256(framed(*named)).digest()


def share_binding(session: Session, sender: str, receiver: str) -> bytes:
    """What an encrypted share is bound to besides its key: session, sender and receiver."""
    return framed(b"artesian/masking/v1/share", session.sid, sender.encode(), receiver.encode())


def _mask(session: Session, me: str, values: Integers, self_seed: bytes, seeds: list[bytes]) -> bytes:
    total = session.ring.from_signed(values)
    above = session.position(me)  # peers come in roster order: those from here on have higher ids
    apply_masks(total, [self_seed, *seeds[above:]], seeds[:above])
    return session.ring.pack(total)


def _seal_share(
    session: Session, me: str, peer: str, share: bytes, secrets: PairSecrets, random_bytes: RandomBytes
) -> bytes:
    nonce = random_bytes(NONCE_BYTES)
    key = secrets.share_key(session, me, peer)
    return nonce + AESGCM(key).encrypt(nonce, share, share_binding(session, me, peer))
