"""What is said of a wallet: runs by task, what more would cost, how far the cap reaches, and at what pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from consortium_world import a_plan
from wallet_world import DATA, DELTA, ONE, RELEASE, UNIT

from clients.composition import tightest_epsilon
from clients.cost import Cost, Total
from clients.mechanism import MICRO, Mechanism
from clients.plan import Plan
from clients.privacy import epsilon
from clients.wallet import Wallet
from clients.wallet_report import account_report, further_rounds, lines_of, runs_of
from clients.wallet_row import Cap, Occasion

DAY_MS = 24 * 3600 * 1000
START_MS = 1_700_000_000_000
CAP = Cap(8.0, DELTA)


class History:
    """A wallet with a clock that goes on by a day a spend."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.wallet = Wallet(None, clock=lambda: self.now_ms / 1000)
        self.wallet.set_cap(UNIT, DATA, epsilon=CAP.epsilon, delta=CAP.delta)

    def pay(self, purpose: str, cost: Cost = ONE, cid: str = "bread", **occasion: Any) -> None:
        self.now_ms += DAY_MS
        self.wallet.settle(self.wallet.reserve(UNIT, DATA, purpose, cost, Occasion(cid, **occasion)))

    def report(
        self, plan_of: Callable[[str], Plan | None] = lambda _: None, year: float | None = None
    ) -> dict[str, Any]:
        account = self.wallet.account(UNIT, DATA)
        return account_report(account, self.wallet.purchases(), CAP, self.now_ms, plan_of, year)


@pytest.fixture
def history() -> History:
    """A whole run of three rounds, a second one with a round tried twice, an opening, and another consortium's."""
    made = History()
    for number in (1, 2, 3):
        made.pay(f"credit/a{number}", number=number, rounds=3)
    for number, name in ((1, "b1"), (2, "b2"), (2, "b2-again")):
        made.pay(f"credit/{name}", number=number, rounds=5)
    made.pay("opening/credit/a1", Cost.of(Mechanism(10 * MICRO)))
    made.pay("credit/s1", number=1, rounds=5, cid="steel")
    made.pay("credit/b3", number=3, rounds=5)
    return made


def test_what_was_spent_is_told_by_run(history: History) -> None:
    runs = [(run.what, run.consortium, run.task, len(run.spent)) for run in runs_of(history.wallet.purchases())]
    assert runs == [
        ("rounds", "bread", "credit", 3),
        ("rounds", "bread", "credit", 4),
        ("openings", "bread", "credit", 1),
        ("rounds", "steel", "credit", 1),
    ]
    facts = history.report()
    first = facts["spent_on"][0]
    assert (first["paid"], first["last_round"], first["rounds"], first["named"]) == (3, 3, 3, True)
    assert first["mechanisms"] == [{"noise_multiplier": 20.0, "sampling_rate": 1.0, "steps": 3}]
    assert first["epsilon"] == tightest_epsilon([RELEASE.times(3)], DELTA)
    assert (first["from"], first["to"]) == ("2023-11-15", "2023-11-17")
    assert facts["accounting"] == "exact"
    assert facts["spent_epsilon"] == tightest_epsilon([RELEASE.times(8), Mechanism(10 * MICRO)], DELTA)


def test_a_measurement_in_between_is_told_apart_and_ends_no_run(history: History) -> None:
    history.pay("credit/m1", number=1, rounds=1, measures="evaluation")
    history.pay("credit/b4", number=4, rounds=5)
    runs = [(run.what, len(run.spent)) for run in runs_of(history.wallet.purchases())]
    assert runs == [("rounds", 3), ("rounds", 5), ("openings", 1), ("rounds", 1), ("measurements of evaluation", 1)]
    assert history.report()["next"]["rest_of_run"]["rounds"] == 1
    history.pay("credit/m2", number=1, rounds=1, measures="evaluation")
    said = list(lines_of(history.report()))
    assert said[0].endswith("in 12 rounds, measurements and openings")
    assert said[5].startswith("  credit in bread, 2023-11-24 to 2023-11-26: 2 measurements of evaluation, epsilon ")


def test_one_more_round_and_the_rest_of_the_run(history: History) -> None:
    coming = history.report()["next"]
    spent = [RELEASE.times(8), Mechanism(10 * MICRO)]
    assert coming["one_more_round"]["epsilon_after"] == tightest_epsilon([*spent, RELEASE], DELTA)
    assert coming["rest_of_run"] == {
        "rounds": 2,
        "epsilon_after": tightest_epsilon([*spent, RELEASE.times(2)], DELTA),
        "within_cap": True,
    }
    further = coming["further_rounds"]
    assert tightest_epsilon([*spent, RELEASE.times(further)], DELTA) <= 8.0
    assert tightest_epsilon([*spent, RELEASE.times(further + 1)], DELTA) > 8.0
    assert coming["cap_reached"] is None  # nine days say nothing about the pace


def test_rounds_that_cost_differently_are_taken_from_the_plan(history: History) -> None:
    plan = a_plan(number=3, rounds=5, noise_micro=20 * MICRO)
    asked: list[str] = []

    class Dearer(Plan):
        def round_mechanism(self) -> Mechanism:
            return Mechanism(20 * MICRO // self.number)

    def plan_of(round_id: str) -> Plan:
        asked.append(round_id)
        return Dearer(**plan.__dict__)

    coming = history.report(plan_of)["next"]
    spent = [RELEASE.times(8), Mechanism(10 * MICRO)]
    rest = [Mechanism(5 * MICRO), Mechanism(4 * MICRO)]
    assert asked == ["b3"]
    assert coming["one_more_round"]["epsilon_after"] == tightest_epsilon([*spent, rest[0]], DELTA)
    assert coming["rest_of_run"]["epsilon_after"] == tightest_epsilon([*spent, *rest], DELTA)


def test_the_pace_of_a_year_says_when_the_cap_is_reached(history: History) -> None:
    history.now_ms += 40 * DAY_MS
    facts = history.report(year=1.5)
    coming = facts["next"]
    rounds, days = 8, 48  # rounds paid for, from the first until now
    ahead = coming["further_rounds"] * days * DAY_MS // rounds
    assert coming["cap_reached"] is not None
    assert ahead > 365 * DAY_MS
    said = "\n".join(lines_of(facts))
    assert f"at the pace of the last year until {coming['cap_reached']}" in said
    assert "In the last 365 days epsilon" in said
    history.now_ms += 400 * DAY_MS
    assert history.report()["last_365_days"]["epsilon"] == 0.0
    assert history.report()["next"]["cap_reached"] is None


def test_in_words(history: History) -> None:
    lines = list(lines_of(history.report()))
    assert lines[0].startswith("credit, row: epsilon ")
    assert lines[1].startswith("  credit in bread, 2023-11-15 to 2023-11-17: 3 of 3 rounds, epsilon ")
    assert lines[1].endswith("(3 x noise 20)")
    assert lines[3].startswith("  credit in bread, 2023-11-21: 1 openings, epsilon ")
    assert "all 2 that are left of the run" in lines[-2]
    assert "more rounds like it." in lines[-1]


def test_a_wallet_of_before_is_told_as_far_as_it_is_known() -> None:
    history = History()
    history.pay("credit/a1", Cost(ONE.nano_rdp), cid="")
    facts = history.report()
    (run,) = facts["spent_on"]
    assert (facts["accounting"], run["named"], run["mechanisms"], run["rounds"]) == ("renyi", False, [], None)
    assert facts["next"]["rest_of_run"] is None
    assert "credit, 2023-11-15: 1 rounds, epsilon" in "\n".join(lines_of(facts))


def test_an_account_that_has_paid_nothing_has_no_next_round() -> None:
    facts = History().report()
    assert (facts["spent_epsilon"], facts["spent_on"], facts["next"]) == (0.0, [], None)
    assert len(list(lines_of(facts))) == 1


def test_one_more_round_is_told_apart_from_none_where_only_loss_distributions_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cost = Cost(Mechanism(3 * MICRO).rdp(), (Mechanism(3 * MICRO, 10_000),))
    alone = epsilon(cost.nano_rdp, DELTA)
    monkeypatch.setattr("clients.cost.tightest_epsilon", lambda *_: alone * 0.9)
    assert further_rounds(Total(), cost, Cap(alone * 0.95, DELTA)) == 1
    assert further_rounds(Total(), cost, Cap(alone * 0.85, DELTA)) == 0


@pytest.mark.parametrize("release", [Mechanism(3 * MICRO), Mechanism(3 * MICRO, 10_000)])
def test_further_rounds_are_as_many_as_can_be_shown(release: Mechanism) -> None:
    total, cost = Total(), Cost(Mechanism(3 * MICRO).rdp(), (release,))  # what it costs is not what is tested
    found = further_rounds(total, cost, CAP)
    assert found is not None
    many = [tuple(rounds * nano for nano in cost.nano_rdp) for rounds in (found, found + 1)]
    if release.sampling_micro < MICRO:
        assert epsilon(many[0], DELTA) <= 8.0 < epsilon(many[1], DELTA)
    else:
        assert tightest_epsilon([release.times(found)], DELTA) <= 8.0
        assert tightest_epsilon([release.times(found + 1)], DELTA) > 8.0
    assert further_rounds(total, Cost.of(Mechanism(MICRO // 10)), CAP) == 0
    assert further_rounds(total, Cost.of(Mechanism(10**5 * MICRO)), CAP) is None
