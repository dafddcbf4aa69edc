"""Processes are killed and links disturbed at random moments: the run ends with what an undisturbed one gives.

`make chaos` is the whole of it, 20 rounds and 32 faults; without ARTESIAN_CHAOS_ROUNDS and _FAULTS there are fewer, so
that it takes minutes: as many faults as there are kinds, each of which then comes once. _FIRMS and _SEED may be given
too.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from chaos import Storm, plan_of_faults
from federation_world import LIMITS, SPEC, federation, tables, training

from clients.firm_config import load_firm_config
from clients.firm_wallet import wallet_path
from clients.homes import FIRM_CONFIG
from clients.wallet import Wallet
from clients.wallet_ledger import purpose_of
from experiments.federation import run
from experiments.tiny_consortium import COORDINATOR, Design, TinyConsortium
from ledger.statement import Statement, decode_statement
from ledger.store import Store

ROUNDS = int(os.environ.get("ARTESIAN_CHAOS_ROUNDS", "20"))
FAULTS = int(os.environ.get("ARTESIAN_CHAOS_FAULTS", "16"))
FIRMS = int(os.environ.get("ARTESIAN_CHAOS_FIRMS", "5"))
SEED = int(os.environ.get("ARTESIAN_CHAOS_SEED", "1"))
DEADLINE_S = 700.0 + 60 * ROUNDS + 60 * FAULTS
TASK, NOISE_SEED = "credit", 5
WITNESS_S = 60.0
"""A round waits so long for a firm whose witness is away: else most storms have one early that a firm misses."""
RUNNER = {"first_pause_s": 1, "longest_pause_s": 5, "most_failures": 20}
"""More goes wrong in a row than outside of a storm."""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(int(DEADLINE_S) + 300)]


def say(**facts: object) -> None:
    print(json.dumps(facts), file=sys.stderr, flush=True)


def test_a_storm_changes_nothing_but_the_time(tmp_path: Path) -> None:
    limits = {**LIMITS, "epsilon": 200.0}  # a round that is trained anew is paid anew
    config = training(ROUNDS, deadline_s=150, epsilon=8.0, colluders=1)
    training_table = config.model_dump(mode="json", exclude_none=True)
    design = Design(TASK, SPEC, tables(FIRMS), training_table, limits, NOISE_SEED, WITNESS_S, RUNNER)
    home = tmp_path / "storm"
    home.mkdir()
    with TinyConsortium(home, design, DEADLINE_S) as consortium, Storm(consortium) as storm:
        consortium.found()
        storm.lead()
        everyone = (COORDINATOR, *consortium.firms)
        for firm in consortium.firms:
            consortium.up(firm)
        consortium.wait_for(lambda: all(map(consortium.is_ready, everyone)), "all to be ready")
        order = consortium.order()
        consortium.wait_for(lambda: bool(consortium.mark()), "the run to begin")
        faults = plan_of_faults(SEED, consortium.firms, FAULTS, ROUNDS)
        storm.blow(faults, lambda: consortium.outcome(order) is not None)
        consortium.wait_for(lambda: consortium.outcome(order) is not None, "the order to end", DEADLINE_S)
        assert consortium.outcome(order) == "completed: "
        # What witnesses that were away have missed, they check and cosign.
        consortium.wait_for(lambda: all(map(consortium.is_ready, everyone)), "all to be ready again")
        audit = consortium.run("ledger", "audit", "--home", consortium.coordinator, ok=(0, 1))
        assert (audit["ok"], audit["problems"]) == (True, [])
        for firm in consortium.firms:
            checked = consortium.run("firm", "wallet-check", "--home", consortium.member(firm))
            assert checked["final_entries_compared"] > 0
    assert any(one["done"] for one in storm.told)
    stormy = consortium.run("audit", "all", "--home", consortium.coordinator, ok=(0, 1))
    assert stormy["ok"], stormy["problem"]
    statements = entries(consortium.coordinator)
    _each_contributes_once(statements)
    for firm in consortium.firms:
        _has_paid_for_what_it_did(firm, consortium.member(firm), statements)

    undisturbed = federation(tmp_path / "calm", FIRMS, config, seed=NOISE_SEED, limits=limits)
    run(undisturbed, TASK, "in-process", lambda _: None)
    calm = consortium.run("audit", "all", "--home", undisturbed.coordinator)
    _trains_the_same(stormy["rounds"], calm["rounds"])


def entries(home: Path) -> list[Statement]:
    store = Store(str(home / "ledger.db"), read_only=True)
    try:
        return [decode_statement(raw) for raw in store.entries(0, store.size())]
    finally:
        store.close()


def of_type(statements: list[Statement], kind: str) -> list[Statement]:
    return [one for one in statements if one.payload["t"] == kind]


def _each_contributes_once(statements: list[Statement]) -> None:
    given = Counter((one.payload["round"], one.issuer) for one in of_type(statements, "contribution"))
    assert set(given.values()) == {1}
    ends = Counter(one.payload["round"] for kind in ("aggregate", "abort") for one in of_type(statements, kind))
    assert set(ends.values()) == {1}
    opened = {one.payload["id"] for one in of_type(statements, "round")}
    assert opened == set(ends)
    began = {one.payload["id"]: one.payload["ts"] for one in of_type(statements, "round")}
    took_s = sorted(one.payload["ts"] - began[one.payload["round"]] for one in of_type(statements, "aggregate"))
    say(rounds_opened=len(opened), round_s={"median": median(took_s), "longest": took_s[-1]})
    say(aborted=[one.payload["reason"] for one in of_type(statements, "abort")])


def _has_paid_for_what_it_did(firm: str, home: Path, statements: list[Statement]) -> None:
    """Each contribution is paid for once; what was paid besides is for rounds that were opened with the firm."""
    opened = {
        purpose_of(TASK, one.payload["id"]) for one in of_type(statements, "round") if firm in one.payload["cohort"]
    }
    given = {
        purpose_of(TASK, one.payload["round"]): tuple(one.payload["rdp"])
        for one in of_type(statements, "contribution")
        if one.issuer == firm
    }
    with Wallet(wallet_path(home, load_firm_config(home / FIRM_CONFIG))) as wallet:
        paid = wallet.purchases()
        purposes = Counter(one.purpose for one in paid)
        assert set(purposes.values()) == {1}, "a round was paid for twice"
        assert set(given) <= set(purposes)
        assert set(purposes) <= opened
        costs = {one.purpose: tuple(one.nano_rdp) for one in paid}
        assert {purpose: costs[purpose] for purpose in given} == given
        account = paid[0].unit, paid[0].dataset
        total = tuple(map(sum, zip(*costs.values(), strict=True)))
        assert tuple(wallet.spent(*account)) == total
    say(firm=firm, contributed=len(given), paid=len(paid), paid_without_contribution=len(paid) - len(given))


def _trains_the_same(stormy: list[Mapping[str, Any]], calm: list[Mapping[str, Any]]) -> None:
    """All rounds are there once; models are bit-equal up to the first round that a firm missed."""
    assert [one["number"] for one in stormy] == [one["number"] for one in calm] == list(range(1, ROUNDS + 1))
    assert all(one["ok"] for one in (*stormy, *calm))
    missed = [one["number"] for one in stormy if len(one["firms"]) < FIRMS]
    equal_until = missed[0] - 1 if missed else ROUNDS
    same = [one["model"] == other["model"] for one, other in zip(stormy, calm, strict=True)]
    say(rounds=ROUNDS, rounds_that_a_firm_missed=missed, bit_equal_up_to=equal_until, equal=sum(same))
    assert same[:equal_until] == [True] * equal_until
