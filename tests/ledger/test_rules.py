"""The consortium's rules: what each refuses, and that a refusal changes nothing."""

from typing import Any

import pytest
from consortium_simulator import CID, Consortium, key_of
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from ledger.rules import COORDINATOR, RESERVED, Phase, Refused, admit, apply, approve, initial
from ledger.statement import decode_statement


@pytest.fixture
def consortium() -> Consortium:
    made = Consortium()
    made.task()
    return made


def newcomer(consortium: Consortium, names: list[str], **fields: Any) -> bytes:
    own = {"member": "firm-9", "kind": "firm", "key": key_of("firm-9").public.raw, "name": "Nine"}
    return consortium.approved(names, "enrol", **{**own, **fields})


# founding


def test_founding() -> None:
    made = Consortium()
    state = made.log.state
    assert state.voters == 5
    assert not state.founding
    assert [member.member for member in state.active("bank")] == ["bank-0"]
    assert state.coordinator == made.keys[COORDINATOR].public


def test_the_first_entry_is_a_policy() -> None:
    made = Consortium(founded=False)
    policy, enrol, *_ = made.genesis()
    assert refused(made, enrol).rule == "genesis"
    made.log.append([policy])
    assert refused(made, made.statement("task", task="credit", spec=made.hash())).rule == "genesis"


def half_founded() -> tuple[Consortium, bytes]:
    """A consortium whose last founding member is still to be enrolled, and that member's record."""
    made = Consortium(founded=False)
    *first, last = made.genesis()
    made.log.append(first)
    return made, last


def test_the_founding_is_as_long_as_entry_0_says() -> None:
    """Whoever has compared the founding cannot be surprised by one more founder."""
    made, last = half_founded()
    assert made.log.state.founding
    assert refused(made, made.statement("task", task="credit", spec=made.hash())).rule == "genesis"
    made.log.append([last])
    assert not made.log.state.founding
    assert refused(made, newcomer(made, [])).rule == "approvals"
    unsaid = Consortium(founded=False)
    policy = dict(decode_statement(unsaid.genesis()[0]).payload)
    assert refused(unsaid, unsaid.sign({**policy, "founders": None})).rule == "genesis"


def test_only_the_coordinator_founds() -> None:
    made, last = half_founded()
    by_member = made.sign(dict(decode_statement(last).payload), "firm-0")
    assert refused(made, by_member).rule == "genesis"
    assert refused(made, newcomer(made, ["firm-0"])).rule == "genesis"


def test_one_key_is_one_member() -> None:
    made, _ = half_founded()
    assert refused(made, newcomer(made, [], key=made.keys["firm-0"].public.raw)).rule == "key"
    assert refused(made, newcomer(made, [], key=made.keys[COORDINATOR].public.raw)).rule == "key"
    assert refused(made, newcomer(made, [], member="firm-0")).rule == "member"
    for reserved in RESERVED:
        assert refused(made, newcomer(made, [], member=reserved)).rule == "member"


# membership after the founding: five members, so four must approve


def test_a_quorum_enrols(consortium: Consortium) -> None:
    consortium.log.append([newcomer(consortium, ["firm-0", "firm-1", "firm-2", "bank-0"])])
    assert consortium.log.state.is_enrolled("firm-9", "firm")
    assert consortium.log.state.voters == 6


def test_forged_membership(consortium: Consortium) -> None:
    """Too few, a duplicate, a wrong key, an approval of something else, a stranger: each refused."""
    assert refused(consortium, newcomer(consortium, ["firm-0", "firm-1", "firm-2"])).rule == "approvals"
    assert refused(consortium, newcomer(consortium, ["firm-0", "firm-0", "firm-1", "firm-2"])).rule == "approvals"
    enough_and_twice = newcomer(consortium, [*consortium.members, "firm-0"])
    assert "twice" in refused(consortium, enough_and_twice).detail
    payload = dict(decode_statement(newcomer(consortium, ["firm-0", "firm-1", "firm-2", "firm-3"])).payload)
    wrong_key = approve(payload, "bank-0", key_of("mallory"))
    stranger = approve(payload, "mallory", key_of("mallory"))
    other = approve({**payload, "name": "Other"}, "bank-0", consortium.keys["bank-0"])
    for bad in (wrong_key, stranger, other):
        forged = {**payload, "approvals": [*payload["approvals"], bad]}
        assert refused(consortium, consortium.sign(forged)).rule == "approvals"
    changed = {**payload, "kind": "bank"}
    assert refused(consortium, consortium.sign(changed)).rule == "approvals"


def test_what_was_approved_is_not_brought_out_after_other_changes(consortium: Consortium) -> None:
    """A withheld approval: the quorum that gave it knew another membership, and perhaps another key."""
    everyone = ["firm-0", "firm-1", "firm-2", "bank-0"]
    withheld = newcomer(consortium, everyone)
    before = consortium.log.state.membership_digest
    raw = consortium.approved(everyone, "suspend", member="firm-3", reason="left")
    consortium.log.append([raw])
    assert consortium.log.state.membership_digest == decode_statement(raw).digest
    assert refused(consortium, withheld).rule == "parent"
    for other in (before, None, consortium.hash()):
        assert refused(consortium, newcomer(consortium, everyone[:3], parent=other)).rule == "parent"
    consortium.task("demand")
    consortium.log.append([newcomer(consortium, everyone[:3])])


def test_suspension_takes_voice_and_vote(consortium: Consortium) -> None:
    everyone = ["firm-0", "firm-1", "firm-2", "bank-0"]
    consortium.log.append([consortium.approved(everyone, "suspend", member="firm-3", reason="left")])
    assert consortium.log.state.voters == 4
    attest = consortium.statement("attest", "firm-3", subject="s", artifact=consortium.hash())
    assert refused(consortium, attest).rule == "issuer"
    with_suspended = newcomer(consortium, ["firm-3", "firm-0", "firm-1", "firm-2"])
    assert refused(consortium, with_suspended).rule == "approvals"
    with pytest.raises(Refused, match="not an active firm"):
        consortium.round(cohort=["firm-0", "firm-3"])
    back = {"member": "firm-3", "key": consortium.keys["firm-3"].public.raw}
    consortium.log.append([newcomer(consortium, ["firm-0", "firm-1", "firm-2"], **back)])
    assert consortium.log.state.is_enrolled("firm-3")


def test_an_old_key_is_void_from_its_rotation_on(consortium: Consortium) -> None:
    new = key_of("firm-0 renewed")
    everyone = ["firm-1", "firm-2", "firm-3", "bank-0"]
    consortium.log.append([consortium.approved(everyone, "rotate", member="firm-0", key=new.public.raw)])
    payload = consortium.payload("attest", subject="s", artifact=consortium.hash())
    assert refused(consortium, consortium.sign(payload, "firm-0")).rule == "signature"
    consortium.log.append([consortium.sign(payload, "firm-0", key=new)])
    again = consortium.approved(everyone, "rotate", member="firm-1", key=consortium.keys["firm-0"].public.raw)
    assert refused(consortium, again).rule == "key"


def test_the_coordinator_can_be_given_a_new_key(consortium: Consortium) -> None:
    new = key_of("coordinator renewed")
    everyone = consortium.members[:4]
    consortium.log.append([consortium.approved(everyone, "rotate", member=COORDINATOR, key=new.public.raw)])
    payload = consortium.payload("task", task="demand", spec=consortium.hash())
    assert refused(consortium, consortium.sign(payload)).rule == "signature"
    consortium.log.append([consortium.sign(payload, key=new)])


# what all records share


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


def test_entries_come_in_order(consortium: Consortium) -> None:
    statement = decode_statement(consortium.statement("task", task="demand", spec=consortium.hash()))
    with pytest.raises(Refused, match="next entry"):
        apply(consortium.log.state, statement, consortium.log.size + 1)


# rounds


def phase(consortium: Consortium, round_id: bytes) -> Phase:
    found = consortium.log.state.rounds.get(round_id)
    assert found is not None
    return found.phase


def test_the_way_of_a_round(consortium: Consortium) -> None:
    round_id = consortium.round()
    assert phase(consortium, round_id) is Phase.OPEN
    for firm in consortium.firms:
        consortium.contribute(round_id, firm)
    model = consortium.aggregate(round_id)
    assert phase(consortium, round_id) is Phase.AGGREGATED
    consortium.publish(round_id, model)
    assert phase(consortium, round_id) is Phase.PUBLISHED
    consortium.train(parent=model)
    task = consortium.log.state.tasks.get("credit")
    assert task is not None
    assert task.rounds == 2


def test_who_may_contribute_what(consortium: Consortium) -> None:
    round_id = consortium.round(cohort=["firm-0", "firm-1"])
    outside = consortium.contribution(round_id, "firm-2")
    assert refused(consortium, outside).rule == "cohort"
    assert refused(consortium, consortium.contribution(round_id, "bank-0")).rule == "issuer"
    assert refused(consortium, consortium.contribution(round_id, "firm-0", parent=bytes(32))).rule == "parent"
    assert refused(consortium, consortium.contribution(round_id, "firm-0", parent=None)).rule == "parent"
    assert refused(consortium, consortium.contribution(bytes(16), "firm-0")).rule == "round"
    consortium.contribute(round_id, "firm-0")
    assert refused(consortium, consortium.contribution(round_id, "firm-0")).rule == "once"


def test_a_contribution_cannot_be_replayed_in_another_round(consortium: Consortium) -> None:
    first = consortium.round()
    payload = dict(decode_statement(consortium.contribution(first, "firm-0")).payload)
    consortium.append("abort", round=first, reason="test")
    second = consortium.round()
    moved = consortium.sign({**payload, "round": second}, "firm-0")
    assert refused(consortium, moved).rule == "parent"
    assert refused(consortium, consortium.sign(payload, "firm-0")).rule == "phase"


def test_an_aggregate_lists_exactly_the_contributions(consortium: Consortium) -> None:
    round_id = consortium.round()
    for firm in ("firm-2", "firm-0", "firm-1"):
        consortium.contribute(round_id, firm)
    current = consortium.log.state.rounds.get(round_id)
    assert current is not None
    inputs = current.inputs()
    for wrong in (inputs[:-1], inputs[::-1], [*inputs, bytes(32)], [*inputs[:2], inputs[0]], []):
        with pytest.raises(Refused) as caught:
            consortium.aggregate(round_id, inputs=wrong)
        assert caught.value.rule == "inputs"
    by_firm = {"round": round_id, "inputs": inputs, "unmask": bytes(32), "model": bytes(32)}
    assert refused(consortium, consortium.statement("aggregate", "firm-0", **by_firm)).rule == "issuer"
    consortium.aggregate(round_id)
    assert refused(consortium, consortium.contribution(round_id, "firm-3")).rule == "phase"


def test_sums_over_too_few(consortium: Consortium) -> None:
    with pytest.raises(Refused, match="cohort"):
        consortium.round(cohort=["firm-0"])
    round_id = consortium.round()
    consortium.contribute(round_id, "firm-0")
    with pytest.raises(Refused, match="fewer"):
        consortium.aggregate(round_id)


def test_cohorts(consortium: Consortium) -> None:
    for cohort in (["firm-0", "firm-0"], ["firm-0", "bank-0"], ["firm-0", "stranger"]):
        with pytest.raises(Refused) as caught:
            consortium.round(cohort=cohort)
        assert caught.value.rule == "cohort"
    with pytest.raises(Refused, match="not declared"):
        consortium.round(task="demand")


def test_one_open_round_a_task(consortium: Consortium) -> None:
    consortium.round()
    with pytest.raises(Refused, match="still open"):
        consortium.round()
    consortium.task("demand")
    consortium.round(task="demand")


def test_parent_models(consortium: Consortium) -> None:
    _, first = consortium.train(parent=bytes(32))
    for wrong in (None, bytes(32), consortium.hash()):
        with pytest.raises(Refused, match="parent"):
            consortium.round(parent=wrong)
    _, second = consortium.train(parent=first)
    round_id = consortium.round(parent=first)
    consortium.append("abort", round=round_id, reason="test")
    consortium.append("revoke", model=second, reason="test")
    with pytest.raises(Refused, match="revoked"):
        consortium.round(parent=second)
    consortium.round(parent=first)


def test_an_aborted_aggregate_is_no_parent(consortium: Consortium) -> None:
    _, first = consortium.train()
    round_id = consortium.round(parent=first)
    for firm in consortium.firms:
        consortium.contribute(round_id, firm)
    model = consortium.aggregate(round_id)
    consortium.append("abort", round=round_id, reason="bad metrics")
    with pytest.raises(Refused, match="parent"):
        consortium.round(parent=model)
    consortium.round(parent=first)


def test_publishing(consortium: Consortium) -> None:
    round_id = consortium.round()
    with pytest.raises(Refused, match="must be aggregated"):
        consortium.publish(round_id, consortium.hash())
    for firm in consortium.firms:
        consortium.contribute(round_id, firm)
    model = consortium.aggregate(round_id)
    with pytest.raises(Refused, match="not the one"):
        consortium.publish(round_id, consortium.hash())
    consortium.publish(round_id, model)
    with pytest.raises(Refused, match="phase"):
        consortium.publish(round_id, model)
    with pytest.raises(Refused, match="can be aborted"):
        consortium.append("abort", round=round_id, reason="late")


# privacy spend


def cap(
    consortium: Consortium, rdp: list[int], *, org: str = "firm-0", issuer: str = "firm-0", delta: int = 10
) -> bytes:
    return consortium.statement("cap", issuer, org=org, task="credit", rdp_cap=rdp, delta=delta)


def test_a_cap_may_only_fall(consortium: Consortium) -> None:
    consortium.log.append([cap(consortium, [10, 20])])
    assert refused(consortium, cap(consortium, [10, 21])).rule == "cap"
    assert refused(consortium, cap(consortium, [10, 20], delta=11)).rule == "cap"
    assert refused(consortium, cap(consortium, [10])).rule == "grid"
    assert refused(consortium, cap(consortium, [])).rule == "cap"
    assert refused(consortium, cap(consortium, [5, 5], org="firm-1")).rule == "issuer"
    consortium.log.append([cap(consortium, [9, 20])])
    assert refused(consortium, cap(consortium, [10, 20])).rule == "cap"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6))
def test_spend_never_goes_over_the_cap(spends: list[tuple[int, int]]) -> None:
    made = Consortium(firms=2, min_cohort=1)
    made.task()
    made.log.append([cap(made, [8, 12])])
    total = [0, 0]
    for spend in spends:
        round_id = made.round(cohort=["firm-0"])
        fits = total[0] + spend[0] <= 8 and total[1] + spend[1] <= 12
        if fits:
            made.contribute(round_id, "firm-0", rdp=spend)
            total = [total[0] + spend[0], total[1] + spend[1]]
        else:
            assert refused(made, made.contribution(round_id, "firm-0", rdp=spend)).rule == "cap"
        assert list(made.log.state.spent.get(("firm-0", "credit"), (0, 0))) == total
        made.append("abort", round=round_id, reason="next")


def test_the_grid_of_orders_is_fixed(consortium: Consortium) -> None:
    first = consortium.round()
    consortium.contribute(first, "firm-0", rdp=(1, 2, 3))
    consortium.append("abort", round=first, reason="test")
    second = consortium.round()
    assert refused(consortium, consortium.contribution(second, "firm-0", rdp=(1, 2))).rule == "grid"


# use of models


def test_consents_and_queries(consortium: Consortium) -> None:
    _, model = consortium.train()
    consent: dict[str, Any] = {"firm": "firm-0", "bank": "bank-0", "purpose": "loan", "until": 2_000_000_000}
    consortium.append("consent", "firm-0", **consent)
    assert refused(consortium, consortium.statement("consent", "firm-1", **consent)).rule == "issuer"
    to_firm = {**consent, "bank": "firm-1"}
    assert refused(consortium, consortium.statement("consent", "firm-0", **to_firm)).rule == "member"
    query: dict[str, Any] = {
        "bank": "bank-0",
        "purpose": "loan",
        "subject": bytes(32),
        "answer": bytes(32),
        "model": model,
    }
    consortium.append("query", **query)
    consortium.append("query", "bank-0", **query)
    assert consortium.log.state.queries.get("bank-0") == 2
    assert refused(consortium, consortium.statement("query", "firm-0", **query)).rule == "issuer"
    unknown = {**query, "model": bytes(32)}
    assert refused(consortium, consortium.statement("query", **unknown)).rule == "model"
    consortium.append("revoke", model=model, reason="drift")
    assert refused(consortium, consortium.statement("query", **query)).rule == "model"


# the reducer itself


def test_replaying_gives_the_same_state(consortium: Consortium) -> None:
    consortium.train()
    state = initial(CID)
    for index, raw in enumerate(consortium.log.entries(0, consortium.log.size)):
        before, copy = state, repr(state)
        state = admit(state, decode_statement(raw), index)
        assert repr(before) == copy
    assert state == consortium.log.state
