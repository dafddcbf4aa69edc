"""Measurement rounds from end to end: agreed to, paid for, noised, recomputable, and with errors that are true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import (
    LIMITS,
    SPEC,
    TASK,
    federation,
    on_grid,
    opened,
    phases,
    rounds,
    spent,
    tables,
    train,
    training,
)
from typer.testing import CliRunner

from clients.firm_commands import app as firm_app
from clients.firm_config import Limits
from clients.plan import Plan, PlanInvalid
from clients.privacy import NOTHING
from clients.tasks.credit import CreditTask
from experiments.federation import Federation, run
from ledger.statement import decode_statement
from server import ordering
from server.audit import audit_all
from server.audit_commands import app as audit_app
from server.cohort import RunFailed
from server.coordinator import Coordinator
from server.coordinator_commands import app as coordinator_app
from server.measure_commands import NotMeasured
from server.measurement_audit import MeasurementMismatch, MeasurementUnreadable
from server.measurement_order import Order, OrderInvalid
from server.measurement_report import measurement_file, read_measurements, told_of
from server.measuring import Measuring
from server.run_order import AlreadyOrdered, Outcome, RunOrder
from server.run_orders import RunOrders

AGREED = {**LIMITS, "epsilon": 60.0, "measurements": ["units", "evaluation", "columns", "fairness"]}


def measure(built: Federation, coordinator: Coordinator, **order: Any) -> dict[str, Any]:
    asked = Order.model_validate(order)
    return on_grid(built, lambda grid: Measuring(grid, coordinator, TASK, asked).measure())


def plan_of(coordinator: Coordinator, place: int = -1) -> Plan:
    index = rounds(coordinator)[place].index
    return Plan.from_map(decode_statement(coordinator.log.entries(index, index + 1)[0]).payload["plan"])


def test_every_kind_is_paid_for_recorded_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), limits=AGREED)
    with opened(built) as coordinator:
        model = train(built, coordinator).model
        for what, more in (("units", {}), ("columns", {}), ("evaluation", {}), ("fairness", {"column": "sector"})):
            before = spent(built, "firm-1")
            document = measure(built, coordinator, what=what, epsilon=0.5, bins=5, **more)
            plan = plan_of(coordinator)
            cost = tuple(b - a for a, b in zip(before, spent(built, "firm-1"), strict=True))
            assert cost == plan.round_rdp() != NOTHING
            assert spent(built, "firm-1") == coordinator.log.state.spent.get(("firm-1", TASK))
            assert (plan.measures, document["what"], document["model"]) == (what, what, model.hex())
            assert document["privacy"]["epsilon"] <= 0.5
            assert document["noise"] > 0
            kept = measurement_file(built.coordinator, TASK, rounds(coordinator)[-1].id)
            assert json.loads(kept.read_text()) == document
        assert phases(coordinator) == ["published", *["aggregated"] * 4]
        assert {one.model for one in rounds(coordinator)} == {model}
        assert coordinator.log.final_size == coordinator.log.size
        assert train(built, coordinator).model != model  # a run after it goes on from the same model, as without it
        latest = rounds(coordinator)[-2].id
    audit = audit_all(built.coordinator)
    assert audit.ok
    assert audit.recomputed == 6
    assert [one.measures for one in audit.rounds] == ["", "units", "columns", "evaluation", "fairness", ""]
    check_the_commands(built, measurement_file(built.coordinator, TASK, latest))


def check_the_commands(built: Federation, file: Path) -> None:
    """What the coordinator's operator and an auditor see of measurements that were made."""
    home = ["--home", str(built.coordinator)]
    spec = ["--spec", str(built.coordinator / "tasks" / "credit.toml")]
    wallet = CliRunner().invoke(firm_app, ["wallet", "--home", str(built.member("firm-1"))]).stdout
    assert all(
        f" 1 measurements of {what}, epsilon " in wallet for what in ("units", "columns", "evaluation", "fairness")
    )
    shown = CliRunner().invoke(coordinator_app, ["measured", TASK, *home]).stdout
    assert "fairness of credit" in shown
    assert "for one row" in shown
    assert "sector building, auc: " in shown
    audited = CliRunner().invoke(audit_app, ["measurement", str(file), *spec, *home])
    assert (audited.exit_code, "computed again" in audited.stdout) == (0, True)
    document = json.loads(file.read_text())
    changes = [{"figures": {}}, {"counts": document["counts"][:-1]}, {"firms": []}, {"model": "00"}, {"round": "00"}]
    for change in [*changes, {"of_units": "units held out of training"}, {"privacy": {}}, {"noise": 0.0}]:
        forged = file.with_name("forged")
        forged.write_text(json.dumps({**document, **change}))
        told = CliRunner().invoke(audit_app, ["measurement", str(forged), *spec, *home])
        assert isinstance(told.exception, MeasurementMismatch), change
    columns = [one for one in read_measurements(built.coordinator, TASK) if one["what"] == "columns"]
    against = ["--round", columns[0]["round"][:12], "--against", columns[0]["round"][:12]]
    drifted = CliRunner().invoke(coordinator_app, ["measured", TASK, *home, *against]).stdout
    assert "drift of sector: PSI 0.0000" in drifted
    assert "no more than noise" in drifted


def test_a_measurement_is_ordered_as_training_is(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), ledger=False)
    home = ["--home", str(built.coordinator)]
    order = ["measure", TASK, "--what", "fairness", "--column", "sector", "--epsilon", "0.5", *home]
    given = CliRunner().invoke(coordinator_app, order)
    assert given.stdout == "credit: order 1 is given; artesian coordinator status shows it.\n"
    assert 'measurements = ["fairness"]' in given.stderr
    assert "No runner is there" in given.stderr
    again = CliRunner().invoke(coordinator_app, [*order, "--json"])
    assert (again.stdout, isinstance(again.exception, AlreadyOrdered)) == ("", True)
    (listed,) = json.loads(CliRunner().invoke(coordinator_app, ["runs", *home, "--json"]).stdout)["runs"]
    assert (listed["measure"], listed["rounds"]) == ("what=fairness epsilon=0.5 bins=20 column=sector", None)


def test_a_measurement_that_is_followed_shows_what_its_own_round_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = federation(tmp_path / "f", 3, training(1, mode="none", kind="plain"), limits=AGREED, ledger=False)
    with opened(built) as coordinator:
        train(built, coordinator)
        wanted, _ = measure(built, coordinator, what="units"), measure(built, coordinator, what="units")
    command = ["measure", TASK, "--what", "units", "--wait", "--home", str(built.coordinator)]

    def carried_out(outcome: Outcome) -> Callable[..., RunOrder]:
        def follow(orders: RunOrders, number: int, _: object) -> RunOrder:
            present = orders.get(number)
            assert present is not None
            return orders.end(present, outcome, told_of(wanted), 0.0)

        return follow

    monkeypatch.setattr(ordering, "follow", carried_out("completed"))
    shown = CliRunner().invoke(coordinator_app, command).stdout
    assert f"credit: order 1 completed: measured units in round {wanted['round'][:12]}\nunits of credit" in shown
    told = json.loads(CliRunner().invoke(coordinator_app, [*command, "--json"]).stdout)
    assert (told["ok"], told["order"]["number"], told["measurement"]) == (True, 2, wanted)
    monkeypatch.setattr(ordering, "follow", carried_out("failed"))
    failed = CliRunner().invoke(coordinator_app, [*command, "--json"])
    assert (failed.exit_code, json.loads(failed.stdout)["ok"], "measurement" in failed.stdout) == (1, False, False)


def test_a_measurement_in_the_middle_of_a_run_does_not_end_it(tmp_path: Path) -> None:
    from server.rounds import TrainingRound

    built = federation(tmp_path / "f", 3, training(3), limits=AGREED)
    original, left = TrainingRound.run, [2]

    def stop(one: TrainingRound) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(one)

    with opened(built) as coordinator:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingRound, "run", stop)
            with pytest.raises(KeyboardInterrupt):
                train(built, coordinator)
        measure(built, coordinator, what="evaluation", epsilon=0.5)
        lines = list[str]()
        train(built, coordinator, lines=lines)
        assert "going on after round 2" in lines[0]
        assert phases(coordinator) == ["aggregated"] * 3 + ["published"]


def test_before_there_is_a_model_columns_can_be_measured(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), limits=AGREED)
    with opened(built) as coordinator:
        document = measure(built, coordinator, what="columns", epsilon=20.0)
        train(built, coordinator)
    counted = {one["bin"]: one["units"] for one in document["figures"]["columns"]["sector"]}
    told = np.concatenate([one.columns["sector"] for one in tables(3)])
    for value in ("farming", "building", "trade"):
        assert abs(counted[value] - (told == value).sum()) < 5 * document["noise"]
    units = document["figures"]["units"]
    assert abs(units["value"] - 180) < 3 * units["plus_minus"]


def test_a_firm_is_measured_only_as_its_operator_has_agreed(tmp_path: Path) -> None:
    assert Limits().measurements == ()
    built = federation(tmp_path / "f", 3, training(1), limits={**LIMITS, "measurements": ["units", "columns"]})
    with opened(built) as coordinator:
        train(built, coordinator)
        before = spent(built, "firm-1")
        with pytest.raises(RunFailed, match="'evaluation' is not among what this firm lets be measured"):
            measure(built, coordinator, what="evaluation", epsilon=0.5)
        assert spent(built, "firm-1") == before
        assert phases(coordinator) == ["published", "aborted"]


def test_the_wallet_refuses_a_measurement_past_the_cap(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), limits={**AGREED, "epsilon": 4.2})
    with opened(built) as coordinator:
        train(built, coordinator)
        before = spent(built, "firm-1")
        with pytest.raises(RunFailed, match="over the cap"):
            measure(built, coordinator, what="evaluation", epsilon=3.0)
        assert spent(built, "firm-1") == before


def exact(model: Any, held: np.ndarray | None = None) -> dict[str, float]:
    """The metrics of a model on all firms' records."""
    from federation_world import spec

    from clients.data import Table

    task, parts = CreditTask(spec(SPEC)), tables(3)
    whole = {name: np.concatenate([one.columns[name] for one in parts]) for name in parts[0].columns}
    return task.evaluate(model, Table(whole, sum(one.rows for one in parts)))


def test_without_noise_the_figures_are_those_of_the_records(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(3, mode="none", kind="plain"), limits=AGREED, ledger=False)
    with opened(built) as coordinator:
        release = train(built, coordinator)
        document = measure(built, coordinator, what="evaluation", bins=200)
        fairness = measure(built, coordinator, what="fairness", bins=50, column="sector")["figures"]["groups"]
        columns = measure(built, coordinator, what="columns")["figures"]["columns"]
    figures, wanted = document["figures"], exact(release.descent.average)
    assert document["noise"] == 0
    assert document["of_units"] == "units that the model was trained on: no test"
    assert figures["units"] == {"value": pytest.approx(180.0, abs=0.01), "plus_minus": 0.0}
    assert figures["auc"]["value"] == pytest.approx(wanted["auc"], abs=0.005)
    told = np.concatenate([one.columns["sector"] for one in tables(3)])
    outcome = np.concatenate([one.columns["outcome"] for one in tables(3)])
    for value, said in fairness.items():
        assert said["units"]["value"] == pytest.approx((told == value).sum(), abs=0.01)
        assert said["default_rate"]["value"] == pytest.approx((outcome[told == value] == "default").mean(), abs=1e-4)
    assert [round(one["units"]) for one in columns["sector"]][:3] == [
        (told == value).sum() for value in ("farming", "building", "trade")
    ]


def test_units_that_are_held_out_are_never_trained_on_and_are_what_is_tested(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(2, held_out=0.25), limits=AGREED)
    with opened(built) as coordinator:
        train(built, coordinator)
        held = measure(built, coordinator, what="evaluation", epsilon=9.0)
        everybody = measure(built, coordinator, what="units", epsilon=9.0)
    assert held["of_units"] == "units held out of training"
    assert everybody["of_units"] == "all units"
    assert abs(held["figures"]["units"]["value"] - 45) < 30
    assert held["figures"]["units"]["value"] < 90 < everybody["figures"]["units"]["value"]


def test_a_share_that_some_round_has_trained_on_is_no_test(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), limits=AGREED)
    with opened(built) as coordinator:
        train(built, coordinator)
    path = built.coordinator / "coordinator.toml"
    steps, rest = path.read_text().split("[task.privacy]")
    path.write_text("[task.privacy]".join([steps.replace("held_out = 0.0", "held_out = 0.25"), rest]))
    with opened(built) as coordinator:
        said = measure(built, coordinator, what="evaluation", epsilon=5.0)
    assert said["of_units"] == "units some of which a round has trained on: no test"


def test_a_run_config_orders_measurements(tmp_path: Path) -> None:
    """What Flower is given in a deployment, and what a simulation's `[[measure]]` becomes."""
    config = training(1, mode="none", kind="plain")
    built = federation(tmp_path / "f", 3, config, limits=AGREED, ledger=False)
    run(built, TASK, "in-process", lambda _: None)
    run(built, TASK, "in-process", lambda _: None, measure=(Order(what="units"), Order(what="evaluation", bins=4)))
    told = read_measurements(built.coordinator, TASK)
    assert [one["what"] for one in told] == ["units", "evaluation"]
    assert [one["bins"] for one in told] == [0, 4]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--what", "fairness"], "names a column"),
        (["--what", "rows"], "'rows' is none of"),
        (["--what", "fairness", "--column", "income"], "no category or flag"),
    ],
)
def test_the_command_refuses_an_order_before_there_is_a_run(tmp_path: Path, options: list[str], says: str) -> None:
    built = federation(tmp_path / "f", 3, training(1), ledger=False)
    home = ["--home", str(built.coordinator)]
    done = CliRunner().invoke(coordinator_app, ["measure", TASK, *home, *options])
    assert isinstance(done.exception, PlanInvalid)
    assert says in str(done.exception)
    missing = CliRunner().invoke(coordinator_app, ["measured", TASK, *home])
    assert isinstance(missing.exception, NotMeasured)
    assert "no measurement yet" in str(missing.exception)
    for epsilon in ("0", "-1", "nan", "100000"):
        order = ["measure", TASK, *home, "--what", "units", "--epsilon", epsilon]
        done = CliRunner().invoke(coordinator_app, order)
        assert done.exit_code == 2 or isinstance(done.exception, OrderInvalid), epsilon
    notes = home[1] + "/notes.txt"
    Path(notes).write_text("no JSON")
    spec = ["--spec", str(built.coordinator / "tasks" / "credit.toml")]
    told = CliRunner().invoke(audit_app, ["measurement", notes, *spec, *home])
    assert isinstance(told.exception, MeasurementUnreadable)
    other = CliRunner().invoke(coordinator_app, ["measure", "other", *home, "--what", "units"])
    assert isinstance(other.exception, OrderInvalid)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("what=everything", "what must be one of"),
        ("what=units much=1", "'much' is none of"),
        ("what=units epsilon=0", "epsilon"),
        ("epsilon=1", "what"),
        ("what=units; what=columns", "2 orders"),
        ("what=units column='a", "No closing quotation"),
    ],
)
def test_an_order_that_is_none_is_named(text: str, says: str) -> None:
    with pytest.raises(OrderInvalid, match="measure: ") as caught:
        Order.parse(text)
    assert "\n" not in str(caught.value)
    assert says in str(caught.value) or says == "what"


def test_an_order_comes_back_from_its_text() -> None:
    for column in ("sector", "home ownership", "a;b", ";", 'it\'s "so"', "a=b", "#1"):
        order = Order(what="fairness", epsilon=0.25, bins=7, column=column)
        assert Order.parse(order.text()) == order
        assert Order.parse_all(f"{order.text()}; {Order(what='units').text()}") == [order, Order(what="units")]
