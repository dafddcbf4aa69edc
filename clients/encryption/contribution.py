"""A firm's update under the key holder's key, and the header that commits to it.

Who sees a ciphertext can send a multiple of it as its own, and have it in the sum twice. So firms commit first, by the
header on the ledger, and hand ciphertexts over when the set is closed. The header is the masked one: `masked` is the
ciphertext's hash, `pair_seeds` that of its pieces' hashes, by which other firms check one piece at a time, `self_seed`
names the context, and there are no shares.
"""

from __future__ import annotations

import hashlib

from clients.encryption.contexts import Context
from clients.encryption.vectors import encrypt, hash_pieces, pieces_of
from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import Contribution, Header, check_values
from clients.masking.errors import PlanRefused
from clients.masking.ring import Integers
from clients.masking.session import Session

NO_SHARES = hashlib.sha256(b"").digest()


def seal(session: Session, me: str, values: Integers, context: Context, book: AnswerBook) -> tuple[Contribution, bytes]:
    """Encrypts one update for one session; like a masked one, it is never protected twice.

    Args:
        session: the terms; its `context` is the hash of `context`.
        me: this firm's member id.
        values: int64[dimension] from the session's quantiser, with noise.
        context: the key holder's public one.
        book: where the session is noted before this returns.

    Returns:
        what goes out at once, which holds hashes only, and the encrypted vector, which follows when all are committed.

    Raises:
        PlanRefused: the session is not encrypted, for another context, or without this firm.
        ValueOutOfBounds: a value is beyond what cannot wrap, or there are not `dimension` of them.
        SessionReused: this firm already protected an update in this session or round.
    """
    if session.protection != "encrypted" or session.context != context.hash:
        raise PlanRefused("session: it does not ask for an update under this context")
    if me not in session:
        raise PlanRefused(f"session: {me} is not in the roster")
    check_values(session, values)
    encrypted = encrypt(context, session, values)
    hashes = hash_pieces(pieces_of(session, encrypted, "update"))
    header = Header(
        sid=session.sid,
        member=me,
        masked=hashlib.sha256(encrypted).digest(),
        self_seed=session.context,
        pair_seeds=hashlib.sha256(hashes).digest(),
        shares=NO_SHARES,
    ).to_bytes()
    book.enter(session, hashlib.sha256(header).digest())
    return Contribution(header, b"", hashes, {}), encrypted
