"""`artesian firm personalise`, `forecast` and `score`, from the firm's own home alone."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from federation_world import LIMITS, TASK, federation, opened, train, training
from task_world import DEMAND, demand_spec, demand_table
from typer.testing import CliRunner

from clients.firm_commands import app
from clients.firm_tasks import NoSuchTask
from clients.personal.errors import NotPersonalised, OtherKind
from clients.releases import ReleaseNotTaken
from clients.tasks.task import task_for
from experiments.federation import FederatedTask, Federation, Terms, build


@pytest.fixture(scope="module")
def credit(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    built = federation(tmp_path_factory.mktemp("credit") / "f", 3, training(1))
    with opened(built) as coordinator:
        train(built, coordinator)
    return built


@pytest.fixture(scope="module")
def demand(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    parts = tuple(demand_table(stores=2, seed=seed) for seed in (1, 2, 3))
    limits = {**LIMITS, "without_privacy": True}
    task = FederatedTask("demand", task_for(demand_spec()), DEMAND, parts, training(2, mode="none"))
    built = build(tmp_path_factory.mktemp("demand") / "f", [task], Terms("simulation", 3, 5, True, False, limits))
    with opened(built) as coordinator:
        train(built, coordinator, task="demand")
    return built


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def answer(*arguments: Any) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.exception
    return dict(json.loads(done.stdout))


def copied(built: Federation, tmp_path: Path) -> Path:
    """The first firm's home, to be spoilt; nothing else of the consortium is needed."""
    return Path(shutil.copytree(built.member("firm-1"), tmp_path / "home"))


def test_a_firm_scores_its_own_customers(credit: Federation, tmp_path: Path) -> None:
    home = copied(credit, tmp_path)
    facts = answer("personalise", TASK, "--home", home)
    kept = home / "personal" / "credit.json"
    assert facts["file"] == str(kept)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    new = tmp_path / "new.csv"
    new.write_text("income,sector\n10,building\n90,trade\n")
    found = answer("score", TASK, "--data", new, "--home", home)
    assert [set(row) for row in found["rows"]] == [{"row", "pd_federated", "pd_calibrated", "pd"}] * 2
    assert found["rows"][0]["pd"] > found["rows"][1]["pd"]
    assert found["model"] == facts["chosen"]


def test_a_firm_forecasts_its_own_series(demand: Federation, tmp_path: Path) -> None:
    home = copied(demand, tmp_path)
    facts = answer("personalise", "demand", "--home", home)
    assert facts["validated_from"] < facts["validated_to"] < "2100-01-01"  # dates, not numbers
    assert list(facts["quantile_spread"]) in (["q10", "q50", "q90"], [])
    assert "the federated model as it is" in run("personalise", "demand", "--home", home).stdout
    out = tmp_path / "forecast.csv"
    done = run("forecast", "demand", "--home", home, "--days", 5, "--out", out)
    assert done.exit_code == 0, done.exception
    assert "5 days, closed ones left out" in done.stdout
    rows = list(csv.DictReader(out.open()))
    assert out.stat().st_mode & 0o777 == 0o600
    assert {row["store"] for row in rows} == {"s0", "s1"}
    assert list(rows[0]) == ["store", "day", "q10", "q50", "q90"]
    last = demand_table(stores=2).columns["day"].max()
    assert all(str(last) < row["day"] for row in rows)
    assert all(0.0 <= float(row["q10"]) <= float(row["q50"]) <= float(row["q90"]) for row in rows)
    with pytest.raises(NotPersonalised, match="1 to 7 days"):
        raise run("forecast", "demand", "--home", home).exception


def test_nothing_is_forecast_from_what_was_chosen_on_another_release(demand: Federation, tmp_path: Path) -> None:
    home = copied(demand, tmp_path)
    with pytest.raises(NotPersonalised, match="personalise demand"):
        raise run("forecast", "demand", "--home", home, "--days", 5).exception
    answer("personalise", "demand", "--home", home)
    kept = home / "personal" / "demand.json"
    document = json.loads(kept.read_text())
    for change in ({"release": "0" * 64}, {"choice": {**document["choice"], "wape": "good"}}, {"v": 2}):
        kept.write_text(json.dumps({**document, **change}))
        with pytest.raises(NotPersonalised, match=r"demand\.json.*personalise demand"):
            raise run("forecast", "demand", "--home", home, "--days", 5).exception


@pytest.mark.parametrize("what", [("personalise", "credit"), ("score", "credit", "--data", "x.csv")])
def test_without_a_release_there_is_nothing_to_build_on(
    credit: Federation, tmp_path: Path, what: Sequence[str]
) -> None:
    home = copied(credit, tmp_path)
    shutil.rmtree(home / "releases")
    with pytest.raises(ReleaseNotTaken, match="take-release"):
        raise run(*what, "--home", home).exception


def test_a_command_for_another_kind_of_task_says_so(credit: Federation, tmp_path: Path) -> None:
    with pytest.raises(OtherKind, match=r"a credit task.* artesian firm score") as caught:
        raise run("forecast", TASK, "--home", copied(credit, tmp_path)).exception
    assert caught.value.exit_code == 2


def test_a_task_that_there_is_not_is_wrong_input(credit: Federation, tmp_path: Path) -> None:
    with pytest.raises(NoSuchTask, match=f"its firm.toml has {TASK}$") as caught:
        raise run("personalise", "nope", "--home", copied(credit, tmp_path)).exception
    assert caught.value.exit_code == 2
