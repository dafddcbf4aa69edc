"""What a simulation says that its measurements cost, beside its training."""

from __future__ import annotations

import pytest
from consortium_world import a_plan

from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, Mechanism
from experiments.simulation import cost_with
from experiments.terminal import show_summary


def measured(noise: float, epsilon: float | None) -> dict[str, object]:
    return {"privacy": {"epsilon": epsilon, "delta": 1e-5, "noise_multiplier": noise}}


def test_measurements_are_added_up_as_they_compose_and_not_as_numbers() -> None:
    plans = [a_plan(number=number, rounds=3) for number in (1, 2, 3)]
    found = cost_with([measured(8.0, 0.5), measured(8.0, 0.5)], plans)
    asked = [Mechanism(8 * MICRO)] * 2
    trained = [mechanism for plan in plans if (mechanism := plan.round_mechanism()) is not None]
    assert len(trained) == 3
    assert found["epsilon_measured"] == tightest_epsilon(asked, 1e-5)
    assert found["epsilon_together"] == tightest_epsilon([*trained, *asked], 1e-5)


def test_nothing_is_said_where_nothing_costs() -> None:
    assert cost_with([], [a_plan()]) == {}
    assert cost_with([measured(0.0, None)], [a_plan()]) == {}


def test_the_summary_says_both(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {
        "held_out_records": 9,
        "auc_federated": 0.7,
        "firms": 3,
        "rounds": 2,
        "epsilon": 3.9996,
        "delta": 1e-5,
        "unit": "one row",
        "mode": "distributed",
        "epsilon_measured": 0.5001,
        "epsilon_together": 4.12,
    }
    show_summary({"credit": figures, "seconds": {}})
    said = " ".join(capsys.readouterr().out.split())
    assert "epsilon 4 at delta 1e-05" in said
    assert "The measurements cost epsilon 0.501 by themselves; training and measurements together 4.12." in said
