"""`artesian firm privacy-statement`: what is promised, from the firm's own files alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from consortium_world import Consortium, a_plan

from artesian import app
from clients.composition import tightest_epsilon
from clients.mechanism import Mechanism
from clients.plan import MICRO


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    world = Consortium(tmp_path_factory.mktemp("statements") / "home", limits={"min_cohort": 3})
    yield world
    world.close()


def run(world: Consortium, *arguments: str) -> Result:
    home = str(world.built.member("firm-1"))
    return CliRunner().invoke(app, ["firm", "privacy-statement", *arguments, "--home", home])


def test_before_the_first_round_it_says_so(world: Consortium) -> None:
    said = run(world).stdout
    assert "What is protected: One row of a table" in said
    assert "this firm has seen no round of the task credit" in said
    assert "has paid epsilon 0 of its lifetime cap of" in said


def test_after_a_round_it_says_what_the_plan_promises_in_both_languages(world: Consortium) -> None:
    statement = world.open_round(a_plan(rounds=40, noise_micro=23_600_000))
    assert "epsilon 1 at delta 1e-05 for the whole run: 40 rounds" in run(world, "credit").stdout
    assert "ε 为 1，δ 为 1e-05" in run(world, "--language", "zh").stdout
    (facts,) = json.loads(run(world, "--json").stdout)["statements"]
    assert facts["facts"]["run"]["epsilon"] == tightest_epsilon([Mechanism(23_600_000, MICRO, 40)], 1e-5)
    assert facts["facts"]["unit"]["kind"] == "row"
    assert facts["facts"]["spent"]["by"] == "wallet"
    assert set(facts["text"]) == {"en", "zh"}
    world.abort(statement)


def test_a_task_that_is_not_the_firms_is_refused(world: Consortium) -> None:
    done = run(world, "other")
    assert done.exit_code == 1
    assert "takes no part in the task 'other'" in done.stderr
