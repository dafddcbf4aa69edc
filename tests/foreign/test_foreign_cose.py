"""COSE libraries that others wrote accept our statements and receipts, and refuse changed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from foreign_programs import Case, ask_node, ask_python
from ledger_artefacts import (
    CLASSICAL,
    HYBRID,
    LOG,
    MEMBERS,
    NOW_S,
    ORIGIN,
    Tree,
    flips,
    key_of,
    statement,
    witness_vkey,
)

from ledger.cose import read_sign1
from ledger.errors import LedgerError
from ledger.keys import PublicKey
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.receipt import Receipt, verify_receipt
from ledger.service.promise import Promise
from ledger.service.tokens import Identity, make_token
from ledger.statement import decode_statement

pytestmark = pytest.mark.foreign

LIBRARIES: list[tuple[str, Callable[[Iterable[Case]], list[str | None]]]] = [
    ("cwt", ask_python),
    ("pycose", ask_python),
    ("auth0", ask_node),
    ("noble", ask_node),
]
TREE = Tree(statement(number, HYBRID if number % 3 == 0 else CLASSICAL) for number in range(11))


def case(by: str, message: bytes, *, payload: bytes | None = None, key: bytes = CLASSICAL.public.raw) -> dict[str, Any]:
    return {
        "by": by,
        "key": key.hex(),
        "kid": PublicKey(key).kid.hex() if len(key) == 32 else "",
        "message": message.hex(),
        "payload": None if payload is None else payload.hex(),
    }


def accepted(answers: list[str | None]) -> set[int]:
    """The places of the accepted cases."""
    return {place for place, answer in enumerate(answers) if answer is None}


@pytest.mark.parametrize(("library", "ask"), LIBRARIES)
def test_statements(library: str, ask: Callable[[Iterable[Case]], list[str | None]]) -> None:
    good = [statement(number) for number in range(20)]
    assert ask(case(library, raw) for raw in good) == [None] * 20
    damaged = list(flips(good[0]))
    protected = read_sign1(good[0], what="it").protected
    unsigned = good[0].index(protected) + len(protected)  # the empty unprotected header: one byte that COSE leaves open
    assert accepted(ask(case(library, raw) for raw in damaged)) <= {unsigned}
    with pytest.raises(LedgerError, match="COSE_Sign1"):
        decode_statement(damaged[unsigned])
    assert None not in ask([case(library, good[0], key=key_of("mallory").public.raw)])


@pytest.mark.parametrize(("library", "ask"), LIBRARIES)
def test_the_inner_message_of_a_hybrid_statement(
    library: str, ask: Callable[[Iterable[Case]], list[str | None]]
) -> None:
    inner = read_sign1(statement(1, HYBRID), what="it").payload
    assert inner is not None
    assert ask([case(library, inner, key=HYBRID.public.ed25519.raw)]) == [None]
    assert None not in ask([case(library, inner)])


@pytest.mark.parametrize(("library", "ask"), LIBRARIES)
def test_tokens_and_promises(library: str, ask: Callable[[Iterable[Case]], list[str | None]]) -> None:
    token = make_token(Identity("firm-0", CLASSICAL, ORIGIN), rpc="/L/Members", now_s=NOW_S, cti=bytes(16))
    promise = Promise(ORIGIN, bytes(32), 7, NOW_S, NOW_S + 10).sign(CLASSICAL)
    assert ask(case(library, raw) for raw in (token, promise)) == [None, None]
    assert None not in ask(case(library, raw[:-1] + bytes([raw[-1] ^ 1])) for raw in (token, promise))


def test_key_thumbprints() -> None:
    keys = [key_of(name).public for name in MEMBERS]
    good = [{"by": "thumbprint", "key": key.raw.hex(), "kid": key.kid.hex()} for key in keys]
    assert ask_node(good) == [None] * len(keys)
    assert None not in ask_node([{**good[0], "kid": good[1]["kid"]}])


def test_the_outer_message_of_a_hybrid_statement() -> None:
    raw, key = statement(1, HYBRID), HYBRID.public.raw[32:]
    assert ask_node([case("ml-dsa", raw, key=key)]) == [None]
    assert None not in ask_node(case("ml-dsa", damaged, key=key) for damaged in flips(raw, step=29))
    stranger = key_of("mallory", hybrid=True).public.raw[32:]
    assert None not in ask_node([case("ml-dsa", raw, key=stranger), case("ml-dsa", statement(1), key=key)])


@pytest.mark.parametrize(("library", "ask"), LIBRARIES)
def test_receipts_with_the_root_put_back(library: str, ask: Callable[[Iterable[Case]], list[str | None]]) -> None:
    """The signature of a receipt is over a tree's root, which does not travel in it."""
    key, root = LOG.public.raw, TREE.roots[11]
    good = [TREE.cose_receipt(index, 11) for index in range(11)]
    assert ask(case(library, raw, payload=root, key=key) for raw in good) == [None] * 11
    assert None not in ask(case(library, good[3], payload=bad, key=key) for bad in flips(root))
    message = read_sign1(good[3], what="it")
    for part in (message.protected, message.signature):
        tampered = [good[3].replace(part, bad) for bad in flips(part)]
        assert None not in ask(case(library, bad, payload=root, key=key) for bad in tampered)


def test_receipts_as_a_whole() -> None:
    """@transmute/cose reads the inclusion proof and recomputes the root by itself: here every bit counts."""
    key = LOG.public.raw.hex()

    def whole(receipt: bytes, entry: bytes) -> dict[str, str]:
        return {"by": "transmute", "key": key, "message": receipt.hex(), "entry": entry.hex()}

    cases = [
        whole(TREE.cose_receipt(index, size), TREE.entries[index]) for size in range(2, 12) for index in range(size)
    ]
    assert ask_node(cases) == [None] * len(cases)
    receipt = TREE.cose_receipt(3, 11)
    refused = [whole(bad, TREE.entries[3]) for bad in flips(TREE.entries[3], step=31)]
    refused += [whole(receipt, TREE.entries[4]), {**whole(receipt, TREE.entries[3]), "key": CLASSICAL.public.raw.hex()}]
    assert accepted(ask_node(refused)) == set()


def test_what_a_cose_receipt_alone_leaves_open() -> None:
    """RFC 9942 signs a root and no size: another size that fits the path passes there, and not in our bundle."""
    receipt, entry = TREE.cose_receipt(3, 11), TREE.entries[3]
    damaged = list(flips(receipt))
    cases = [
        {"by": "transmute", "key": LOG.public.raw.hex(), "message": bad.hex(), "entry": entry.hex()} for bad in damaged
    ]
    proof = read_sign1(receipt, what="it").unprotected[396][-1][0]
    size = receipt.index(proof) + 1
    assert accepted(ask_node(cases)) == {size}
    policy = Policy.of(Vkey.of_log(ORIGIN, LOG.public), {name: witness_vkey(name) for name in MEMBERS})
    assert verify_receipt(Receipt(3, receipt, TREE.note(11)).to_bytes(), entry, policy).size == 11
    for bad in damaged:
        with pytest.raises(LedgerError):
            verify_receipt(Receipt(3, bad, TREE.note(11)).to_bytes(), entry, policy)
