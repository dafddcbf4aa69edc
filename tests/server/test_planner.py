"""The planner: public figures in, a plan that fits out, and predictions that the plan itself bears out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from federation_world import spec
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from artesian import app
from clients.privacy import add, epsilon
from clients.tasks.task import task_for
from server.planner import RULES, NoRule, prediction, rule_for
from server.steps import Steps
from server.training_config import TrainingConfig

TASK = task_for(spec())
LOANS = Path("experiments/configs/tasks/loans.toml")
CLIP = RULES["scorecard"].clip


def auto(rounds: int = 60, mode: str = "distributed", target: float = 1.0, **more: Any) -> TrainingConfig:
    privacy = {"mode": mode} if mode == "none" else {"mode": mode, "epsilon": target}
    return TrainingConfig.model_validate({"training": {"plan": "auto", "rounds": rounds, **more}, "privacy": privacy})


def units(total: int, firms: int = 8) -> dict[str, int]:
    return {f"firm-{k}": total // firms for k in range(firms)}


def path(config: TrainingConfig, total: int, firms: int = 8) -> float:
    steps = config.settled(TASK, units(total, firms), 1).training
    return steps.rounds * steps.rate


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 10), st.integers(800, 10**6), st.integers(3, 20), st.sampled_from(["local", "distributed"]))
def test_any_public_figures_give_a_plan_of_that_epsilon(target: float, total: int, firms: int, mode: str) -> None:
    config = auto(40, mode, target)
    plans = config.plans(TASK, units(total, firms), 1)
    facts = prediction(TASK, plans[0], firms)
    assert 1 <= len(plans) <= 40
    assert 0.99 * target <= facts["epsilon"] <= target
    assert epsilon(add(plan.round_rdp() for plan in plans), 1e-5) >= facts["epsilon"]
    assert facts["noise_in_mean"] * plans[0].clip == pytest.approx(
        plans[0].noise_std(firms) * firms**0.5 / plans[0].units
    )
    assert plans == config.settled(TASK, units(total, firms), 1).plans(TASK, units(total, firms), 1)


def test_less_noise_makes_a_longer_path_and_no_noise_the_longest() -> None:
    assert path(auto(target=0.3), 20_000) < path(auto(target=1.0), 20_000) < path(auto(target=3.0), 20_000)
    assert path(auto(), 3_000) < path(auto(), 20_000)
    assert path(auto(mode="local"), 20_000) < path(auto(), 20_000)
    assert path(auto(mode="none"), 3_000) == pytest.approx(RULES["scorecard"].path[1], rel=0.05)


def test_few_rounds_are_longer_ones_up_to_the_rate_that_was_measured() -> None:
    steps = auto(rounds=3, target=3.0).settled(TASK, units(20_000), 1).training
    assert (steps.rounds, steps.rate) == (3, RULES["scorecard"].rate[1])
    assert auto(rounds=60).settled(TASK, units(20_000), 1).training.rate < steps.rate


def test_what_else_is_said_stays() -> None:
    steps = auto(weighting="summed", average_last=0.25).settled(TASK, units(20_000), 1).training
    assert (steps.plan, steps.weighting, steps.average_last, steps.clip) == ("given", "summed", 0.25, CLIP)
    given = TrainingConfig()
    assert given.settled(TASK, units(800), 1) is given
    with pytest.raises(ValidationError, match="leave other algorithms out"):
        Steps(plan="auto", optimiser="adam")


def test_nothing_is_proposed_for_models_that_nothing_was_measured_for() -> None:
    with pytest.raises(NoRule, match="no rule was measured for a mlp model"):
        rule_for("mlp")


def propose(*more: str, file: Path = LOANS) -> Result:
    asked = ["--firms", "8", "--units", "3000", "--epsilon", "1", *more]
    return CliRunner().invoke(app, ["coordinator", "propose", str(file), *asked])


def test_the_command_prints_what_can_be_pasted_and_what_it_predicts() -> None:
    shown = propose()
    assert shown.exit_code == 0, shown.output
    pasted = TrainingConfig.model_validate(tomllib.loads(shown.stdout))
    facts = json.loads(propose("--json").stdout)
    assert pasted == TrainingConfig.model_validate(tomllib.loads(facts["toml"]))
    assert facts["training"]["rounds"] == pasted.training.rounds
    assert facts["epsilon"] == pytest.approx(1.0, rel=1e-3)
    assert "all" in shown.stdout
    assert "noise multiplier" in shown.stdout


def test_what_is_for_a_coordinator_is_put_below_its_task(tmp_path: Path) -> None:
    (tmp_path / "loans.toml").write_bytes(LOANS.read_bytes())
    (tmp_path / "coordinator.toml").write_text('cid = "a"\n[[task]]\nname = "loans"\nspec = "loans.toml"\n')
    shown = propose("--home", str(tmp_path))
    assert shown.exit_code == 0, shown.output
    assert f"# is in {tmp_path}/coordinator.toml now, below the task loans" in shown.stdout
    (task,) = tomllib.loads((tmp_path / "coordinator.toml").read_text())["task"]
    assert task["training"] == tomllib.loads(propose().stdout)["training"]
    assert "privacy" in task
    again = propose("--home", str(tmp_path))
    assert (again.exit_code, again.stdout, again.stderr.count("\n")) == (1, "", 1)
    assert "loans has [task.privacy] already" in again.stderr


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--epsilon", "0"], "Invalid value for '--epsilon'"),
        (["--mode", "none"], "Invalid value for '--mode'"),
        (["--colluders", "8"], "8 colluders leave no honest firm among 8"),
        (["--firms", "2"], "masking needs at least 3"),
    ],
)
def test_what_cannot_be_is_one_line(more: list[str], says: str) -> None:
    wrong = propose(*more)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert says in wrong.stderr
