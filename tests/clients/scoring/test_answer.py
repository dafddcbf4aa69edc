"""A signed answer says exactly what was signed, in one encoding, and passes for nothing else."""

import dataclasses

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.scoring.answer import BadAnswer, Release, answer_query, open_answer, read_answer, sign_answer
from clients.scoring.query import BadQuery, Query
from clients.tasks.scorecard import Reason, Score
from ledger.keys import SigningKey
from ledger.statement import StatementError, decode_statement, sign_statement

KEY = SigningKey.from_seed(b"k" * 32)
RELEASE = Release(b"m" * 32, b"r" * 32, b"s" * 32)
QUERY = Query(b"i" * 16, "credit", {"debt": 0.5, "home": None}, "loan-application", b"c" * 32)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.none() | texts | st.floats(allow_nan=False, allow_infinity=False)
queries = st.builds(
    Query,
    st.binary(min_size=16, max_size=16),
    st.just("credit"),
    st.dictionaries(texts, values, min_size=1, max_size=5),
    st.just("audit"),
    st.binary(min_size=32, max_size=32),
)
reasons = st.builds(Reason, texts, texts, st.integers(-1000, 1000))
scores = st.builds(Score, st.integers(-(2**31), 2**31), st.floats(0, 1), st.lists(reasons, max_size=4).map(tuple))


@given(queries, scores)
def test_what_is_signed_is_what_is_read(query: Query, score: Score) -> None:
    answer = answer_query(query, score, RELEASE, cid="timber", bank="bank-1", ts=1)
    signed = sign_answer(answer, "coordinator", KEY)
    assert open_answer(signed, KEY.public) == answer
    assert (answer.score, answer.reasons, answer.query) == (score.score, score.reasons, query.digest())
    assert abs(answer.pd - score.pd) <= 0.5e-6 + 1e-15


@given(queries, queries)
def test_two_questions_have_two_digests(one: Query, other: Query) -> None:
    assert (one.digest() == other.digest()) == (one == other)


def test_every_field_of_a_question_is_in_its_digest() -> None:
    changed = [
        dataclasses.replace(QUERY, id=b"j" * 16),
        dataclasses.replace(QUERY, task="demand"),
        dataclasses.replace(QUERY, features={"debt": 0.5, "home": "None"}),
        dataclasses.replace(QUERY, features={"debt": 0.5}),
        dataclasses.replace(QUERY, purpose="audit"),
        dataclasses.replace(QUERY, subject_commitment=b"d" * 32),
    ]
    assert len({q.digest() for q in [QUERY, *changed]}) == 7
    # A whole number is the same question however the caller wrote it: the wire carries doubles.
    whole = [dataclasses.replace(QUERY, features={"debt": n}) for n in (1, 1.0)]
    assert whole[0].digest() == whole[1].digest()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": b"short"}, "request id has 5 bytes"),
        ({"subject_commitment": b""}, "subject commitment has 0 bytes"),
        ({"purpose": "Loan for ACME Ltd"}, "purpose"),
        ({"task": ""}, "task"),
        ({"features": {}}, "0 features"),
        ({"features": {"debt": float("inf")}}, "finite"),
        ({"features": {"debt": float("nan")}}, "finite"),
        ({"features": {"debt": 10**400}}, "finite"),
        ({"features": {"debt": True}}, "not bool"),
        ({"features": {"debt": [1]}}, "not list"),
        ({"features": {"home": "\ud800"}}, "not valid Unicode"),
        ({"features": {"home": "x" * 1025}}, "1025 bytes"),
        ({"features": {str(i): 1.0 for i in range(1025)}}, "1025 features"),
    ],
)
def test_a_question_out_of_its_limits_is_not_made(change: dict[str, object], words: str) -> None:
    with pytest.raises(BadQuery, match=words) as error:
        dataclasses.replace(QUERY, **change)  # type: ignore[arg-type]
    assert error.value.exit_code == 2


def _signed(pd: float = 0.25) -> bytes:
    score = Score(600, pd, (Reason("debt", "Debt", -10),))
    return sign_answer(answer_query(QUERY, score, RELEASE, cid="timber", bank="bank-1", ts=1), "coordinator", KEY)


@pytest.mark.parametrize("pd", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_probability_that_is_none_is_not_signed(pd: float) -> None:
    with pytest.raises(BadAnswer, match="as a probability"):
        _signed(pd)


@given(st.integers(0, 2**16), st.integers(0, 7))
def test_a_flipped_bit_does_not_verify(place: int, bit: int) -> None:
    raw = bytearray(_signed())
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(BadAnswer):
        open_answer(bytes(raw), KEY.public)


def test_an_answer_and_a_ledger_statement_never_pass_for_each_other() -> None:
    with pytest.raises(StatementError):
        decode_statement(_signed())
    statement = sign_statement({"v": 1}, issuer="coordinator", subject="credit", key=KEY)
    with pytest.raises(BadAnswer, match="not that of a score answer"):
        open_answer(statement, KEY.public)


def _resigned(**payload: object) -> bytes:
    """An answer with another payload, signed properly: what only a holder of the key can make."""
    protected, _, content, _ = cbor2.loads(_signed()).value
    body = cbor2.dumps(cbor2.loads(content) | payload, canonical=True)
    signature = KEY.sign(cbor2.dumps(["Signature1", protected, b"", body], canonical=True))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, body, signature]), canonical=True)


@pytest.mark.parametrize(
    "payload",
    [{"v": 2}, {"more": 1}, {"score": "high"}, {"score": True}, {"reasons": [["a", "b"]]}, {"pd_ppm": 0.5}],
)
def test_a_payload_of_another_form_is_refused(payload: dict[str, object]) -> None:
    assert open_answer(_resigned(score=601), KEY.public).score == 601
    with pytest.raises(BadAnswer):
        open_answer(_resigned(**payload), KEY.public)


def test_nothing_unsigned_or_trailing_travels_with_an_answer() -> None:
    protected, _, content, signature = cbor2.loads(_signed()).value
    with pytest.raises(BadAnswer, match="unprotected header"):
        read_answer(cbor2.dumps(cbor2.CBORTag(18, [protected, {1: 2}, content, signature]), canonical=True))
    with pytest.raises(BadAnswer):
        read_answer(_signed() + b"\x00")
