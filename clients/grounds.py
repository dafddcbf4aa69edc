"""Why each thing that leaves a firm may leave it: one table, a row for every field of every message, file and refusal.

A field that is not in the table does not leave: `clients.disclosure`, the one door, looks it up here. The docs show the
same rows (docs/privacy.md); a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from clients.messages import (
    CHECK,
    DECRYPT,
    HELLO,
    HOLD,
    KEY,
    MEASURE,
    OPEN,
    PAIR,
    RELEASE,
    REVEAL,
    TRAIN,
    VALIDATE,
    WITNESS,
)

REFUSAL = "refusal"
OPENING = "file.opening"


class Why(StrEnum):
    """The closed list of grounds. Only `PAID` costs privacy, and only it needs the wallet's evidence."""

    DECLARED = "declared"  # the operator wrote it into firm.toml
    KEY = "key"  # keys, signatures, and names that they are enrolled under
    PROTOCOL = "protocol"  # follows from messages, the ledger and the clock: the records do not enter
    PAID = "paid"  # computed from the records; the wallet has paid for it
    AFTERWARDS = "afterwards"  # computed from what was paid and from nothing else of the firm


@dataclass(frozen=True)
class Ground:
    """Why one field may leave.

    Attributes:
        why: one of the closed list.
        words: how that holds for this field, in one clause.
        of: for `AFTERWARDS`, the message that was paid for.
    """

    why: Why
    words: str
    of: str = ""


_SIGNATURE = Ground(Why.KEY, "the firm's signature")
GROUNDS: Mapping[str, Mapping[str, Ground]] = {
    HELLO: {
        "member": Ground(Why.KEY, "the id under which the firm is enrolled"),
        "units": Ground(Why.DECLARED, "`units` of the task in `firm.toml`; no count of the table"),
        "announcement": Ground(Why.KEY, "the signed masking key of the epoch"),
        "signing_key": Ground(Why.KEY, "the firm's public key"),
        "mirrored": Ground(Why.PROTOCOL, "entries of the ledger that the firm's witness has"),
        "version": Ground(Why.PROTOCOL, "the newest version of the messages that both programs speak"),
        "extension": Ground(Why.PROTOCOL, "the release of the firm's program, and that it reads ids of traces"),
        "proof": _SIGNATURE,
    },
    PAIR: {"sealed": Ground(Why.KEY, "random pair secrets, sealed from firm to firm")},
    WITNESS: {
        "cosignature": _SIGNATURE,
        "mirrored": Ground(Why.PROTOCOL, "entries of the ledger that the firm's witness has"),
    },
    TRAIN: {
        "contribution": Ground(Why.PAID, "the clipped, noised and protected sum of the firm's units"),
        "statement": Ground(Why.PROTOCOL, "the signed hash of it, what it cost by the plan, and the declared units"),
    },
    MEASURE: {
        "contribution": Ground(Why.PAID, "the bounded, noised and protected sum of a statistic of the firm's units"),
        "statement": Ground(Why.PROTOCOL, "the signed hash of it, what it cost by the plan, and the declared units"),
    },
    OPEN: {"reply": Ground(Why.AFTERWARDS, "shares of the masks' seeds: they open a sum of contributions", TRAIN)},
    VALIDATE: {
        "vote": Ground(Why.PAID, "noised; on units that were not in the sum, so the round's payment covers it"),
    },
    HOLD: {
        "context": Ground(Why.KEY, "the public key for encrypted sums of others"),
        "statement": _SIGNATURE,
    },
    RELEASE: {"model": Ground(Why.PROTOCOL, "the hash of the release that the firm has taken")},
    KEY: {"hash": Ground(Why.PROTOCOL, "the hash of the key that was sent")},
    REVEAL: {
        "vector": Ground(Why.AFTERWARDS, "the ciphertext that the contribution is committed to", TRAIN),
        "signature": _SIGNATURE,
    },
    CHECK: {"signature": Ground(Why.AFTERWARDS, "over a sum of contributions", TRAIN)},
    DECRYPT: {
        "total": Ground(Why.AFTERWARDS, "the sum of other firms' contributions; the holder has none in it", TRAIN),
        "signature": _SIGNATURE,
    },
    OPENING: {"opening": Ground(Why.PAID, "the seeds that take the masks off one noised contribution")},
    REFUSAL: {
        "code": Ground(Why.PROTOCOL, "a kind only where the refusal is about the protocol or columns; else `Unready`"),
        "detail": Ground(
            Why.PROTOCOL,
            "one line about the protocol, columns, a limit of `firm.toml`, a pause; no spend, cell or path",
        ),
    },
}


def needs_payment(kind: str) -> bool:
    """Whether something of this kind may leave only with the wallet's evidence."""
    return any(ground.why is Why.PAID for ground in GROUNDS[kind].values())


def markdown() -> str:
    """The table for the docs."""
    rows = [
        f"| `{kind}` | `{field}` | {ground.why}{f' `{ground.of}`' if ground.of else ''} | {ground.words} |"
        for kind, fields in GROUNDS.items()
        for field, ground in fields.items()
    ]
    return _lines(["| what leaves | field | ground | how so |", "| --- | --- | --- | --- |", *rows])


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
