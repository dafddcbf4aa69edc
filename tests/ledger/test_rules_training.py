"""Tasks, rounds and what is done with models: which records a round takes, and which it refuses."""

from typing import Any

import pytest
from consortium_simulator import Consortium
from refusals import refused

from ledger.rules import Phase, Refused
from ledger.snapshot import encode_state
from ledger.statement import decode_statement


@pytest.fixture
def consortium() -> Consortium:
    made = Consortium()
    made.task()
    return made


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
    for wrong in (None, consortium.hash()):
        with pytest.raises(Refused, match="parent"):
            consortium.round(parent=wrong)
    consortium.round(parent=first)


def test_another_tasks_model_is_no_parent(consortium: Consortium) -> None:
    consortium.task("demand")
    _, other = consortium.train("demand")
    _, own = consortium.train()
    with pytest.raises(Refused, match="parent"):
        consortium.round(parent=other)
    consortium.round(parent=own)


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


def test_a_firms_many_purposes_do_not_fill_the_state(consortium: Consortium) -> None:
    before = len(encode_state(consortium.log.state))
    for number in range(8):
        purpose = f"{number} " + "\N{GRINNING FACE}" * 1000
        consortium.append("consent", "firm-0", firm="firm-0", bank="bank-0", purpose=purpose, until=1)
    assert len(encode_state(consortium.log.state)) - before < 8 * 100
