"""A firm's operator reads what a round asks: who could read one update, what it costs, and what the firm says to it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from consortium_world import CID, Consortium, a_plan

from artesian import app
from clients import encrypted_sums
from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, Mechanism

HOLDER = "firm-6"
LIMITS = {"aggregation": ["masked", "encrypted"], "key_holders": [HOLDER], "min_cohort": 3}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    world = Consortium(tmp_path_factory.mktemp("plans") / "home", limits=LIMITS)
    yield world
    world.close()


def run(world: Consortium, *arguments: str, name: str = "firm-1") -> Result:
    return CliRunner().invoke(app, ["firm", "plan", *arguments, "--home", str(world.built.member(name))])


def latest(world: Consortium, name: str = "firm-1") -> dict[str, Any]:
    facts = json.loads(run(world, "--json", name=name).stdout)
    (found,) = facts["rounds"]
    assert facts["ok"] is True
    return dict(found)


def test_before_the_first_round_there_is_nothing_to_show(world: Consortium) -> None:
    assert "No round of this firm's tasks" in run(world).stdout


def test_a_masked_plan_says_that_nobody_holds_a_key(world: Consortium) -> None:
    statement = world.open_round(a_plan())
    said = run(world).stdout
    assert "nobody reads a single update, as long as no more than 1 firm sides with the coordinator" in said
    assert "A round costs epsilon" in said
    assert "This firm takes part." in said
    world.abort(statement)


def test_what_the_wallet_says_to_a_round_is_said_before_it(world: Consortium) -> None:
    statement = world.open_round(a_plan(number=2, rounds=5))
    one = latest(world)["wallet"]
    assert (one["paid"], one["epsilon_now"], one["rounds_after"], one["refusal"]) == (False, 0.0, 3, None)
    assert one["epsilon_after_round"] == tightest_epsilon([Mechanism(8 * MICRO)], 1e-5)
    assert one["epsilon_after_run"] == tightest_epsilon([Mechanism(8 * MICRO, steps=4)], 1e-5)
    assert "Its wallet has paid epsilon 0 of 8; this round brings it to 0.4" in run(world).stdout
    world.abort(statement)
    statement = world.open_round(a_plan(noise_micro=300_000))
    assert "over the cap 8; nothing was spent" in latest(world)["wallet"]["refusal"]
    assert "It will not pay: wallet: one row/data/credit.csv" in run(world).stdout
    assert not (world.built.member("firm-1") / "wallet.sqlite").exists()
    world.abort(statement)


def test_an_encrypted_plan_says_who_can_read_every_update(world: Consortium) -> None:
    reply = encrypted_sums.hold(world.firms[HOLDER], {"cid": CID, "epoch": 7})
    world.log.append([reply["statement"]])
    plan = a_plan(
        aggregation="encrypted",
        epoch=7,
        threshold=3,
        key_holder=HOLDER,
        context=hashlib.sha256(reply["context"]).digest(),
    )
    statement = world.open_round(plan, world.names[:5])
    said = run(world).stdout
    assert "Whoever holds that key can read every single update that it gets hold of" in said
    assert "firm-6 together with the coordinator, or with one of the firms that check the sum" in said
    one = latest(world)
    assert (one["aggregation"], one["key_holder"], one["accepted"]) == ("encrypted", HOLDER, True)
    assert latest(world, HOLDER)["refusal"] == f"cohort: {HOLDER} is not in the cohort"
    world.abort(statement)
    later = encrypted_sums.hold(world.firms[HOLDER], {"cid": CID, "epoch": 8})
    world.log.append([later["statement"]])
    world.witness()
    assert latest(world)["accepted"]  # the ledger counts as it stood when the round was opened


def test_a_plan_against_the_firms_limits_is_shown_with_what_it_says_to_it(world: Consortium) -> None:
    statement = world.open_round(a_plan(aggregation="plain", privacy="none", noise_micro=0))
    said = run(world).stdout
    assert "the coordinator reads each of them" in said
    assert "No noise is added" in said
    assert "This firm refuses: aggregation: 'plain' is not among what this firm allows: masked, encrypted" in said
    world.abort(statement)


def test_a_round_is_found_by_how_its_id_begins(world: Consortium) -> None:
    one = latest(world)["round"]
    (found,) = json.loads(run(world, one[:10].upper(), "--json").stdout)["rounds"]
    assert found["round"] == one
    wrong = run(world, "zz")
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)
    assert "round zz: no round of firm-1's tasks" in wrong.stderr


def test_nothing_is_changed_by_looking(world: Consortium) -> None:
    home: Path = world.built.member("firm-1")
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file() and "-" not in path.suffix}
    run(world)
    assert before == {
        path.name: path.read_bytes() for path in home.iterdir() if path.is_file() and "-" not in path.suffix
    }


def test_a_number_that_does_not_follow_from_the_ledger_is_shown_as_refused(world: Consortium) -> None:
    statement = world.open_round(a_plan(groups=2, number=734, rounds=1000))
    assert latest(world)["refusal"] == "number: round 734 of 1000 cannot follow on no round"
    world.abort(statement)
