"""What a score answer says and how it is signed: COSE_Sign1 (RFC 9052) over deterministic CBOR (RFC 8949).

The signed payload is a map without floats, so that every verifier reads the same bytes the same way:

    {v: 1, cid, bank, task, id(16 bytes), query(32), score, pd_ppm, reasons: [[code, text, points], ...],
     model(32), receipt(32), statement(32), ts}

`query` is the SHA-256 of the whole question, `receipt` and `statement` those of the release proof that
travels beside, `pd_ppm` the probability of default in parts per million, `ts` Unix milliseconds. The
protected header is {alg: -8, content type, kid, CWT claims: {iss: who scored, sub: task}}; its content type
keeps an answer from ever passing for a ledger statement. The random `id` hides the question behind its hash.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clients.errors import ClientError
from clients.scoring.query import Query
from clients.tasks.scorecard import Reason, Score
from ledger.cose import (
    ALG,
    ALG_EDDSA,
    CONTENT_TYPE,
    CWT_CLAIMS,
    KID,
    CoseError,
    attached,
    read_sign1,
    sign1,
    signature_input,
)
from ledger.encoding import EncodingError, decode, encode
from ledger.keys import BadSignature, PublicKey, SigningKey

ANSWER_TYPE = "application/vnd.artesian.score-answer+cbor"
PPM = 1_000_000

_ISS, _SUB = 1, 2
_KINDS: dict[str, type] = {
    **dict.fromkeys(("cid", "bank", "task"), str),
    **dict.fromkeys(("id", "query", "model", "receipt", "statement"), bytes),
    **dict.fromkeys(("v", "score", "pd_ppm", "ts"), int),
    "reasons": list,
}


class BadAnswer(ClientError):
    """A signed answer does not hold: damaged, forged, or not an answer."""

    exit_code = 1


class OtherKey(BadAnswer):
    """A signed answer names another key than the one that it is held against."""


@dataclass(frozen=True)
class Answer:
    """What a signed answer says.

    Attributes:
        cid: the consortium.
        bank: the member that asked.
        task: the task that was asked.
        id: the question's 16 random bytes.
        query: SHA-256 of the question (32 bytes).
        score: higher is safer.
        pd_ppm: probability of default, parts per million.
        reasons: heaviest first.
        model: hash of the released model (32 bytes).
        receipt: SHA-256 of the release receipt (32 bytes).
        statement: SHA-256 of the publish statement (32 bytes).
        ts: when it was answered, Unix milliseconds by the service's clock.
    """

    cid: str
    bank: str
    task: str
    id: bytes
    query: bytes
    score: int
    pd_ppm: int
    reasons: tuple[Reason, ...]
    model: bytes
    receipt: bytes
    statement: bytes
    ts: int

    @property
    def pd(self) -> float:
        """Probability of default in [0, 1], exactly as signed."""
        return self.pd_ppm / PPM


class Release(NamedTuple):
    """The hashes that an answer rests on: the model's, and the SHA-256 of receipt and publish statement."""

    model: bytes
    receipt: bytes
    statement: bytes


def answer_query(query: Query, score: Score, release: Release, *, cid: str, bank: str, ts: int) -> Answer:
    """Put a `score` into the form that is signed.

    Raises:
        BadAnswer: the scorer's probability is not in [0, 1].
    """
    if not 0.0 <= score.pd <= 1.0:
        raise BadAnswer(f"the scorer of {query.task} gave {score.pd} as a probability")
    pd_ppm = round(score.pd * PPM)
    hashes = release._asdict()
    return Answer(cid, bank, query.task, query.id, query.digest(), score.score, pd_ppm, score.reasons, ts=ts, **hashes)


def sign_answer(answer: Answer, issuer: str, key: SigningKey) -> bytes:
    """Sign as `issuer`: a COSE_Sign1 message, tag 18.

    Raises:
        EncodingError: the scorer gave something else than integers for score and points.
    """
    payload = {name: getattr(answer, name) for name in _KINDS if name not in ("v", "reasons")}
    payload |= {"v": 1, "reasons": [[r.code, r.text, r.points] for r in answer.reasons]}
    claims = {_ISS: issuer, _SUB: answer.task}
    header = {ALG: ALG_EDDSA, CONTENT_TYPE: ANSWER_TYPE, KID: key.public.kid, CWT_CLAIMS: claims}
    return sign1(header, encode(payload), key.sign)


def open_answer(signed: bytes, key: PublicKey) -> Answer:
    """Verify a signed answer and read it.

    Raises:
        OtherKey: it says that it is signed with another key.
        BadAnswer: the signature is not by `key`, or the message is damaged, not canonical or not an answer.
    """
    message = _decode(signed)
    if message.header[KID] != key.kid:
        raise OtherKey("the answer is signed with another key than the scorer's")
    try:
        key.verify(message.signature, message.signed)
    except BadSignature:
        raise BadAnswer("the signature does not fit: the answer was changed after it was signed") from None
    return _answer(message.payload)


def read_answer(signed: bytes) -> Answer:
    """Read a signed answer WITHOUT verifying its signature: to show it, or before the key is at hand.

    Raises:
        BadAnswer: the message is damaged, not canonical or not an answer.
    """
    return _answer(_decode(signed).payload)


class _Message(NamedTuple):
    header: Mapping[Any, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes


def _decode(signed: bytes) -> _Message:
    try:
        message = read_sign1(signed, what="the answer")
        content = attached(message, what="the answer")
        header, payload = message.header, decode(content, what="the answer's payload")
    except (CoseError, EncodingError) as error:
        raise BadAnswer(str(error)) from None
    match header, payload:
        case {1: -8, 3: str(kind), 4: bytes(), 15: {1: str(), 2: str()}}, dict() if kind == ANSWER_TYPE:
            return _Message(header, payload, signature_input(message.protected, content), message.signature)
    raise BadAnswer(f"the header is not that of a score answer ({ANSWER_TYPE})")


def _answer(payload: dict[str, Any]) -> Answer:
    if payload.keys() != _KINDS.keys() or payload["v"] != 1:
        raise BadAnswer(f"a score answer of a form not known here (version {payload.get('v')!r})")
    for name, kind in _KINDS.items():
        if type(payload[name]) is not kind:
            raise BadAnswer(f"{name} of the answer is not {kind.__name__}")
    reasons = []
    for reason in payload["reasons"]:
        match reason:
            case [str(code), str(text), int(points)]:
                reasons.append(Reason(code, text, points))
            case _:
                raise BadAnswer("a reason of the answer is not [code, text, points]")
    fields = {name: value for name, value in payload.items() if name not in ("v", "reasons")}
    return Answer(reasons=tuple(reasons), **fields)
