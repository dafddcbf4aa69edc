"""Messages to nodes and their replies, each in the version of the schema that its node speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flwr.app import Message, RecordDict

from clients.dialect import Dialect
from clients.messages import HELLO, LOWEST, pack, unpack


def messages(
    spoken: Dialect,
    kind: str,
    requests: Mapping[int, Mapping[str, Any]],
    versions: Mapping[int, int],
    number: int,
    life_s: float,
    traces: Mapping[int, bytes] | None = None,
) -> Iterator[Message]:
    """One message a node, made when it is its turn; most nodes are sent the same, packed once for each version.

    Args:
        requests: fields of the newest version, by node.
        versions: what each node speaks.
        number: of the round.
        life_s: after so many seconds no node is handed its message any more, and no reply to it is taken.
        traces: ids of a trace for the nodes that read them.

    Raises:
        VersionMismatch: a node's version cannot say its message.
    """
    last: Mapping[str, Any] | None = None
    packed: dict[tuple[int, bytes], RecordDict] = {}
    for node, request in requests.items():
        if request is not last:
            last, packed = request, {}
        version, trace = _version(kind, versions[node]), (traces or {}).get(node, b"")
        if (version, trace) not in packed:
            packed[version, trace] = pack(spoken.lowered("request", kind, request, version), version, trace)
        yield Message(packed[version, trace], node, kind, ttl=life_s, group_id=str(number))


def read_reply(spoken: Dialect, kind: str, content: RecordDict, version: int, what: str) -> dict[str, Any]:
    """A node's reply in this version, as fields of the newest.

    Raises:
        Refusal: the firm refused.
        MalformedMessage: it is no such reply.
    """
    version = _version(kind, version)
    fields = unpack(content, spoken.schema("reply", kind, version), what, version)
    return spoken.raised("reply", kind, fields, version)


def _version(kind: str, version: int) -> int:
    return LOWEST if kind == HELLO else version
