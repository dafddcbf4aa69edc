"""A firm's opening of its own update of one round, for the eyes of one auditor: signed by the firm, then sealed whole.

The file is a line that says what it is, and an HPKE message to the auditor's encryption key: nobody else reads even
whose update it is about. Inside is a statement by the firm (COSE_Sign1) that names consortium, round, session,
contribution and auditor, and holds the seeds of the masks between the firm and every other of its session. The auditor
can show it to others, but to none of them as if it were made for them. The ledger takes no such record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clients.errors import ClientError
from clients.masking import wire
from clients.masking.derivation import KEY_BYTES
from clients.masking.errors import MalformedMessage
from clients.masking.session import HASH_BYTES, ROUND_BYTES
from ledger.encoding import encode
from ledger.errors import LedgerError
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.service.encryption_key import CannotOpen, EncryptionKey, seal
from ledger.statement import Statement, decode_statement, sign_statement

_KIND = "opening"
_CONTEXT = "artesian/opening/v1"
_FIRST_LINE = b"artesian opening v1\n"
_FIELDS: Mapping[str, int] = {"round": ROUND_BYTES, "sid": HASH_BYTES, "commit": HASH_BYTES}


class NoOpening(ClientError):
    """The file is no opening, or its content is none."""


class NotForThisKey(ClientError):
    """The opening is sealed to another auditor or for another consortium, or was changed."""

    exit_code = 1


@dataclass(frozen=True)
class Opening:
    """What a firm tells one auditor of one of its contributions.

    Attributes:
        cid: the consortium's id.
        round_id: 16 bytes.
        sid: the id of the session that the update was masked in, 32 bytes.
        member: the firm.
        auditor: the member that it is opened to.
        commit: SHA-256 of the contribution's header, as the ledger has it.
        seeds: {peer: the seed of the mask between the two, 32 bytes}, for all others of the session.
    """

    cid: str
    round_id: bytes
    sid: bytes
    member: str
    auditor: str
    commit: bytes
    seeds: Mapping[str, bytes] = field(repr=False)  # not for logs


def seal_opening(opening: Opening, key: SigningKey, auditor_key: bytes, *, record_id: bytes, ts: int) -> bytes:
    """The file for the auditor.

    Args:
        key: the firm's signing key.
        auditor_key: the auditor's encryption key, as the ledger has it.
        record_id: 16 random bytes.
        ts: seconds since the epoch, advisory.

    Raises:
        KeyFileError: the auditor's key is none.
    """
    payload = record(
        _KIND,
        cid=opening.cid,
        record_id=record_id,
        ts=ts,
        round=opening.round_id,
        sid=opening.sid,
        commit=opening.commit,
        auditor=opening.auditor,
        seeds=dict(opening.seeds),
    )
    signed = sign_statement(payload, issuer=opening.member, subject=opening.round_id.hex(), key=key)
    return _FIRST_LINE + seal(signed, auditor_key, _bound(opening.cid, opening.auditor))


def open_opening(file: bytes, key: EncryptionKey, cid: str, auditor: str) -> tuple[Opening, Statement]:
    """What a file says, and the firm's statement, whose signature is the caller's to check.

    Args:
        key: the auditor's.
        cid: the consortium that it must be of.
        auditor: who reads it; it must name the same.

    Raises:
        NoOpening: it is something else.
        NotForThisKey: it was sealed to another key, auditor or consortium, or changed; or it names another of them.
    """
    if not file.startswith(_FIRST_LINE):
        raise NoOpening("this is no opening of an update; give the file that the firm's open-dispute wrote")
    try:
        statement = decode_statement(key.open(file[len(_FIRST_LINE) :], _bound(cid, auditor)))
    except CannotOpen:
        raise NotForThisKey(
            f"the opening is not for {auditor} in {cid}, was sealed to another key or changed"
        ) from None
    except LedgerError as error:
        raise NoOpening(f"the opening holds no statement: {error}") from None
    opening = _read(statement)
    if (opening.cid, opening.auditor) != (cid, auditor):
        raise NotForThisKey(
            f"{opening.member} made the opening for {opening.auditor} in {opening.cid}, not for {auditor}"
        )
    return opening, statement


def _read(statement: Statement) -> Opening:
    payload: Mapping[str, Any] = statement.payload
    known = record(_KIND, cid="", record_id=b"", ts=0, auditor="", seeds={}).keys() | _FIELDS.keys()
    texts = all(type(payload.get(name)) is str for name in ("cid", "auditor"))
    sizes = all(type(payload.get(name)) is bytes and len(payload[name]) == size for name, size in _FIELDS.items())
    shaped = payload.keys() == known and payload["t"] == _KIND and type(payload["seeds"]) is dict
    if not (texts and sizes and shaped) or statement.subject != payload["round"].hex():
        raise NoOpening("the opening's statement is of another kind, or not of this version")
    try:
        seeds = wire.bytes_by_member(payload["seeds"], "opening", KEY_BYTES)
    except MalformedMessage as error:
        raise NoOpening(str(error)) from None
    names = (payload["cid"], payload["round"], payload["sid"], statement.issuer, payload["auditor"])
    return Opening(*names, payload["commit"], seeds)


def _bound(cid: str, auditor: str) -> bytes:
    return encode([_CONTEXT, cid, auditor])
