"""Runs in `.venv-foreign`: asks `cwt` and `pycose` about COSE messages, cases on stdin, answers on stdout.

A case is {"by": "cwt" or "pycose", "key": Ed25519 hex, "message": hex, "payload": hex of a detached one, or null,
"kid": hex, by which `cwt` finds the key}.
The answers are as many: null for accepted, else why not.
"""

import json
import sys

from cwt import COSE, COSEKey
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import CoseMessage, Sign1Message


def by_cwt(key: bytes, kid: bytes, message: bytes, payload: bytes | None) -> None:
    """Raise unless the message names and verifies with this key."""
    cose_key = COSEKey.new({1: 1, 2: kid, -1: 6, -2: key, 3: -8, 4: [2]})
    COSE.new().decode(message, cose_key, detached_payload=payload)


def by_pycose(key: bytes, kid: bytes, message: bytes, payload: bytes | None) -> None:
    """Raise unless the message verifies with this key, whatever its kid."""
    decoded = CoseMessage.decode(message)
    if not isinstance(decoded, Sign1Message):
        raise ValueError("not a COSE_Sign1")
    decoded.key = OKPKey(crv=Ed25519, x=key)
    if not decoded.verify_signature(detached_payload=payload):
        raise ValueError("the signature does not fit")


def answer(case: dict) -> str | None:
    """None if the case is accepted."""
    check = {"cwt": by_cwt, "pycose": by_pycose}[case["by"]]
    payload = None if case["payload"] is None else bytes.fromhex(case["payload"])
    try:
        check(bytes.fromhex(case["key"]), bytes.fromhex(case["kid"]), bytes.fromhex(case["message"]), payload)
    except Exception as error:  # whatever a library raises is its refusal
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
