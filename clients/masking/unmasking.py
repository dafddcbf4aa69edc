"""The second trip: a firm opens its shares for one closed set of contributions, or says why not.

The reply holds a share of the self seed of each included firm, and the firm's own pair seeds with the dropped
ones. Never both kinds for one firm: together they would open its update.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clients.masking import wire
from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import Header, Kept, share_binding
from clients.masking.derivation import KEY_BYTES, commit
from clients.masking.errors import (
    HeaderMismatch,
    MalformedMessage,
    OwnContributionChanged,
    OwnContributionMissing,
    SessionMismatch,
    ShareRefused,
    TooFewContributions,
    UnknownMember,
)
from clients.masking.pair_secrets import NONCE_BYTES, PairSecrets
from clients.masking.session import HASH_BYTES, Session

_REPLY: dict[str, type] = {
    "sid": bytes,
    "member": str,
    "closed_set": bytes,
    "shares": dict,
    "pair_seeds": dict,
}


@dataclass(frozen=True)
class UnmaskingReply:
    """What a firm sends on the second trip.

    Attributes:
        sid: the session id.
        member: who answers.
        closed_set: the hash of the set it answers for, see `closed_set_hash`.
        shares: {included member: its share of that member's self seed, 32 bytes}.
        pair_seeds: {dropped member: the seed of the mask between the two, 32 bytes}.
    """

    sid: bytes
    member: str
    closed_set: bytes
    shares: dict[str, bytes]
    pair_seeds: dict[str, bytes]

    def to_bytes(self) -> bytes:
        """The reply as deterministic CBOR."""
        return wire.encode({name: getattr(self, name) for name in _REPLY})

    @classmethod
    def from_bytes(cls, raw: bytes) -> UnmaskingReply:
        """Reads a reply's shape; the aggregator checks it against the session and the closed set.

        Raises:
            MalformedMessage: not a reply.
        """
        fields = wire.decode(raw, _REPLY, "unmasking reply")
        if len(fields["sid"]) != HASH_BYTES or len(fields["closed_set"]) != HASH_BYTES:
            raise MalformedMessage("unmasking reply: session id and closed set are 32 bytes each")
        shares = wire.bytes_by_member(fields["shares"], "unmasking reply shares", KEY_BYTES)
        pair_seeds = wire.bytes_by_member(fields["pair_seeds"], "unmasking reply pair seeds", KEY_BYTES)
        return cls(fields["sid"], fields["member"], fields["closed_set"], shares, pair_seeds)


def closed_set_hash(session: Session, commits: Mapping[str, bytes]) -> bytes:
    """The hash that names a closed set: the session and each included member with its header's hash."""
    named = (part for member in sorted(commits) for part in (member.encode(), commits[member]))
    return commit("closed-set", session.sid, *named)


def answer(
    session: Session,
    me: str,
    headers: Mapping[str, bytes],
    commits: Mapping[str, bytes],
    inbound: Mapping[str, bytes],
    kept: Kept,
    secrets: PairSecrets,
    book: AnswerBook,
) -> UnmaskingReply:
    """Answers for a closed set of contributions, once.

    Args:
        session: the session asked about.
        me: this firm's member id.
        headers: {included member: encoded header}, the closed set as the coordinator shows it.
        commits: {member: `commit` of its contribution statement}, from ledger entries that this firm
            verified, for every contribution of the round that is final there.
        inbound: {included peer: the encrypted share it made for this firm}.
        kept: what `protect` gave this firm to keep.
        secrets: its pair secrets.
        book: its answer book; the reply is on disk before this returns.

    Raises:
        UnmaskingRefused: the subclass says which rule does not hold; nothing was revealed or written.
        MalformedMessage: a header is not one.
        KeySetupRefused: the pair secrets are not those of the session's epoch.
    """
    kept.session.require_same(session)
    if me != kept.me or me != secrets.me.member:
        raise SessionMismatch(f"session: it was entered as {kept.me} with keys of {secrets.me.member}, not as {me}")
    secrets.require_roster(session)
    _check_closed_set(session, me, headers, commits, kept)
    shares = {me: kept.own_share}
    for sender in headers:
        if sender != me:
            shares[sender] = _open_share(session, me, sender, inbound, secrets)
    dropped = [member for member in session.members if member not in headers]
    pair_seeds = {member: secrets.mask_seed(session, member) for member in dropped}
    closed_set = closed_set_hash(session, commits)
    reply = UnmaskingReply(session.sid, me, closed_set, shares, pair_seeds)
    return UnmaskingReply.from_bytes(book.answer(session.sid, closed_set, reply.to_bytes()))


def _check_closed_set(
    session: Session, me: str, headers: Mapping[str, bytes], commits: Mapping[str, bytes], kept: Kept
) -> None:
    for member in sorted({*headers, *commits}):
        if member not in session:
            raise UnknownMember(f"closed set: {member} is not in the session's roster")
    if me not in headers or me not in commits:
        raise OwnContributionMissing(f"closed set: it leaves out {me}, which did contribute")
    if headers[me] != kept.header:
        raise OwnContributionChanged(f"closed set: the header under {me} is not the one this firm sent")
    if headers.keys() != commits.keys():
        odd = sorted(headers.keys() ^ commits.keys())
        raise HeaderMismatch(f"closed set: it and the ledger disagree on whether {odd[0]} contributed")
    if len(headers) < session.threshold:
        raise TooFewContributions(f"closed set: {len(headers)} contributions, the threshold is {session.threshold}")
    for member, raw in headers.items():
        if hashlib.sha256(raw).digest() != commits[member]:
            raise HeaderMismatch(f"closed set: the header of {member} is not the one recorded on the ledger")
        header = Header.from_bytes(raw)
        if (header.sid, header.member) != (session.sid, member):
            raise HeaderMismatch(f"closed set: the header of {member} speaks for another session or member")


def _open_share(session: Session, me: str, sender: str, inbound: Mapping[str, bytes], secrets: PairSecrets) -> bytes:
    sealed = inbound.get(sender)
    if sealed is None:
        raise ShareRefused(f"share from {sender}: it is missing")
    key = secrets.share_key(session, sender, me)
    try:
        share = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], share_binding(session, sender, me))
    except (InvalidTag, ValueError):
        raise ShareRefused(
            f"share from {sender}: it does not open for {me}; it was changed or made for someone else"
        ) from None
    if len(share) != KEY_BYTES:
        raise ShareRefused(f"share from {sender}: {len(share)} bytes, expected {KEY_BYTES}")
    return share
