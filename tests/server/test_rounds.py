"""Whole runs in this process: what they leave on the ledger, in the wallets and in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import (
    LIMITS,
    TASK,
    Lost,
    Meddler,
    federation,
    opened,
    phases,
    rounds,
    spent,
    stored,
    train,
    training,
)

from clients.composition import tightest_epsilon
from clients.disclosure import pack_refusal
from clients.firm import close_firms
from clients.firm_config import Limits
from clients.masking.contribution import protect
from clients.mechanism import MICRO, Mechanism
from clients.messages import HELLO, OPEN, PAIR, REPLIES, TRAIN, WITNESS, Refusal, unpack
from clients.plan import Plan
from clients.privacy import NOTHING, add
from clients.privacy_words import up
from ledger.statement import decode_statement
from server.audit import audit_all
from server.cohort import RunFailed
from server.model_store import load_model
from server.releases import current_release


def cost(plan_rounds: int, coordinator: Any) -> tuple[int, ...]:
    """What so many rounds cost, by the plan on the ledger."""
    opened_at = rounds(coordinator)[0].index
    plan = Plan.from_map(decode_statement(coordinator.log.entries(opened_at, opened_at + 1)[0]).payload["plan"])
    return add([plan.round_rdp()] * plan_rounds)


def test_a_masked_run_on_the_ledger_leaves_everything_in_its_place(tmp_path: Path) -> None:
    built, lines = federation(tmp_path / "f", 3, training(3)), list[str]()
    with opened(built) as coordinator:
        release = train(built, coordinator, lines=lines)
        log = coordinator.log
        assert phases(coordinator) == ["aggregated", "aggregated", "published"]
        assert log.final_size == log.size
        assert release.model in log.state.releases
        for firm in built.firms:
            assert spent(built, firm) == log.state.spent.get((firm, TASK)) == cost(3, coordinator)
    privacy = release.manifest["privacy"]
    assert privacy["epsilon"] == privacy["epsilon_lifetime"] <= 4.0
    found = current_release(built.coordinator, TASK)
    assert found is not None
    assert found.model == release.model
    assert lines == ["credit: round 1 of 3", "credit: round 2 of 3", "credit: round 3 of 3", lines[-1]]
    assert release.model.hex()[:16] in lines[-1]
    report = json.loads((built.coordinator / "runs" / "credit.json").read_text())
    assert len(report["round_s"]) == 3
    assert report["refusals"] == []
    assert audit_all(built.coordinator).ok


def test_a_plain_run_without_a_ledger_keeps_nothing_but_the_release(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(3, mode="none", kind="plain"), ledger=False, in_memory=True)
    with opened(built) as coordinator:
        release = train(built, coordinator)
        assert coordinator.log.size == 4  # the founding
    assert release.manifest["privacy"]["epsilon"] is None
    assert np.isfinite(release.descent.average).all()
    assert not (built.member("firm-1") / "mirror.db").exists()


def test_the_model_is_the_one_that_the_sum_of_the_updates_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    def spy(session: Any, me: str, values: Any, *rest: Any, **more: Any) -> Any:
        sent[me] = (session, values.copy())
        return protect(session, me, values, *rest, **more)

    def refuses(kind: str, member: str, message: Any) -> Any:
        if (kind, member) == (TRAIN, "firm-2"):
            from flwr.app import Message

            return Message(pack_refusal(Refusal("table", "the table is being mended")), reply_to=message)
        return None

    monkeypatch.setattr("clients.participation.protect", spy)
    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(refuses))
        (one,) = rounds(coordinator)
        assert sorted(sent) == sorted(one.contributions) == ["firm-1", "firm-3", "firm-4", "firm-5"]
        session, _ = sent["firm-1"]
        total = session.quantiser.dequantise(sum(values for _, values in sent.values()))
        assert one.parent_model is not None
        parent = load_model(coordinator.artifacts, one.parent_model)
        plan = Plan.from_map(decode_statement(coordinator.log.entries(one.index, one.index + 1)[0]).payload["plan"])
        assert parent.step(total, plan).digest == one.model
        assert spent(built, "firm-2") == NOTHING
    assert audit_all(built.coordinator).ok


def test_too_few_firms_abort_the_round_open_no_update_and_say_who_said_what(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) == (TRAIN, "firm-2"):
            raise Lost
        return None

    meddler = Meddler(before)
    built = federation(tmp_path / "f", 3, training(2))
    with opened(built) as coordinator:
        with pytest.raises(RunFailed) as failed:
            train(built, coordinator, app=meddler)
        assert phases(coordinator) == ["aborted"] * 3
        assert not any(stored(coordinator, one) for one in rounds(coordinator))
        assert coordinator.log.state.releases.get(b"") is None
        for firm in ("firm-1", "firm-3"):
            # They trained three times: what left is paid, though nobody could open it.
            assert spent(built, firm) == coordinator.log.state.spent.get((firm, TASK)) == cost(3, coordinator)
    text = str(failed.value)
    assert "3 rounds failed in a row" in text
    assert "firm-2: its client failed" in text
    assert "\n" not in text
    assert failed.value.exit_code == 3
    assert not [kind for kind, _ in meddler.asked if kind == OPEN]
    assert current_release(built.coordinator, TASK) is None
    refusals = json.loads((built.coordinator / "runs" / "credit.json").read_text())["refusals"]
    assert {who for _, who, _ in refusals} == {"firm-2"}


def test_a_firm_that_dies_between_the_trips_does_not_stop_the_round(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) == (OPEN, "firm-4"):
            raise Lost
        return None

    built = federation(tmp_path / "f", 5, training(2))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before))
        assert [len(one.contributions) for one in rounds(coordinator)] == [5, 5]
    assert audit_all(built.coordinator).ok


def test_one_lost_before_and_one_between_the_trips_void_the_round_and_the_next_goes_on(tmp_path: Path) -> None:
    lost = [(TRAIN, "firm-1"), (OPEN, "firm-4")]

    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) in lost:
            lost.remove((kind, member))
            raise Lost
        return None

    built, lines = federation(tmp_path / "f", 5, training(2)), list[str]()
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before), lines=lines)
        assert phases(coordinator) == ["aborted", "aggregated", "published"]
        assert [len(one.contributions) for one in rounds(coordinator)] == [4, 5, 5]
        assert [len(stored(coordinator, one)) for one in rounds(coordinator)] == [0, 5, 5]
        assert spent(built, "firm-1") == cost(2, coordinator)
        assert spent(built, "firm-2") == cost(3, coordinator)
    assert "round 1 aborted" in lines[0]
    assert audit_all(built.coordinator).ok


def test_a_release_tells_what_failed_rounds_cost_too(tmp_path: Path) -> None:
    lost = [(TRAIN, "firm-1")]

    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) in lost:
            lost.remove((kind, member))
            raise Lost
        return None

    built = federation(tmp_path / "f", 3, training(2))
    with opened(built) as coordinator:
        privacy = train(built, coordinator, app=Meddler(before)).manifest["privacy"]
        three = [Mechanism(round(privacy["noise_multiplier"] * MICRO))] * 3
        assert add(one.rdp() for one in three) == cost(3, coordinator)
        assert privacy["epsilon_lifetime"] == tightest_epsilon(three, 1e-5) > privacy["epsilon"]
        said = privacy["statement"]
        assert said["facts"]["spent"]["epsilon"] == privacy["epsilon_lifetime"]
        assert said["facts"]["run"]["epsilon"] == privacy["epsilon"]
        assert all(up(privacy["epsilon"]) in json.dumps(said["text"][one]) for one in ("en", "zh"))


def test_firms_that_do_not_have_the_task_still_witness_it(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 5, training(1))
    for firm in ("firm-4", "firm-5"):
        text = (built.member(firm) / "firm.toml").read_text()
        (built.member(firm) / "firm.toml").write_text(text.replace('name = "credit"', 'name = "other"'))
    meddler = Meddler()
    with opened(built) as coordinator:  # five members: four must cosign
        train(built, coordinator, app=meddler)
        assert rounds(coordinator)[0].cohort.keys() == {"firm-1", "firm-2", "firm-3"}
        assert coordinator.log.final_size == coordinator.log.size
    assert (PAIR, "firm-4") not in meddler.asked
    assert (WITNESS, "firm-4") in meddler.asked


def test_any_worker_can_handle_a_firms_next_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three workers that take turns, message by message, each with what it remembers of every firm."""
    workers: list[dict[str, Any]] = [{}, {}, {}]
    turn = {"at": 0}

    def before(kind: str, member: str, message: Any) -> Any:
        turn["at"] += 1
        monkeypatch.setattr("clients.firm._open", workers[turn["at"] % 3])

    built = federation(tmp_path / "f", 4, training(3))
    try:
        with opened(built) as coordinator:
            train(built, coordinator, app=Meddler(before))
            assert phases(coordinator) == ["aggregated", "aggregated", "published"]
            assert {len(one.contributions) for one in rounds(coordinator)} == {4}
    finally:
        for worker in workers:
            monkeypatch.setattr("clients.firm._open", worker)
            close_firms()
    assert json.loads((built.coordinator / "runs" / "credit.json").read_text())["refusals"] == []


def test_a_federation_below_the_policys_size_is_told_so(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    with opened(built) as coordinator, pytest.raises(RunFailed, match="2 firms take part, the policy asks for 3"):
        train(built, coordinator, firms=built.firms[:2])


def test_each_firms_limits_stand_whatever_the_plan(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), limits={**LIMITS, "epsilon": 1.0})
    meddler = Meddler()
    with opened(built) as coordinator, pytest.raises(RunFailed, match=r"firm-1: .*over the cap"):
        train(built, coordinator, app=meddler)
    assert spent(built, "firm-1") == NOTHING
    assert (HELLO, "firm-1") in meddler.asked


def test_without_noise_nothing_leaves_a_firm_whose_operator_has_not_allowed_it(tmp_path: Path) -> None:
    """To train without privacy is for simulations, whose firms allow it; a `firm.toml` by default does not."""
    built = federation(tmp_path / "f", 3, training(1, mode="none"), limits={"without_privacy": False})
    sent = list[tuple[str, Any]]()

    def listen(kind: str, member: str, message: Any, reply: Any) -> None:
        sent.append((kind, reply.content))

    meddler = Meddler(after=listen)
    with opened(built) as coordinator:
        with pytest.raises(RunFailed, match="firm-1: privacy: the plan adds no noise; this firm trains with"):
            train(built, coordinator, app=meddler)
        assert phases(coordinator) == ["aborted"] * 3
        assert all(one.contributed == 0 for one in rounds(coordinator))
    answers = [content for kind, content in sent if kind == TRAIN]
    assert len(answers) == 9
    for content in answers:
        with pytest.raises(Refusal, match="adds no noise"):
            unpack(content, REPLIES[TRAIN], TRAIN)
    assert Limits().without_privacy is False


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    models = []
    for name in ("one", "two"):
        built = federation(tmp_path / name, 4, training(2, mode="none"))
        with opened(built) as coordinator:
            models.append(train(built, coordinator).model)
    assert models[0] == models[1]


@pytest.mark.usefixtures("one_ray")
@pytest.mark.integration
def test_the_same_seed_gives_the_same_bytes_in_ray_workers(tmp_path: Path) -> None:
    from experiments.federation import run

    models, lines = [], list[str]()
    for engine in ("in-process", "ray"):
        built = federation(tmp_path / engine, 4, training(2))
        run(built, TASK, engine, lines.append)
        release = current_release(built.coordinator, TASK)
        assert release is not None
        models.append(release.model)
        assert json.loads((built.coordinator / "runs" / "credit.json").read_text())["refusals"] == []
        assert audit_all(built.coordinator).ok
    assert models[0] == models[1]
