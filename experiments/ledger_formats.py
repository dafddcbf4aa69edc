"""Prints, for `docs/`, the ledger's record formats as annotated hex of real messages made from fixed keys.

Run: python -m experiments.ledger_formats
"""

import hashlib
import textwrap

from experiments.annotated_cbor import AnnotatedCbor
from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint, witness_name
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.merkle import leaf_hash, node_hash
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.post_quantum import SIGNATURE_BYTES
from ledger.receipt import make_receipt
from ledger.statement import sign_statement

ORIGIN = "ledger.example/spice"
NOW_S = 1_800_000_000
ISSUER = SigningKey.from_seed(bytes(range(64)))
CLASSICAL = SigningKey.from_seed(bytes(range(32)))
LOG = SigningKey.from_seed(bytes([1]) * 32)
WITNESSES = {
    name: SigningKey.from_seed(bytes([place]) * 32) for place, name in enumerate(("bank-a", "firm-a"), start=2)
}

_HEADER = {
    "0": "the protected header",
    "0/1": "alg: -8 is EdDSA (RFC 9053), -49 ML-DSA-65 (RFC 9964)",
    "0/3": "content type",
    "0/4": "kid: the key's SHA-256 thumbprint (RFC 9679)",
    "1": "the unprotected header",
    "2": "the payload",
    "3": "the signature",
}
_STATEMENT = {
    "": "a COSE_Sign1 message (RFC 9052)",
    **_HEADER,
    "0/15": "CWT claims (RFC 9597)",
    "0/15/1": "iss, who speaks",
    "0/15/2": "sub, what about",
    "2/v": "version of the record",
    "2/t": "type of the record",
    "2/id": "16 random bytes, once on a ledger",
    "2/cid": "the consortium",
    "2/ts": "the issuer's clock, advisory",
    "2/parent": "digest of the statement that this one answers",
    "2/artifact": "SHA-256 of the document",
    "2/subject": "what it is about, the claim sub again",
}
_OUTER = {
    "": "a COSE_Sign1 message (RFC 9052) by the ML-DSA-65 key",
    **_HEADER,
    "2": "the payload: the COSE_Sign1 by the Ed25519 key, as above",
}
_RECEIPT = {
    "v": "version of the bundle",
    "index": "the entry's place",
    "checkpoint": "the cosigned checkpoint, as below",
    "cose": "the COSE receipt (RFC 9942)",
    **{f"cose/{path}": note for path, note in _HEADER.items()},
    "cose/0/395": "vds: 1 is RFC9162_SHA256",
    "cose/1": "the unprotected header: it holds what proves itself",
    "cose/1/396": "vdp, proofs",
    "cose/1/396/-1": "inclusion proofs",
    "cose/1/396/-1/0/0": "size of the tree",
    "cose/1/396/-1/0/1": "index of the leaf",
    "cose/1/396/-1/0/2": "the path, from the leaf up",
    "cose/2": "the payload, detached: it is the tree's root",
    "cose/3": "the log's Ed25519 signature",
}


def statement(key: SigningKey = CLASSICAL) -> bytes:
    """A bill of lading, attested."""
    artifact = hashlib.sha256(b"12 bags of cardamom, Kochi to Hamburg").digest()
    payload = record(
        "attest", cid="spice", record_id=bytes(range(16)), ts=NOW_S, subject="bill-of-lading/4711", artifact=artifact
    )
    return sign_statement(payload, issuer="firm-a", subject="bill-of-lading/4711", key=key)


def note() -> str:
    """A checkpoint of two entries, of which the statement is the second, cosigned by both members."""
    other, own = leaf_hash(b"the entry before"), leaf_hash(statement())
    point = Checkpoint(ORIGIN, 2, node_hash(other, own))
    lines = [
        cosign(point.body(), name=witness_name(ORIGIN, name), key=key, timestamp_s=NOW_S)
        for name, key in WITNESSES.items()
    ]
    return sign_checkpoint(point, LOG) + "".join(lines)


def receipt() -> bytes:
    """The receipt of the statement."""
    return make_receipt(1, [leaf_hash(b"the entry before")], note(), LOG)


def policy() -> Policy:
    """The trust policy under which the receipt holds."""
    witnesses = {name: Vkey.of_witness(witness_name(ORIGIN, name), key.public) for name, key in WITNESSES.items()}
    return Policy.of(Vkey.of_log(ORIGIN, LOG.public), witnesses)


def markdown() -> str:
    """The pages."""
    outer = statement(ISSUER)[:-SIGNATURE_BYTES] + bytes(SIGNATURE_BYTES)  # ML-DSA signs differently every time
    return "\n".join(
        [
            "### A statement",
            "",
            f"This one has {len(statement())} bytes; its digest is the SHA-256 of its Sig_structure (RFC 9052).",
            "",
            _block(_wrapped(statement()), "hex"),
            _block(AnnotatedCbor(statement(), _STATEMENT, {"0", "2"}).lines),
            "### A statement by a hybrid key",
            "",
            "The statement above, whole, is the payload of a second message. The digest stays that of the inner one:",
            "signing again makes no other entry. The outer signature is shown as zeros, for it is new every time.",
            "",
            _block(AnnotatedCbor(outer, _OUTER, {"0"}).lines),
            "### A receipt",
            "",
            f"This one has {len(receipt())} bytes, {len(receipt()) - len(note().encode())} besides the checkpoint.",
            "",
            _block(_wrapped(receipt()), "hex"),
            _block(AnnotatedCbor(receipt(), _RECEIPT, {"cose", "cose/0", "cose/1/396/-1/0"}).lines),
            "### A checkpoint",
            "",
            "A signed note (C2SP signed-note, tlog-checkpoint): the log's name, the number of entries, the root,",
            "an empty line, the log's signature, and a line a witness (C2SP tlog-cosignature). A signature begins with",
            "4 bytes of key id, and a cosignature goes on with its time, 8 bytes; all in Base 64.",
            "",
            _block(note().splitlines(), "text"),
            "### A policy",
            "",
            "What a verifier trusts (C2SP tlog-policy). A log that changed its key or moved has a line for each key.",
            "",
            _block(policy().text().splitlines(), "text"),
        ]
    )


def _block(lines: list[str], language: str = "") -> str:
    return "\n".join([f"```{language}", *lines, "```", ""])


def _wrapped(raw: bytes) -> list[str]:
    return textwrap.wrap(raw.hex(), 96)


if __name__ == "__main__":
    print(markdown())
