"""Weights that go through the sum: the mean is that of the units there are, whatever firms declare, and is audited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from consortium_world import a_summed_plan
from federation_world import Lost, Meddler, federation, opened, rounds, spec, tables, train, training
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clients import participation
from clients.data import Table
from clients.masking.quantiser import Quantiser
from clients.masking.ring import Ring
from clients.messages import TRAIN
from clients.plan import MICRO, Plan
from clients.tasks.task import task_for
from clients.training import clipped_gradient_sum
from experiments.federation import Federation, write_table
from ledger.statement import decode_statement
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, after_round
from server.audit import audit_all
from server.coordinator import Coordinator
from server.descent import Descent, mean_gradient
from server.model_store import load_model

TASK = task_for(spec())
ROWS = (60, 25, 10, 45, 60)
SILENT: dict[str, Any] = {"privacy": "none", "noise_micro": 0}


@given(
    st.lists(st.integers(0, 10**6), min_size=3, max_size=40).filter(any),
    st.sampled_from([24, 32]),
    st.integers(1, 8),
    st.integers(0, 2**32),
)
def test_the_opened_mean_is_the_weighted_mean_within_the_grid(
    units: list[int], bits: int, divisor: int, seed: int
) -> None:
    """Every firm's mean, weighted by its units: without noise, all that differs is a step a firm and value."""
    rng, n = np.random.default_rng(seed), len(units)
    weights = dict.fromkeys(("weight_micro", "least_weight_micro"), MICRO // divisor)
    plan = a_summed_plan(ring_bits=bits, box_micro=max(units) * MICRO, dimension=5, **SILENT, **weights)
    means = rng.uniform(-plan.clip, plan.clip, (n, 5)) / np.sqrt(5)
    vectors = [np.append(count * mean, count * plan.weight) for count, mean in zip(units, means, strict=True)]
    quantiser = Quantiser(plan.grid(n).bound, n, bits)
    opened_mean = mean_gradient(_sum(vectors, quantiser, rng), plan)
    wanted = np.average(means, axis=0, weights=units)
    off = n * quantiser.step  # at most, of any coordinate of the sum
    divisor_units = max(sum(units) - off / plan.weight, 1.0)
    assert np.all(np.abs(opened_mean - wanted) <= off * (1 + np.abs(wanted) / plan.weight) / divisor_units + 1e-9)


def _sum(vectors: list[NDArray[np.float64]], quantiser: Quantiser, rng: np.random.Generator) -> NDArray[np.float64]:
    """As firms and the coordinator add up: quantised, in the ring, centred, on the grid again."""
    ring = Ring(quantiser.ring_bits)
    total = ring.zeros(len(vectors[0]))
    for vector in vectors:
        ring.add(total, ring.from_signed(quantiser.quantise(vector, rng.random)))
    return quantiser.dequantise(ring.centre(total))


def test_firms_with_more_units_than_the_box_are_cut_to_it_and_never_wrap(tmp_path: Path) -> None:
    """Every firm declares one unit and has 60: each weighs as eight, the most that the box of one clip holds."""
    built = federation(tmp_path / "f", 3, training(1, mode="none", weighting="summed"))
    _declare(built, 1)
    with opened(built) as coordinator:
        train(built, coordinator)
        plan, before, after = _only_round(coordinator)
    examples = [TASK.examples(table) for table in tables(3)]
    total = sum(
        np.clip(clipped_gradient_sum(TASK.architecture, before.parameters, one, plan.clip), -plan.box, plan.box)
        for one in examples
    )
    assert plan.box / plan.weight == 8
    np.testing.assert_allclose(after.parameters, before.parameters - 2.0 * total / (3 * 8), atol=1e-5)


def _declare(built: Federation, units: int) -> None:
    for firm in built.firms:
        path = built.member(firm) / "firm.toml"
        path.write_text(path.read_text().replace("units = 60", f"units = {units}"))


def _only_round(coordinator: Coordinator) -> tuple[Plan, Descent, Descent]:
    """The plan of the only round, and the models before and after it."""
    (one,) = rounds(coordinator)
    plan = Plan.from_map(decode_statement(coordinator.log.entries(one.index, one.index + 1)[0]).payload["plan"])
    assert one.parent_model is not None
    assert one.model is not None
    return plan, load_model(coordinator.artifacts, one.parent_model), load_model(coordinator.artifacts, one.model)


def _furnish(built: Federation, parts: list[Table]) -> None:
    """Firms of different sizes that all declare the same round figure."""
    for firm, part in zip(built.firms, parts, strict=True):
        write_table(part, built.member(firm) / "data" / "credit.csv")
    _declare(built, 500)


def test_no_firm_declares_its_size_and_the_step_is_that_of_the_firms_in_the_sum(tmp_path: Path) -> None:
    gone = "firm-2"

    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) == (TRAIN, gone):
            raise Lost
        return None

    built = federation(tmp_path / "f", 5, training(1, mode="none", weighting="summed"))
    parts = [table.take(np.arange(rows)) for table, rows in zip(tables(5), ROWS, strict=True)]
    _furnish(built, parts)
    with opened(built) as coordinator:
        release = train(built, coordinator, app=Meddler(before))
        plan, parent, after = _only_round(coordinator)
    assert release.manifest["weighting"] == plan.weighting == "summed"
    held = [TASK.examples(part) for firm, part in zip(built.firms, parts, strict=True) if firm != gone]
    total = sum(clipped_gradient_sum(TASK.architecture, parent.parameters, one, plan.clip) for one in held)
    wanted = parent.parameters - 2.0 * total / sum(one.units for one in held)
    np.testing.assert_allclose(after.parameters, wanted, atol=1e-4)
    declared = parent.parameters - 2.0 * total / plan.units
    assert np.abs(wanted - declared).max() > 10 * np.abs(after.parameters - wanted).max()
    assert audit_all(built.coordinator).ok


@pytest.mark.parametrize("combine", ["sum", "mean"])
def test_groups_are_divided_by_what_each_of_them_counts(combine: str) -> None:
    """Of groups that are added up one total weight divides the sum; a mean of groups is weighted by their own."""
    rng = np.random.default_rng(5)
    plan = a_summed_plan(groups=3, combine=combine, dimension=4, **SILENT)
    before, units = Descent.start(rng.normal(size=4)), np.array([50.0, 70.0, 60.0])
    means = rng.normal(size=(3, 4))
    sums = [GroupSum(np.append(n * mean, n / 8), 500) for n, mean in zip(units, means, strict=True)]
    after = after_round(before, plan, sums, Evidence(), Electorate("test", bytes(16), {}))
    wanted = np.average(means, axis=0, weights=units)
    np.testing.assert_allclose(after.parameters, before.parameters - wanted, rtol=1e-12)


def test_groups_that_firms_vote_on_are_recomputed_too(tmp_path: Path) -> None:
    robust = {"groups": 2, "held_out": 0.2}
    built = federation(tmp_path / "f", 10, training(1, weighting="summed", robust=robust))
    with opened(built) as coordinator:
        train(built, coordinator)
    assert [one.problem for one in audit_all(built.coordinator).rounds] == [None]


@pytest.mark.parametrize(("mode", "kind"), [("distributed", "masked"), ("local", "plain")])
def test_noisy_rounds_are_recomputed_bit_for_bit(tmp_path: Path, mode: str, kind: str) -> None:
    built = federation(tmp_path / "f", 3, training(1, mode=mode, kind=kind, weighting="summed", sampling_rate=0.5))
    with opened(built) as coordinator:
        train(built, coordinator)
    audit = audit_all(built.coordinator)
    assert audit.ok, [one.problem for one in audit.rounds]


def test_a_coordinator_that_divides_by_what_is_declared_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Descent.step

    def lies(self: Descent, total: NDArray[np.float64], plan: Plan) -> Descent:
        return step(self, total[:-1], replace(plan, weighting="declared", weight_micro=0, least_weight_micro=0))

    built = federation(tmp_path / "f", 3, training(1, weighting="summed"))
    with opened(built) as coordinator, monkeypatch.context() as patch:
        patch.setattr(Descent, "step", lies)
        train(built, coordinator)
    problem = audit_all(built.coordinator).rounds[0].problem
    assert problem is not None
    assert problem.startswith("model: the contributions give")


def test_a_lying_weight_neither_turns_the_step_round_nor_makes_it_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: one firm sends a weight below zero that cancels the two others', so that noise alone divides the step."""
    honest, first = participation.bounded_gradient_sum, list[Any]()

    def lies(architecture: Any, parameters: Any, examples: Any, protection: Any, *rest: Any, **more: Any) -> Any:
        total = honest(architecture, parameters, examples, protection, *rest, **more)
        first.append(examples)
        if first[0] is examples:
            total[-1] = -2 * 60 * protection.weight
        return total

    monkeypatch.setattr(participation, "bounded_gradient_sum", lies)
    built = federation(tmp_path / "f", 3, training(1, weighting="summed"))
    with opened(built) as coordinator:
        train(built, coordinator)
        plan, parent, after = _only_round(coordinator)
    bare = sum(
        clipped_gradient_sum(TASK.architecture, parent.parameters, TASK.examples(table), 1.0) for table in tables(3)
    )
    shortest = plan.least_weight_micro / plan.weight_micro
    moved = after.parameters - parent.parameters
    assert moved @ bare < 0
    assert np.abs(moved + 2.0 * bare / shortest).max() <= 2.0 * 5 * plan.noise_std(3) * np.sqrt(3) / shortest
    assert audit_all(built.coordinator).ok


def test_the_model_is_as_good_as_with_declared_weights(tmp_path: Path) -> None:
    auc, (held_out,) = {}, tables(1, 1000, seed=99)
    for weighting in ("declared", "summed"):
        config = training(6, epsilon=8.0, weighting=weighting)
        built = federation(tmp_path / weighting, 5, config, ledger=False, in_memory=True, rows=400)
        with opened(built) as coordinator:
            release = train(built, coordinator)
        auc[weighting] = TASK.evaluate(release.descent.average, held_out)["auc"]
    assert auc["declared"] > 0.7
    assert auc["summed"] == pytest.approx(auc["declared"], abs=0.02)
