"""How a firm makes its epoch key known: a signed `epoch_key` record, which stands on the ledger where there is one."""

from __future__ import annotations

from functools import lru_cache

from clients.masking.epoch import EPOCH_KEY_BYTES, MOST_KEPT, EpochKeyPair, is_epoch_key
from clients.masking.errors import KeySetupRefused, MalformedMessage
from clients.masking.session import RosterEntry
from ledger.errors import LedgerError
from ledger.genesis import record
from ledger.keys import BadSignature, PublicKey, SigningKey
from ledger.rules import State
from ledger.rules.records import problem_with
from ledger.statement import decode_statement, sign_statement

PURPOSE = "masking"
"""What masking keys are called on the ledger."""


def announce(
    keys: EpochKeyPair, cid: str, epoch: int, member: str, key: SigningKey, *, record_id: bytes, now_s: int
) -> bytes:
    """The statement by which a member vouches for its epoch key.

    Args:
        key: the member's signing key.
        record_id: 16 fresh random bytes.
        now_s: seconds since 1970, advisory.
    """
    payload = record(
        "epoch_key", cid=cid, record_id=record_id, ts=now_s, purpose=PURPOSE, epoch=epoch, key=keys.public_bytes
    )
    return sign_statement(payload, issuer=member, subject=f"{PURPOSE}/{epoch}", key=key)


@lru_cache(maxsize=MOST_KEPT)
def read_announcement(raw: bytes, cid: str, epoch: int, member: str, key: PublicKey) -> RosterEntry:
    """Check a statement against the signing key of `member`, where no ledger has done so.

    Returns:
        The member's entry for a session's roster.

    Raises:
        MalformedMessage: not an `epoch_key` record.
        KeySetupRefused: for another consortium, epoch, purpose or member, not signed by `key`, or not a masking key.
    """
    what = f"epoch key of {member}"
    try:
        read = decode_statement(raw)
        problem = problem_with(read.payload)
    except LedgerError as error:
        raise MalformedMessage(f"{what}: {error}") from None
    if problem is not None or read.payload["t"] != "epoch_key":
        raise MalformedMessage(f"{what}: {problem or 'another record'}")
    said = tuple(read.payload[name] for name in ("cid", "purpose", "epoch"))
    if (*said, read.issuer) != (cid, PURPOSE, epoch, member):
        raise KeySetupRefused(f"{what}: it was announced for another consortium, purpose, epoch or member")
    try:
        read.verify(key)
    except BadSignature:
        raise KeySetupRefused(f"{what}: the signature is not the sender's enrolled key's") from None
    if not is_epoch_key(read.payload["key"]):
        raise KeySetupRefused(f"{what}: not an ML-KEM-768 + X25519 key of {EPOCH_KEY_BYTES} bytes")
    return RosterEntry(member, key.ed25519.raw, read.payload["key"])


def roster_on_ledger(state: State, epoch: int) -> tuple[RosterEntry, ...]:
    """The firms that have a masking key of this epoch on the ledger, in order of their ids.

    What is no such key is left out: to the rules of the ledger it is bytes, and one firm must not stop the others.
    """
    found = []
    for firm in state.active("firm"):
        known = state.epoch_key(firm.member, PURPOSE)
        if known is not None and known.key is not None and known.epoch == epoch and is_epoch_key(known.key):
            found.append(RosterEntry(firm.member, firm.key.ed25519.raw, known.key))
    return tuple(found)
