"""The annotated hex in the documents is what the ledger writes, and can be read and verified."""

import re
from pathlib import Path

import pytest

from experiments.annotated_cbor import AnnotatedCbor
from experiments.ledger_formats import CLASSICAL, ISSUER, markdown, policy, statement
from ledger.receipt import verify_receipt
from ledger.rules.records import problem_with
from ledger.statement import decode_statement

DOCS = Path(__file__).parents[2] / "docs"


def test_a_page_shows_what_the_ledger_writes() -> None:
    """Otherwise run `python -m experiments.ledger_formats` and put its output there."""
    assert any(markdown() in page.read_text(encoding="utf-8") for page in DOCS.glob("ledger*.md"))


def test_the_hex_on_the_page_verifies() -> None:
    shown = re.findall(r"```hex\n(.*?)```", markdown(), re.DOTALL)
    raw, receipt = (bytes.fromhex(block) for block in shown)
    decoded = decode_statement(raw)
    decoded.verify(CLASSICAL.public)
    assert problem_with(decoded.payload) is None
    assert verify_receipt(receipt, raw, policy()).cosigners == ("bank-a", "firm-a")
    decode_statement(statement(ISSUER)).verify(ISSUER.public)


@pytest.mark.parametrize(
    ("hexadecimal", "lines"),
    [
        ("182a", ["182a  42, it"]),
        ("3903e7", ["3903e7  -1000, it"]),
        ("f6", ["f6  null, it"]),
        ("8101", ["81  array of 1, it", "  01  1, first"]),
        ("a120f5", ["a1  map of 1, it", "  20  -1: minus one", "    f5  true"]),
        ("d24101", ["d2  tag 18, it", "4101  1 bytes"]),
    ],
)
def test_annotations(hexadecimal: str, lines: list[str]) -> None:
    listing = AnnotatedCbor(bytes.fromhex(hexadecimal), {"": "it", "0": "first", "-1": "minus one"}).lines
    assert [re.sub("(?<=[0-9a-f])  +", "  ", line) for line in listing] == lines
