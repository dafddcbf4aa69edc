"""Privacy statements: both languages say every fact, for all modes, units and ways of adding up."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import product

import pytest
from consortium_world import a_plan
from hypothesis import given
from hypothesis import strategies as st

from clients.composition import tightest_epsilon
from clients.cost import Cost, Total
from clients.mechanism import MICRO, Mechanism
from clients.privacy_facts import Facts, IssuerFacts, RoundFacts, RunFacts, SpentFacts, UnitFacts, most_right
from clients.privacy_statement import LANGUAGES, Language, paragraphs, statement
from clients.privacy_words import percent, up

UNITS = {
    "row": UnitFacts("row"),
    "entity": UnitFacts("entity", "buyer_id", 7),
    "block": UnitFacts("block", "store_no", 1, 56),
    "series": UnitFacts("series", "store_no"),
}
WALLET = SpentFacts("wallet", 2.4141, 1e-5, 0.8181, 6.5432, 8.25, 3.5)
LEDGER = SpentFacts("ledger", 4.1414, 1e-5, 0.9191, 9.8765)
ISSUER = IssuerFacts("firm-31", "consortium-37", "2031-10-19", RoundFacts("abcdef" * 5 + "ab", 39, 211, "fedcba" * 10))
PERCENT = {"en": " %", "zh": "%"}


def a_run(mode: str, aggregation: str = "masked", **changes: object) -> RunFacts:
    run = RunFacts(
        mode=mode,
        aggregation=aggregation,
        firms=23,
        threshold=17,
        groups=1,
        colluders=5,
        key_holder="firm-29" if aggregation == "encrypted" else "",
        rounds=41,
        steps=43,
        noise_multiplier=23.59,
        sampling_rate=1.0,
        epsilon=1.2345 if mode != "none" else 0.0,
        delta=1e-5,
        epsilon_of_two=2.7182 if mode != "none" else None,
        guess=0.7747,
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def text(facts: Facts, language: Language) -> str:
    return " ".join(word for paragraph in paragraphs(facts, language) for word in paragraph)


CASES = list(product(UNITS, ["none", "local", "distributed"], ["masked", "encrypted", "plain"], [WALLET, LEDGER]))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("unit", "mode", "aggregation", "spent"), CASES)
def test_every_fact_is_said(unit: str, mode: str, aggregation: str, spent: SpentFacts, language: Language) -> None:
    run = a_run(mode, aggregation)
    said = text(Facts("credit-risk", UNITS[unit], run, spent), language)
    facts = ["credit-risk", "23", "41", f"{mode}", up(spent.epsilon), "1e-05", *_of_unit(UNITS[unit])]
    facts += [f"{percent(spent.guess)}{PERCENT[language]}", up(spent.epsilon_of_two or 0)]
    if mode != "none":
        facts += ["1.24", "43", "23.59", f"77.5{PERCENT[language]}", f"50{PERCENT[language]}", "2.72"]
        facts += [{"en": "from even odds", "zh": "先验概率各半时"}[language]]
    if mode == "distributed":
        facts += ["17", " 5 ", aggregation, *{"en": ["encryption", "AES"], "zh": ["加密", "AES"]}[language]]
        facts += ["firm-29"] if aggregation == "encrypted" else []
    if spent.by == "wallet":
        facts += ["8.25", "3.5", "365"]
    assert [one for one in facts if one not in said] == []


def _of_unit(unit: UnitFacts) -> list[str]:
    return [one for one in (unit.column, *(str(n) for n in (unit.most_rows, unit.days) if n > 1)) if one]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_does_not_hold_is_not_said(language: Language) -> None:
    nothing = text(Facts("t", UNITS["row"], a_run("none"), None), language)
    assert "%" not in nothing
    assert "AES" not in nothing
    assert "1.24" not in nothing
    local = text(Facts("t", UNITS["row"], a_run("local"), WALLET), language)
    assert "17" not in local  # no threshold protects anybody: each firm's noise does
    assert " 5 " not in local
    assert "AES" not in local
    sampled = a_run("local", sampling_rate=0.043, epsilon_of_two=None)
    said = text(Facts("t", UNITS["row"], sampled, WALLET), language)
    assert f"4.3{PERCENT[language]}" in said
    assert "2.72" not in said
    grouped = text(Facts("t", UNITS["row"], a_run("distributed", groups=9), WALLET), language)
    assert " 9 " in grouped


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_firm_opened_to_auditors_is_said(language: Language) -> None:
    """A sum of 17 firms is all that is opened, but for what was opened in disputes."""
    none = text(Facts("t", UNITS["row"], a_run("distributed"), WALLET), language)
    assert {"en": "has opened none", "zh": "未公开过"}[language] in none
    opened = replace(WALLET, openings=47, openings_epsilon=7.777)
    said = dict(paragraphs(Facts("t", UNITS["row"], a_run("distributed"), opened), language))
    against, spent = ("Against whom", "What was spent") if language == "en" else ("防范谁", "隐私预算的消耗")
    assert " 47 " in said[against]
    assert " 47 " in said[spent]
    assert "7.78" in said[spent]
    assert " 47 " in text(Facts("t", UNITS["row"], a_run("local"), opened), language)
    released = text(Facts("t", UNITS["row"], a_run("distributed"), LEDGER), language)
    assert {"en": "which their wallets pay for", "zh": "计入该企业的隐私钱包"}[language] in released


@pytest.mark.parametrize("language", LANGUAGES)
def test_whose_statement_it_is_stands_first(language: Language) -> None:
    facts = Facts("t", UNITS["row"], a_run("local"), WALLET, ISSUER)
    first = paragraphs(facts, language)[0][1]
    named = ["firm-31", "consortium-37", "2031-10-19", "abcdefabcdef", " 39 ", "41", " 211", "fedcbafedcba"]
    assert [one for one in named if one not in first] == []
    assert "211" not in paragraphs(replace(facts, issuer=replace(ISSUER, round=None)), language)[0][1]
    assert len(paragraphs(replace(facts, issuer=None), language)) == len(paragraphs(facts, language)) - 1


@pytest.mark.parametrize(("language", "refuses"), [("en", "refuses everything more"), ("zh", "已超出上限")])
def test_a_wallet_past_its_cap_says_so(language: Language, refuses: str) -> None:
    facts = Facts("t", UNITS["row"], a_run("local"), WALLET)
    assert refuses not in text(facts, language)
    assert refuses in text(replace(facts, spent=replace(WALLET, epsilon=8.3)), language)


def test_no_colluder_and_one_are_said_as_such() -> None:
    none, one = (Facts("t", UNITS["row"], a_run("distributed", colluders=n), WALLET) for n in (0, 1))
    assert "without any of the firms" in text(none, "en")
    assert "No firm in an opened sum passes on" in text(none, "en")
    assert " 0 " not in text(none, "en") + text(none, "zh")
    assert "未与任何企业合谋" in text(none, "zh")
    assert "together with at most 1 firm." in text(one, "en")
    assert "At most 1 firm in an opened sum passes on" in text(one, "en")
    assert "至多 1 家企业与他方串通（共享其所知）或未添加噪声" in text(one, "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_before_the_first_round_it_says_that_nothing_is_known(language: Language) -> None:
    said = text(Facts("t", UNITS["block"], None, WALLET), language)
    assert "56" in said
    assert "8.25" in said
    assert "1e-05" in said
    assert {"en": "has seen no round", "zh": "尚未见到"}[language] in said


def test_chinese_uses_the_fields_words() -> None:
    said = text(Facts("t", UNITS["row"], a_run("distributed"), WALLET), "zh")
    assert [word for word in ("差分隐私", "隐私预算", "隐私单元", "安全聚合") if word not in said] == []


@pytest.mark.parametrize(("unit", "mode"), product(UNITS, ["none", "local", "distributed"]))
def test_both_languages_have_the_same_paragraphs_and_the_same_numbers(unit: str, mode: str) -> None:
    spent = replace(WALLET, openings=47, openings_epsilon=7.777)
    facts = Facts("credit", UNITS[unit], a_run(mode), spent, ISSUER)
    english, chinese = (paragraphs(facts, one) for one in LANGUAGES)
    assert len(english) == len(chinese)
    for (_, one), (_, other) in zip(english, chinese, strict=True):
        assert _numbers(one) == _numbers(other)


def _numbers(said: str) -> list[str]:
    return sorted(re.findall(r"[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?", said))


def test_json_holds_the_facts_and_both_texts() -> None:
    facts = Facts("credit", UNITS["row"], a_run("distributed"), WALLET)
    document = json.loads(json.dumps(statement(facts)))
    assert document["version"] == 1
    assert document["facts"] == facts.to_json()
    assert set(document["text"]) == {"en", "zh"}
    assert document["text"]["en"][0] == {"heading": "What is protected", "text": paragraphs(facts, "en")[0][1]}


@given(st.floats(1e-6, 1e4))
def test_a_bound_is_never_told_smaller_than_it_is(value: float) -> None:
    assert value * (1 - 2e-5) <= float(up(value)) <= value * 1.0101
    assert float(percent(min(1.0, value))) >= min(1.0, value) * 100 - 1e-6


def test_bounds_as_they_are_told() -> None:
    assert [up(one) for one in (0.0, 0.99999996, 1.2345, 12.01, 0.00123456)] == ["0", "1", "1.24", "12.1", "0.00124"]
    assert percent(0.77471) == "77.5"
    assert percent(1.0) == "100.0"


def test_a_runs_facts_follow_from_its_plan() -> None:
    plan = a_plan(rounds=40, noise_micro=23_600_000, threshold=5, colluders=1)
    run = RunFacts.of(plan, 6, plan.run_mechanisms())
    assert (run.mode, run.firms, run.threshold, run.colluders, run.rounds, run.steps) == (
        "distributed",
        6,
        5,
        1,
        40,
        40,
    )
    assert run.epsilon == tightest_epsilon([Mechanism(23_600_000, MICRO, 40)], plan.delta)
    assert run.epsilon_of_two == tightest_epsilon([Mechanism(11_800_000, MICRO, 40)], plan.delta)
    assert 2.1 < (run.epsilon_of_two or 0) < 2.2
    assert run.guess == most_right(plan.run_mechanisms()) == pytest.approx(0.5533, abs=1e-4)  # Phi(mu / 2)
    none = a_plan(privacy="none", noise_micro=0)
    assert (RunFacts.of(none, 6, ()).epsilon, RunFacts.of(none, 6, ()).guess) == (0.0, 1.0)


def test_what_was_spent_is_told_of_all_of_it() -> None:
    """Of two kinds of releases together, not of the latest run; where it is not known what was released, by epsilon."""
    kinds = [Mechanism(23_600_000, MICRO, 40), Mechanism(9_000_000, MICRO, 3)]
    spent = SpentFacts.of("wallet", Total.of(map(Cost.of, kinds)), 1e-5, 8.0)
    assert spent.epsilon == tightest_epsilon(kinds, 1e-5)
    assert spent.guess == most_right(kinds) > max(most_right([one]) for one in kinds)
    doubled = [Mechanism(one.noise_micro // 2, MICRO, one.steps) for one in kinds]
    assert spent.epsilon_of_two == tightest_epsilon(doubled, 1e-5)
    unnamed = SpentFacts.of("wallet", Total.of(Cost(Cost.of(one).nano_rdp) for one in kinds), 1e-5)
    assert unnamed.epsilon_of_two is None
    assert unnamed.guess == pytest.approx((math.exp(unnamed.epsilon) + 1e-5) / (1 + math.exp(unnamed.epsilon)))
    assert unnamed.guess > spent.guess
    nothing = SpentFacts.of("wallet", Total(), 1e-5)
    assert (nothing.epsilon, nothing.guess) == (0.0, 0.5)
