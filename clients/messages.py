"""The messages of a round, between the coordinator and a firm: their fields, their encoding, their refusals.

Every message is one deterministic CBOR map in one field of a Flower record, so that what is signed and hashed is
what travels. A reply is either the answer or a typed refusal; `clients.disclosure` says what may be in either.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flwr.app import ConfigRecord, RecordDict

from clients.errors import ClientError
from clients.masking import wire
from clients.plain_text import one_line

HELLO = "query.hello"
PAIR = "query.pair"
WITNESS = "query.witness"
RELEASE = "query.release"
TRAIN = "train.update"
OPEN = "train.open"
VALIDATE = "train.validate"
MEASURE = "train.measure"
HOLD = "query.hold"
KEY = "query.key"
REVEAL = "train.reveal"
CHECK = "train.check"
DECRYPT = "train.decrypt"

LOWEST = 1
"""The first version of the schema. `query.hello` is of it for ever: `clients.dialect` says how the others differ."""
_RECORD, _FIELD, _REFUSED, _TRACE = "artesian", "message", "refused", "trace"
ACCUSES = "PairSecretRefused/"
_MOST_CODE = 96

REQUESTS: Mapping[str, Mapping[str, type]] = {
    HELLO: {
        "cid": str,
        "task": str,
        "epoch": int,
        "nonce": bytes,
        "versions": list,  # the lowest and the highest version of these messages that the coordinator speaks
        "extension": dict,  # what the other one may not know, and may then leave: `clients.greeting`
    },
    PAIR: {
        "epoch": int,
        "final": str,  # the checkpoint of the ledger that has the keys; without a ledger empty, and these two:
        "announcements": dict,  # {firm: its statement}
        "signing_keys": dict,
    },
    WITNESS: {"entries": list, "checkpoint": str, "proof": list, "final": str},
    RELEASE: {"task": str, "files": dict, "manifest": bytes, "statement": bytes, "receipt": bytes},
    TRAIN: {
        "statement": bytes,  # the signed `round`; without a ledger its bare payload
        "receipt": bytes,
        "sealed": dict,  # {sender: sealed pair secret}
        "parameters": bytes,
        "digests": dict,  # {model file: SHA-256}
    },
    MEASURE: {
        "statement": bytes,  # as for `TRAIN`
        "receipt": bytes,
        "sealed": dict,
        "parameters": bytes,  # the average that is released, not where the next gradient is taken
        "digests": dict,
    },
    OPEN: {"round": bytes, "headers": dict, "commits": dict, "inbound": dict, "final": str},
    VALIDATE: {
        "statement": bytes,
        "receipt": bytes,
        "parameters": bytes,
        "digests": dict,
        "groups": list,  # mean gradients, as model files
    },
    HOLD: {"cid": str, "epoch": int},  # to the key holder of encrypted sums
    KEY: {"holder": str, "context": bytes},
    REVEAL: {"statement": bytes, "receipt": bytes, "final": str, "commits": dict},
    CHECK: {
        "statement": bytes,
        "receipt": bytes,
        "final": str,
        "commits": dict,
        "headers": dict,
        "hashes": dict,  # {firm: SHA-256 of every piece of its ciphertext}
        "number": int,
        "pieces": dict,  # {firm: that piece}
    },
    DECRYPT: {
        "statement": bytes,
        "receipt": bytes,
        "final": str,
        "commits": dict,
        "signing_keys": dict,  # where there is no ledger to take them from
        "pieces": list,
        "reveals": dict,
        "checks": list,
    },
}
REPLIES: Mapping[str, Mapping[str, type]] = {
    HELLO: {
        "member": str,
        "units": int,
        "announcement": bytes,
        "signing_key": bytes,
        "mirrored": int,
        "version": int,  # that of all later messages of the run, both ways
        "extension": dict,
        "proof": bytes,  # `clients.greeting`
    },
    PAIR: {"sealed": dict},
    WITNESS: {"cosignature": str, "mirrored": int},
    RELEASE: {"model": bytes},
    TRAIN: {"contribution": bytes, "statement": bytes},
    MEASURE: {"contribution": bytes, "statement": bytes},
    OPEN: {"reply": bytes},
    VALIDATE: {"vote": bytes},
    HOLD: {"context": bytes, "statement": bytes},
    KEY: {"hash": bytes},
    REVEAL: {"vector": bytes, "signature": bytes},
    CHECK: {"signature": bytes},
    DECRYPT: {"total": bytes, "signature": bytes},
}


class Refusal(ClientError):
    """A firm says no: `code` for programs, and one line for people."""

    exit_code = 1

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    @property
    def accuses(self) -> str | None:
        """The firm whose pair secret does not open for the one that refuses; None where it is about something else."""
        return self.code.removeprefix(ACCUSES) if self.code.startswith(ACCUSES) else None


def pack(fields: Mapping[str, Any], version: int = LOWEST, trace: bytes = b"") -> RecordDict:
    """A message as Flower carries it, of one version of the schema; with ids of a trace beside it, if there is one."""
    content = ConfigRecord({_FIELD: wire.encode(fields, version)})
    if trace:
        content[_TRACE] = trace
    return RecordDict({_RECORD: content})


def trace_of(content: RecordDict) -> bytes:
    """The ids of a trace beside a message, as `clients.tracing` reads them; empty where there are none."""
    return _as_bytes(content.config_records.get(_RECORD, ConfigRecord()).get(_TRACE))


def pack_refused(code: str, detail: str) -> RecordDict:
    """A refusal as Flower carries it; what it may say is for `clients.disclosure` to judge."""
    return RecordDict({_RECORD: ConfigRecord({_REFUSED: wire.encode({"code": code, "detail": detail})})})


def version_of(content: RecordDict) -> int:
    """The version of the schema that a message says it is packed in; the lowest where it says none."""
    found = wire.version_of(_as_bytes(content.config_records.get(_RECORD, ConfigRecord()).get(_FIELD)))
    return LOWEST if found is None else found


def unpack(content: RecordDict, schema: Mapping[str, type], what: str, version: int = LOWEST) -> dict[str, Any]:
    """Read a message or reply of the given fields, packed in this version of the schema.

    Raises:
        Refusal: the firm refused.
        MalformedMessage: anything else that is not such a message.
    """
    record = content.config_records.get(_RECORD, ConfigRecord())
    if _REFUSED in record:
        fields = wire.decode(_as_bytes(record[_REFUSED]), {"code": str, "detail": str}, what)
        raise Refusal(one_line(fields["code"])[:_MOST_CODE], one_line(fields["detail"])[:500])
    return dict(_decoded(_as_bytes(record.get(_FIELD)), tuple(schema.items()), what, version))


@lru_cache(maxsize=2)
def _decoded(raw: bytes, schema: tuple[tuple[str, type], ...], what: str, version: int) -> dict[str, Any]:
    """A message's fields, to be copied; many simulated firms of one process are sent the same bytes."""
    return wire.decode(raw, dict(schema), what, version)


def _as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
