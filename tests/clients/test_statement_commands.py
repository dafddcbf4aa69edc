"""`artesian firm privacy-statement`: what is promised, from the firm's own files alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from consortium_world import Consortium, a_plan

from artesian import app
from clients.composition import tightest_epsilon
from clients.cost import Cost
from clients.mechanism import Mechanism
from clients.plan import MICRO
from clients.privacy_facts import most_right
from ledger.statement import decode_statement


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
    issuer = facts["facts"]["issuer"]
    assert (issuer["member"], issuer["consortium"], len(issuer["date"])) == ("firm-1", "test", 10)
    opened = {"id": decode_statement(statement).payload["id"].hex(), "number": 1, "release": ""}
    assert {**opened, "entry": issuer["round"]["entry"]} == issuer["round"]
    assert world.log.index_of(decode_statement(statement).digest) == issuer["round"]["entry"]
    assert f"firm-1 of test, from its own files as of {issuer['date']}." in run(world).stdout
    world.abort(statement)


def test_what_was_opened_to_auditors_is_counted_with_what_it_cost(tmp_path: Path) -> None:
    """Two openings of one task's rounds and a round of another task on the same data: all of it, not the latest run."""
    world = Consortium(tmp_path / "home", limits={"min_cohort": 3})
    firm, kinds = world.firms["firm-1"], [Mechanism(9_000_000), Mechanism(4_000_000), Mechanism(4_000_000)]
    payer = firm.declared("credit")
    try:
        for purpose, one in zip(("other/aa", "opening/credit/bb", "opening/credit/cc"), kinds, strict=True):
            firm.charge_once(payer, purpose, Cost.of(one))
        (statement,) = json.loads(run(world, "--json").stdout)["statements"]
    finally:
        world.close()
    spent = statement["facts"]["spent"]
    assert spent["epsilon"] == tightest_epsilon(kinds, 1e-5)
    assert spent["guess"] == most_right(kinds)
    assert (spent["openings"], spent["openings_epsilon"]) == (2, tightest_epsilon(kinds[1:], 1e-5))


def test_a_task_that_is_not_the_firms_is_refused(world: Consortium) -> None:
    done = run(world, "other")
    assert done.exit_code == 2
    assert "other: no task of" in done.stderr
