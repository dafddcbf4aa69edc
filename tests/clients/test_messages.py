"""Messages have exactly their fields, and a refusal gives away nothing about the firm."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.data import TableInvalid, Violation
from clients.disclosure import pack_refusal
from clients.firm import NotTakingPart
from clients.masking.errors import AlreadyAnswered, MalformedMessage, PairSecretRefused, ValueOutOfBounds
from clients.messages import HELLO, REPLIES, REQUESTS, Refusal, pack, unpack
from clients.plan import PlanInvalid
from clients.tasks.spec import TaskSpecInvalid
from clients.wallet import WalletDamaged
from ledger.receipt import ReceiptError

EXAMPLES = {int: 7, str: "x", bytes: b"x", list: [b"x"], dict: {"firm-1": b"x"}}


def refusal(error: Exception) -> Refusal:
    with pytest.raises(Refusal) as caught:
        unpack(pack_refusal(error), REPLIES[HELLO], "reply")
    return caught.value


@pytest.mark.parametrize(("table", "kind"), [(t, k) for t in (REQUESTS, REPLIES) for k in t])
def test_every_message_comes_back(table: dict[str, dict[str, type]], kind: str) -> None:
    fields = {name: EXAMPLES[of] for name, of in table[kind].items()}
    assert unpack(pack(fields), table[kind], kind) == {"v": 1, **fields}
    for name in fields:
        less = {n: v for n, v in fields.items() if n != name}
        for bad in (less, {**fields, "more": 1}, {**fields, name: None}):
            with pytest.raises(MalformedMessage, match=kind):
                unpack(pack(bad), table[kind], kind)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"artesian": ConfigRecord()}),
        RecordDict({"artesian": ConfigRecord({"message": "text"})}),
        RecordDict({"artesian": ConfigRecord({"message": b""})}),
        RecordDict({"other": ConfigRecord({"message": b"\xa0"})}),
        RecordDict({"artesian": ConfigRecord({"refused": b"\xa0"})}),
        RecordDict({"artesian": ConfigRecord({"refused": 3})}),
    ],
)
def test_anything_else_is_malformed(content: RecordDict) -> None:
    with pytest.raises(MalformedMessage):
        unpack(content, REQUESTS[HELLO], HELLO)


def test_a_refusal_names_whose_pair_secret_does_not_open() -> None:
    longest = "f" * 63
    said = refusal(PairSecretRefused(longest, "it does not open"))
    assert (said.accuses, said.detail) == (longest, "it does not open")
    assert refusal(AlreadyAnswered("another")).accuses is None


@given(st.binary(max_size=60))
def test_no_bytes_end_in_a_traceback(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        unpack(RecordDict({"artesian": ConfigRecord({"message": raw})}), REQUESTS[HELLO], HELLO)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (Refusal("cohort", "too small"), "cohort", True),
        (PlanInvalid("plan: no"), "PlanInvalid", True),
        (AlreadyAnswered("session: no"), "AlreadyAnswered", True),
        (ReceiptError("receipt: no"), "ReceiptError", True),
        (NotTakingPart("firm-1 takes no part"), "NotTakingPart", True),
        (TableInvalid("data/credit.csv", (Violation("income", 17, "'54321' is outside"),), 1), "Unready", False),
        (ValueOutOfBounds("update: value 3 is 54321"), "Unready", False),
        (TaskSpecInvalid("/home/54321/task.toml: wrong"), "Unready", False),
        (WalletDamaged("wallet /home/54321: row 3"), "Unready", False),
        (RuntimeError("54321"), "Unready", False),
        (KeyError("54321"), "Unready", False),
        (MemoryError(), "Unready", False),
    ],
)
def test_only_what_speaks_of_the_protocol_is_told(error: Exception, code: str, told: bool) -> None:
    said = refusal(error)
    assert said.code == code
    assert (str(error) in str(said)) == told or isinstance(error, MemoryError)
    assert "54321" not in repr(pack_refusal(error))
    assert "54321" not in str(said)
    assert told or "its operator finds the cause in its log" in said.detail


def test_a_refusal_says_nothing_to_a_terminal() -> None:
    said = refusal(Refusal("\x1b[2Jcode", "\x1b[2J\x1b]0;title\x07all is \u202ewell \x9b1A"))
    assert (said.code, said.detail) == ("?[2Jcode", "?[2J?]0;title?all is ?well ?1A")
    assert str(said).isprintable()


def test_a_hostile_refusal_is_one_short_line() -> None:
    said = refusal(Refusal("x" * 500, "line\nline\x85 " + "y" * 5000))
    assert len(said.code) == 96
    assert len(said.detail) == 500
    assert len(str(said).splitlines()) == 1
