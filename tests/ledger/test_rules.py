"""What all records share: whose they are, for which ledger, of what shape; and the reducer itself."""

from typing import Any

import pytest
from consortium_simulator import CID, Consortium, key_of
from refusals import refused

from ledger.rules import Refused, admit, apply, initial
from ledger.statement import decode_statement


@pytest.fixture
def consortium() -> Consortium:
    made = Consortium()
    made.task()
    return made


def test_replay_in_another_consortium(consortium: Consortium) -> None:
    foreign = consortium.statement("task", task="demand", spec=consortium.hash(), cid="c-2")
    assert refused(consortium, foreign).rule == "cid"


def test_a_record_id_is_used_once(consortium: Consortium) -> None:
    payload = consortium.payload("attest", subject="s", artifact=consortium.hash())
    consortium.log.append([consortium.sign(payload, "firm-0")])
    assert refused(consortium, consortium.sign(payload, "firm-1")).rule == "id"


def test_someone_elses_name(consortium: Consortium) -> None:
    payload = consortium.payload("attest", subject="s", artifact=consortium.hash())
    assert refused(consortium, consortium.sign(payload, "firm-0", key=key_of("mallory"))).rule == "signature"
    assert refused(consortium, consortium.sign(payload, "mallory", key=key_of("mallory"))).rule == "issuer"
    assert refused(consortium, consortium.sign(payload)).rule == "issuer"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t": "coup"}, "unknown"),
        ({"t": None}, "unknown"),
        ({"extra": 1}, "no field 'extra'"),
        ({"id": b"short"}, "'id'"),
        ({"ts": -1}, "'ts'"),
        ({"ts": True}, "'ts'"),
        ({"parent": b""}, "'parent'"),
        ({"spec": "text"}, "'spec'"),
        ({"task": "Not A Slug"}, "'task'"),
        ({"acl": "everyone"}, "'acl'"),
    ],
)
def test_shapes(consortium: Consortium, changes: dict[str, Any], words: str) -> None:
    payload = consortium.payload("task", task="demand", spec=consortium.hash())
    refusal = refused(consortium, consortium.sign({**payload, **changes}))
    assert refusal.rule == "schema"
    assert words in refusal.detail


def test_a_refusal_is_one_short_line_whatever_a_stranger_writes(consortium: Consortium) -> None:
    long = "\x1b[2J\n" * 10_000
    task = consortium.payload("task", task="demand", spec=consortium.hash())
    for raw in (
        consortium.sign({**task, "t": long}),
        consortium.sign({**task, long: 1}),
        consortium.sign(task, long, key=key_of("mallory")),
    ):
        line = str(refused(consortium, raw))
        assert len(line) < 600
        assert line.isprintable()


def test_entries_come_in_order(consortium: Consortium) -> None:
    statement = decode_statement(consortium.statement("task", task="demand", spec=consortium.hash()))
    with pytest.raises(Refused, match="next entry"):
        apply(consortium.log.state, statement, consortium.log.size + 1)


# the reducer itself


def test_replaying_gives_the_same_state(consortium: Consortium) -> None:
    consortium.train()
    state = initial(CID)
    for index, raw in enumerate(consortium.log.entries(0, consortium.log.size)):
        before, copy = state, repr(state)
        state = admit(state, decode_statement(raw), index)
        assert repr(before) == copy
    assert state == consortium.log.state


def test_what_is_for_the_parties_has_a_body_and_nothing_else_has(consortium: Consortium) -> None:
    fields: dict[str, Any] = {"subject": "batch", "artifact": consortium.hash()}
    body = {"body_sha256": consortium.hash()}
    for wrong in ({"acl": "parties"}, {"acl": "members", **body}, {"acl": "public", **body}, body):
        assert refused(consortium, consortium.statement("attest", "firm-0", **fields, **wrong)).rule == "acl"
    for right in ({"acl": "parties", **body}, {"acl": "members"}, {"acl": "public"}, {}):
        consortium.append("attest", "firm-0", **fields, **right)


def test_attestations_say_what_they_follow_and_what_went_into_them(consortium: Consortium) -> None:
    first, second = (
        decode_statement(consortium.append("attest", "firm-0", subject=name, artifact=consortium.hash())).digest
        for name in ("batch-1", "batch-2")
    )
    own: dict[str, Any] = {"subject": "batch-3", "artifact": consortium.hash(), "kind": "blend"}
    for twice in ([first, first], [first, second, first]):
        assert refused(consortium, consortium.statement("attest", "firm-1", **own, inputs=twice)).rule == "inputs"
    followed = {**own, "parent": first, "inputs": [second, first]}
    assert refused(consortium, consortium.statement("attest", "firm-1", **followed)).rule == "inputs"
    assert refused(consortium, consortium.statement("attest", "firm-1", **{**own, "kind": "A B"})).rule == "schema"
    consortium.append("attest", "firm-1", **own, inputs=[first, second])


def test_a_state_is_not_given_a_field_that_it_does_not_have(consortium: Consortium) -> None:
    with pytest.raises(AssertionError, match="colour"):
        consortium.log.state.having(colour="blue")
