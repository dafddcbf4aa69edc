"""How a node proves that it is the firm that it names: it signs what it was asked, with what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clients.masking.keystream import framed
from ledger.keys import PublicKey, SigningKey

NONCE_BYTES = 32


def prove(request: Mapping[str, Any], member: str, units: int, key: SigningKey) -> bytes:
    """The proof for a `query.hello`: only who has the member's signing key can answer this very question.

    Args:
        request: the message; its nonce is new in every one.
    """
    return key.sign_all(_signed(request, member, units))


def check_proof(request: Mapping[str, Any], reply: Mapping[str, Any], key: PublicKey) -> None:
    """Check the proof in an answer.

    Args:
        key: under which the member that it names is enrolled.

    Raises:
        BadSignature: another one signed it, or something else.
    """
    key.verify_all(reply["proof"], _signed(request, reply["member"], reply["units"]))


def _signed(request: Mapping[str, Any], member: str, units: int) -> bytes:
    names = (request["cid"], request["task"], str(request["epoch"]), member, str(units))
    return framed(b"artesian/hello/v1", request["nonce"], *(name.encode() for name in names))
