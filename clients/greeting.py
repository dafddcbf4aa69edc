"""The first words of a run: who a node is, with a proof, and which version of the messages both sides speak.

`query.hello` is read by every release, so its fields never change. It grows by its extension: names with short values,
of which each side leaves those that it does not know. What must not be left so belongs into a new version of the
messages. The proof covers all of it: nobody in between can talk two programs into an older version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clients.masking import wire
from clients.masking.derivation import framed
from clients.masking.errors import MalformedMessage
from clients.versions import MESSAGE_VERSIONS, SOFTWARE, Span, agreed
from ledger.keys import PublicKey, SigningKey

NONCE_BYTES = 32
RELEASE_NAME, TRACES_NAME = "software", "traces"
"""In the extension: both ways the release of the program; of a firm, that it reads ids of traces beside messages."""
MOST_NAMES, MOST_VALUE_BYTES = 16, 256
"""The extension has at most so many names; a text or bytes at most so long."""
_NAME = re.compile("[a-z][a-z0-9-]{0,31}")
_MOST_INTEGER = 1 << 63

Extension = dict[str, int | str | bytes]
"""What each side says that the other may not know."""


def question(
    cid: str, task: str, epoch: int, nonce: bytes, spoken: Span = MESSAGE_VERSIONS, extension: Extension | None = None
) -> dict[str, Any]:
    """What the coordinator asks a node.

    Args:
        nonce: 32 bytes, new each time.
    """
    return {
        "cid": cid,
        "task": task,
        "epoch": epoch,
        "nonce": nonce,
        "versions": [spoken.lowest, spoken.highest],
        "extension": {RELEASE_NAME: SOFTWARE, **(extension or {})},
    }


def agree(request: Mapping[str, Any], member: str, spoken: Span = MESSAGE_VERSIONS) -> int:
    """The version of the messages in which a firm goes on with the coordinator that asks it.

    Raises:
        VersionMismatch: they have none in common.
        MalformedMessage: the request does not say which ones the coordinator speaks.
    """
    theirs = read_span(request["versions"])
    release = release_of(read_extension(request["extension"]))
    return agreed(spoken, theirs, f"{member} (artesian {SOFTWARE})", f"the coordinator (artesian {release})")


def read_span(value: list[Any]) -> Span:
    """The versions that a hello names.

    Raises:
        MalformedMessage: they are not two whole numbers that go upwards.
    """
    if len(value) != 2 or not all(type(one) is int for one in value) or not 1 <= value[0] <= value[1] < _MOST_INTEGER:
        raise MalformedMessage("hello: its versions must be the lowest and the highest that are spoken")
    return Span(*value)


def read_extension(value: Mapping[Any, Any]) -> Extension:
    """The extension of a hello, its unknown names too.

    Raises:
        MalformedMessage: more than an extension may hold.
    """
    if len(value) > MOST_NAMES:
        raise MalformedMessage(f"hello: its extension has {len(value)} names, {MOST_NAMES} are allowed")
    for name, one in value.items():
        if type(name) is not str or _NAME.fullmatch(name) is None or not _is_short(one):
            raise MalformedMessage("hello: its extension maps short names to whole numbers, short texts or bytes")
    return dict(value)


def release_of(extension: Extension) -> str:
    """The release that the other side says it is, as one printable word."""
    said = extension.get(RELEASE_NAME, "")
    return said if isinstance(said, str) and re.fullmatch(r"[0-9A-Za-z.+-]{1,32}", said) else "of an unknown version"


def prove(request: Mapping[str, Any], reply: Mapping[str, Any], key: SigningKey) -> bytes:
    """The proof for a `query.hello`: only who has the member's signing key can answer this very question.

    Args:
        request: the message; its nonce is new in every one.
        reply: member, units, version and extension of the answer.
    """
    return key.sign_all(_signed(request, reply))


def check_proof(request: Mapping[str, Any], reply: Mapping[str, Any], key: PublicKey) -> None:
    """Check the proof in an answer.

    Args:
        key: under which the member that it names is enrolled.

    Raises:
        BadSignature: another one signed it, or something else.
    """
    key.verify_all(reply["proof"], _signed(request, reply))


def _signed(request: Mapping[str, Any], reply: Mapping[str, Any]) -> bytes:
    names = (request["cid"], request["task"], str(request["epoch"]), reply["member"], str(reply["units"]))
    terms = (request["versions"], request["extension"], reply["version"], reply["extension"])
    return framed(
        b"artesian/hello/v2",
        request["nonce"],
        *(name.encode() for name in names),
        wire.encode({"terms": list(terms)}),
    )


def _is_short(value: object) -> bool:
    if type(value) is int:
        return 0 <= value < _MOST_INTEGER
    return isinstance(value, str | bytes) and len(value) <= MOST_VALUE_BYTES
