"""Two more parts that a firm can play in an encrypted sum: to check it for the others, and to hold the key to it.

The holder never sees a single contribution: what it opens must be the sum over all contributions that are final on its
own mirror, computed by more firms of that set than collude, each from the ciphertexts that the ledger commits to.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from clients.closed_sets import final_commits
from clients.disclosure import Leaving, leave
from clients.encryption.contexts import Context
from clients.encryption.errors import ContextRefused, KeyRetired, SumMalformed
from clients.encryption.evidence import (
    check_message,
    opening_message,
    read_checks,
    require_checks,
    require_reveals,
    reveal_message,
)
from clients.encryption.policy import PURPOSE, require_first_round
from clients.encryption.vectors import EncryptedPiece, blocks_of, decrypt_sum, hash_pieces
from clients.firm import Firm
from clients.masking import wire
from clients.masking.contribution import Header
from clients.masking.errors import HeaderMismatch, SessionReused, TooFewContributions
from clients.masking.session import HASH_BYTES, RosterEntry, Session
from clients.masking.unmasking import closed_set_hash
from clients.messages import CHECK, DECRYPT, HOLD, KEY, REVEAL, Refusal
from clients.offer import Offer, read_offer, session_of
from ledger.genesis import record
from ledger.statement import sign_statement

log = logging.getLogger("artesian.firm")
DAY_S = 86_400
LAST_EPOCH = 2**31  # as in a plan: a holder led further could never come back


def hold(firm: Firm, request: Mapping[str, Any], now: Callable[[], float] = time.time) -> Leaving:
    """Make this epoch's key, or say again what it is; reply the public context and the signed record of its hash.

    Raises:
        Refusal: this firm has not agreed to hold keys: it does not name itself in its `key_holders`.
        KeyRetired: the epoch has ended, or its key was retired.
    """
    if request["cid"] != firm.config.cid:
        raise Refusal("consortium", f"{firm.member} belongs to {firm.config.cid!r}, not {request['cid']!r}")
    _require_willing(firm)
    epoch = request["epoch"]
    if not 0 < epoch <= LAST_EPOCH:
        raise Refusal("epoch", f"{epoch} is not an epoch between 1 and {LAST_EPOCH}")
    public = firm.held_keys.public(epoch)
    if firm.config.limits.without_ledger:
        return leave(HOLD, {"context": public, "statement": b""})
    payload = record(
        "epoch_key",
        cid=firm.config.cid,
        record_id=secrets.token_bytes(16),
        ts=int(now()),
        purpose=PURPOSE,
        epoch=epoch,
        key=hashlib.sha256(public).digest(),
    )
    statement = sign_statement(payload, issuer=firm.member, subject=f"{PURPOSE}-{epoch}", key=firm.key)
    return leave(HOLD, {"context": public, "statement": statement})


def _require_willing(firm: Firm) -> None:
    if not firm.holds_keys:
        raise Refusal("key holder", f"{firm.member} does not hold keys: its firm.toml does not name it in key_holders")


def end_stale_key(firm: Firm, now: Callable[[], float] = time.time) -> None:
    """Destroy a held key that is older than the firm keeps any secret; asked before every message is handled.

    A key whose sum was opened is gone already. This is for a round that was given up, and no other came.
    """
    begun_s = firm.held_keys.begun_s if firm.holds_keys else None
    if begun_s is not None and now() - begun_s > firm.config.limits.epoch_days * DAY_S:
        firm.held_keys.retire()
        log.warning("held key of epoch %d destroyed: it is too old", firm.held_keys.epoch)


def take_key(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Keep the public context of a key holder that this firm allows, if it is the one vouched for on the ledger.

    Raises:
        Refusal, ContextRefused: nothing was kept.
    """
    holder, limits = request["holder"], firm.config.limits
    if holder not in limits.key_holders or "encrypted" not in limits.aggregation:
        raise Refusal("key holder", f"{holder!r} is not among those that this firm allows")
    if not limits.without_ledger:
        vouched = firm.witness.state.epoch_key(holder, PURPOSE)
        if vouched is None or vouched.key != hashlib.sha256(request["context"]).digest():
            raise ContextRefused(f"context of {holder}: it is not the one that {holder} vouches for on the ledger")
    return leave(KEY, {"hash": firm.contexts.keep(holder, request["context"]).hash})


def reveal(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Hand over this firm's ciphertext, for the set that is closed here and no other.

    Raises:
        Refusal, MaskingError, NotFinal: nothing was handed over.
    """
    offer, session = _session(firm, request)
    commits = _closed_set(firm, offer, session, request)
    vector = firm.kept_vector.of(commits.get(firm.member, b""))
    closed_set = closed_set_hash(session, commits)
    signature = firm.key.sign(reveal_message(session, closed_set))
    kept = firm.answers.answer(session.sid, closed_set, signature)
    return leave(REVEAL, {"vector": vector, "signature": kept})


def check(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Compute one piece of the sum over the contributions that are final here, and sign what it is.

    Raises:
        Refusal, MaskingError, NotFinal: nothing was signed.
    """
    offer, session = _session(firm, request)
    commits = _closed_set(firm, offer, session, request)
    if firm.member not in commits:
        raise Refusal("cohort", f"{firm.member} has no part in the closed set, and checks nothing of it")
    context, number = firm.contexts.context(session.key_holder, session.context), request["number"]
    if not 0 <= number < len(blocks_of(session.dimension)):
        raise Refusal("piece", f"the sum has no piece {number}")
    firm.rest_mirror()
    piece = sum_piece(context, session, number, commits, request["headers"], request["hashes"], request["pieces"])
    signature = firm.key.sign(check_message(session, closed_set_hash(session, commits), number, piece))
    return leave(CHECK, {"signature": signature})


def sum_piece(
    context: Context,
    session: Session,
    number: int,
    commits: Mapping[str, bytes],
    headers: Mapping[str, bytes],
    hashes: Mapping[str, bytes],
    pieces: Mapping[str, bytes],
) -> bytes:
    """Compute a piece of the sum over a closed set, each part checked against what its firm committed to.

    Raises:
        HeaderMismatch: names the first part that is missing, or not what the ledger leads to.
        CiphertextRefused: a part cannot be added.
    """
    total = EncryptedPiece(context, session, number)
    for member, commit in sorted(commits.items()):
        raw, listed, piece = headers.get(member, b""), hashes.get(member, b""), pieces.get(member, b"")
        if hashlib.sha256(raw).digest() != commit:
            raise HeaderMismatch(f"closed set: the header of {member} is not the one recorded on the ledger")
        header = Header.from_bytes(raw)
        if (header.sid, header.member) != (session.sid, member):
            raise HeaderMismatch(f"closed set: the header of {member} speaks for another session or member")
        if hashlib.sha256(listed).digest() != header.pair_seeds:
            raise HeaderMismatch(f"closed set: the pieces of {member} are not listed as in its header")
        if hashlib.sha256(piece).digest() != listed[number * HASH_BYTES : (number + 1) * HASH_BYTES]:
            raise HeaderMismatch(f"closed set: piece {number} of {member} is not the one that it lists")
        total.add(piece, f"piece {number} of {member}")
    return total.to_bytes()


def decrypt(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Open the sum of a round, once, for the contributions that are final here and no others.

    Raises:
        Refusal, MaskingError, NotFinal: nothing was opened, or what came out stays here and the key is gone.
    """
    _require_willing(firm)
    offer, session = _session(firm, request)
    if session.key_holder != firm.member:
        raise Refusal("key holder", f"the round's key holder is {session.key_holder!r}, not {firm.member!r}")
    if firm.ledger is not None:
        require_first_round(firm.ledger, firm.member, offer.round_id)
    commits = _closed_set(firm, offer, session, request)
    closed_set, pieces = closed_set_hash(session, commits), list(request["pieces"])
    if len(pieces) != len(blocks_of(session.dimension)) or any(type(one) is not bytes for one in pieces):
        raise Refusal("piece", f"the sum has another number of pieces than {session.dimension} values")
    sums = hash_pieces(pieces)
    keys = _signing_keys(firm, commits, request)
    fewest = firm.config.limits.colluders + 1
    require_reveals(session, closed_set, wire.bytes_by_member(request["reveals"], "reveals"), keys)
    require_checks(session, closed_set, sums, read_checks(request["checks"]), keys, fewest)
    firm.rest_mirror()
    total = _open_once(firm, session, pieces, hashlib.sha256(closed_set + sums).digest(), len(commits))
    signature = firm.key.sign(opening_message(session, closed_set, sums, total))
    return leave(DECRYPT, {"total": total, "signature": signature})


def _open_once(firm: Firm, session: Session, pieces: Sequence[bytes], asked: bytes, firms: int) -> bytes:
    """The packed total of a sum: the one that was told before, or decrypted now. Then the key is gone.

    Args:
        asked: names the closed set and the sum, 32 bytes.
    """
    told = firm.answers.kept(session.sid, asked)
    if told is None:
        secret = firm.held_keys.secret(session.epoch)
        if hashlib.sha256(firm.held_keys.public(session.epoch)).digest() != session.context:
            raise ContextRefused("context: the round names another than this holder's")
        with suppress(SessionReused):  # then the book knows the session, or the round with other terms
            firm.answers.enter(session, asked)
        try:
            total = decrypt_sum(secret, session, pieces, firms)
        except SumMalformed as error:
            firm.held_keys.retire()
            raise KeyRetired(f"{error}; the round's key was destroyed, the next one has a new one") from None
        told = firm.answers.answer(session.sid, asked, session.ring.pack(session.ring.from_signed(total)))
    if firm.held_keys.epoch == session.epoch:
        firm.held_keys.retire()
    return told


def _session(firm: Firm, request: Mapping[str, Any]) -> tuple[Offer, Session]:
    """The encrypted sum of a round that is final on the ledger and open in this firm's mirror."""
    offer = read_offer(firm, request["statement"], request["receipt"])
    if offer.plan.aggregation != "encrypted":
        raise Refusal("aggregation", f"the round's sum is {offer.plan.aggregation}, not encrypted")
    roster = tuple(RosterEntry(member, bytes(32)) for member in sorted(offer.cohort))
    return offer, session_of(firm.config.cid, offer, roster, offer.plan.dimension)


def _closed_set(firm: Firm, offer: Offer, session: Session, request: Mapping[str, Any]) -> dict[str, bytes]:
    """{member: commit} of the contributions that are final here: enough of them for this firm and for the session."""
    limits = firm.config.limits
    if limits.without_ledger:
        commits = dict(request["commits"])
    else:
        commits = final_commits(firm, offer.round_id, request["final"])
    fewest = max(session.threshold, limits.colluders + limits.smallest_group)
    if len(commits) < fewest:
        raise TooFewContributions(f"closed set: {len(commits)} contributions, {fewest} are needed")
    if len(offer.cohort) < limits.min_cohort:
        raise Refusal("cohort", f"{len(offer.cohort)} firms, this firm asks for at least {limits.min_cohort}")
    return commits


def _signing_keys(firm: Firm, members: Iterable[str], request: Mapping[str, Any]) -> dict[str, bytes]:
    """The keys of the closed set's firms: those enrolled on this firm's mirror."""
    if firm.config.limits.without_ledger:
        claimed = {member: request["signing_keys"].get(member) for member in members}
        return {member: key for member, key in claimed.items() if type(key) is bytes and len(key) == HASH_BYTES}
    known = ((member, firm.witness.state.members.get(member)) for member in members)
    return {member: one.key.ed25519.raw for member, one in known if one is not None and one.active}
