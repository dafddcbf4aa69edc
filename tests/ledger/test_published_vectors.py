"""What others published: our code reads, verifies and writes the same bytes.

COSE: cose-wg/Examples, `eddsa-examples/eddsa-sig-01`; cose-wg/draft-ietf-cose-dilithium (RFC 9964),
`examples/cose/examples/ML_DSA_65.cose.json`, whose seed is 32 zero bytes (kept in `vectors/`).
Tree: the proofs of the reference code of Certificate Transparency over its eight leaves.
Notes: a checkpoint of the Certificate Transparency log Arche2025h1 (staging), cosigned by the witness remora.n621.de.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, CheckpointError, SignedCheckpoint, verify_cosignature
from ledger.cose import ALG, ALG_EDDSA, ALG_ML_DSA_65, KID, read_sign1, sign1, signature_input
from ledger.keys import BadSignature, SigningKey
from ledger.merkle import (
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import Vkey, join_note, parse_note

RFC_8032 = [  # section 7.1: seed, public key, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]

EDDSA_SIG_01 = bytes.fromhex(
    "D28445A201270300A10442313154546869732069732074686520636F6E74656E742E58407142FD2FF96D56DB85BEE905A76BA1D0B7321A95"
    "C8C4D3607C5781932B7AFB8711497DFA751BF40B58B3BCC32300B1487F3DB34085EEF013BF08F4A44D6FEF0D"
)
ML_DSA_65_SIGN1 = bytes.fromhex((Path(__file__).parent / "vectors" / "ml_dsa_65_sign1.hex").read_text())
ML_DSA_65_KID = "b788acf242f1f1d6532926d816e76e1636874267f2a48c84c4e65789ab80cc02"

CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_H1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
CT_H23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
CT_H4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
CT_H4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
CT_H45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
CT_H67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
CT_H0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
CT_H01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
CT_H0123 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"

ARCHE_VKEY = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
REMORA_VKEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
ARCHE_NOTE = (
    "arche2025h1.staging.ct.transparency.dev\n"
    "1432088532\n"
    "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
    "\n"
    "\u2014 arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9"
    "g8Ei59RA23oHP7Ry1k3ZFWwQ=\n"
    "\u2014 remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxt"
    "qB0DrAWfBw==\n"
)


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_ed25519(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey.from_seed(bytes.fromhex(seed))
    assert key.public.raw.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    key.public.verify(bytes.fromhex(signature), bytes.fromhex(message))


def test_cose_sign1_with_ed25519() -> None:
    key = SigningKey.from_seed(bytes.fromhex(RFC_8032[0][0]))
    message = read_sign1(EDDSA_SIG_01, what="the example")
    assert dict(message.header) == {ALG: ALG_EDDSA, 3: 0}
    assert dict(message.unprotected) == {KID: b"11"}
    assert message.payload == b"This is the content."
    signed = signature_input(message.protected, message.payload)
    key.public.verify(message.signature, signed)
    assert key.sign(signed) == message.signature
    assert message.to_bytes() == EDDSA_SIG_01


def test_cose_sign1_with_ml_dsa_65() -> None:
    """RFC 9964: the AKP key's thumbprint is the kid, and the signature has an empty context."""
    key = SigningKey.from_seed(bytes(64))
    message = read_sign1(ML_DSA_65_SIGN1, what="the example")
    assert key.public.post_quantum_kid == bytes.fromhex(ML_DSA_65_KID)
    assert dict(message.header) == {ALG: ALG_ML_DSA_65, KID: key.public.post_quantum_kid}
    assert message.payload is not None
    signed = signature_input(message.protected, message.payload)
    key.public.verify_post_quantum(message.signature, signed)
    with pytest.raises(BadSignature):
        key.public.verify_post_quantum(message.signature, signed + b" ")
    again = sign1(message.header, message.payload, key.sign_post_quantum)
    assert again[: -len(message.signature)] == ML_DSA_65_SIGN1[: -len(message.signature)]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (0, 8, [CT_H1, CT_H23, CT_H4567]),
        (5, 8, [CT_H4, CT_H67, CT_H0123]),
        (2, 3, [CT_H01]),
        (1, 5, [CT_H0, CT_H23, CT_H4]),
    ],
)
def test_inclusion_proofs(index: int, size: int, path: list[str]) -> None:
    leaves = ct_leaves()
    assert [item.hex() for item in inclusion_proof(index, size, ct_subtrees)] == path
    verify_inclusion(leaves[index], index, size, [bytes.fromhex(item) for item in path], root_of(leaves[:size]))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (1, 8, [CT_H1, CT_H23, CT_H4567]),
        (6, 8, [CT_H45, CT_H67, CT_H0123]),
        (2, 5, [CT_H23, CT_H4]),
    ],
)
def test_consistency_proofs(old: int, new: int, path: list[str]) -> None:
    leaves = ct_leaves()
    assert [item.hex() for item in consistency_proof(old, new, ct_subtrees)] == path
    verify_consistency(old, new, [bytes.fromhex(item) for item in path], root_of(leaves[:old]), root_of(leaves[:new]))


def test_a_cosigned_checkpoint() -> None:
    signed = SignedCheckpoint.parse(ARCHE_NOTE)
    assert signed.checkpoint.size == 1432088532
    signed.verify_log(Vkey.parse(ARCHE_VKEY))
    remora = Vkey.parse(REMORA_VKEY)
    [line] = [line for line in signed.lines if line.is_by(remora)]
    assert verify_cosignature(signed.body, line, remora) == 0x6A122120
    smaller = Checkpoint(signed.checkpoint.origin, 1432088531, signed.checkpoint.root)
    with pytest.raises(CheckpointError):
        verify_cosignature(smaller.body(), line, remora)
    with pytest.raises(CheckpointError):
        SignedCheckpoint.parse(join_note(smaller.body(), signed.lines)).verify_log(Vkey.parse(ARCHE_VKEY))
    assert join_note(*parse_note(ARCHE_NOTE)) == ARCHE_NOTE
    assert [str(Vkey.parse(text)) for text in (ARCHE_VKEY, REMORA_VKEY)] == [ARCHE_VKEY, REMORA_VKEY]


def ct_leaves() -> list[bytes]:
    return [leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES]


def ct_subtrees(wanted: Iterable[Node]) -> Mapping[Node, bytes]:
    nodes: dict[Node, bytes] = {}
    frontier = Frontier()
    for leaf in ct_leaves():
        frontier, complete = frontier.append(leaf)
        nodes.update(complete)
    assert frontier.root() == hashlib.sha256(b"\x01" + bytes.fromhex(CT_H0123 + CT_H4567)).digest()
    return {node: nodes[node] for node in wanted}
