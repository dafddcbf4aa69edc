"""The report: every number of the summary, nothing from elsewhere, nothing that a hostile name can do."""

from __future__ import annotations

import copy
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from report_example import CREDIT_FIGURES, SUMMARY, Page, without_json

from experiments import plots
from experiments.report import ReportUnwritable, render, write_report
from experiments.report_tasks import MOST_FIRMS
from experiments.report_words import CREDIT, delta_words, epsilon_words, promise, standing

HOSTILE = """<script>alert(1)</script>'"&]]>--><svg onload=x> $\\frac{x}$ #010203 {{ 7*7 }} http://evil.example/a.png"""


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the drawing itself out, which takes most of the time."""
    monkeypatch.setattr(plots, "_draw", lambda words, *_, **__: Markup(f'<svg id="{words.name}"></svg>'))


@pytest.fixture(scope="module")
def page_text() -> str:
    return render(SUMMARY)


@pytest.fixture(scope="module")
def page(page_text: str) -> Page:
    return Page(page_text)


def test_it_is_one_well_formed_page_that_loads_nothing(page_text: str, page: Page) -> None:
    assert page_text.startswith("<!doctype html>")
    assert page.tags["h1"] == page.tags["title"] - page.tags["svg"] == 1
    assert page.tags["style"] == 1
    page.assert_self_contained()
    page.assert_identified()
    style = page_text[page_text.index("<style>") : page_text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in page_text.replace("http-equiv", "")


@pytest.mark.parametrize(
    "number",
    [
        *("0.8281", "0.1508", "0.0418", "0.7632", "0.6904", "0.7860", "0.8375", "0.8418", "0.1470", "0.6561"),
        *("0.7773", "0.8351", "3.00", "0.00001", "1,337", "21", "+0.1377", "−0.0070"),
        *("0.0806", "0.1923", "0.0884", "0.0857", "0.8804", "0.0902", "0.0844", "0.0898", "7,168", "14", "60"),
        *("8,311", "168", "641", "7.12 %", "−41", "4.2 ms", "9.14 s", "0.42 s", "16.25 s", "5,301", "10,296", "83"),
        *("0.5012", "0.7034", "0.1123", "0.4789", "601", "736", "26208e4c72154a04", "2.13.0", "7"),
    ],
)
def test_it_shows_every_number_as_people_read_it(number: str, page_text: str) -> None:
    text = Page(without_json(page_text)).text
    assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d]|[.,]\d)", text), number


def test_it_holds_the_whole_summary_to_the_last_digit(page: Page) -> None:
    (at,) = [i for i, words in enumerate(page.words) if '"auc_federated"' in words]
    assert json.loads(page.words[at]) == SUMMARY


def test_every_plot_has_a_name_a_description_and_a_caption(page: Page) -> None:
    drawn = page.tags["svg"]
    assert drawn == 8  # both comparisons, curve, calibration, roc, records of both, seconds
    assert page.tags["title"] == drawn + 1
    assert page.tags["desc"] == page.tags["figcaption"] == drawn
    assert [value for tag, name, value in page.attributes if (tag, name) == ("svg", "role")] == ["img"] * drawn


def test_it_says_what_the_privacy_statement_promises_and_what_not(page: Page) -> None:
    assert "at most 2 of the 3 firms drop out or pool what they know" in page.text
    assert "more than 20.1 times as likely" in page.text
    assert "No privacy noise was added" in page.text  # demand
    assert "cannot prove that a firm added it" in page.text
    assert "set aside before training" in page.text
    assert "drawn from its seed" not in page.text
    assert "drawn from its seed" in render({**SUMMARY, "config": {"seed": 7}})


@pytest.mark.usefixtures("undrawn")
def test_it_shows_the_statement_of_the_manifest_in_both_languages() -> None:
    said = {"en": [{"heading": "How much", "text": "epsilon 3 < 4"}], "zh": [{"heading": "保护程度", "text": "ε 为 3"}]}
    part = {**SUMMARY["credit"], "privacy_statement": {"version": 1, "facts": {}, "text": said}}
    text = Page(render({**SUMMARY, "credit": part})).text
    assert all(one in text for one in ("How much", "epsilon 3 < 4", "保护程度", "ε 为 3", "中文"))
    assert "中文" not in Page(render(SUMMARY)).text


@pytest.mark.usefixtures("undrawn")
def test_a_failed_check_is_not_told_as_passed() -> None:
    bad = copy.deepcopy(SUMMARY)
    bad["audit"]["recomputed"] = False
    bad["ledger"]["final"] = False
    bad["scores"][0]["receipt_ok"] = False
    text = Page(render(bad)).text
    assert "✗ failed" in text
    assert "✗ not final" in text
    assert "✓ passed" not in text
    assert text.count("✗ no") == 2 + 2  # in "✗ not final" too, and the ledger's own row


@pytest.mark.parametrize(
    "place",
    [
        "name",
        "unit",
        "mode",
        "reason",
        "code",
        "firm",
        "version",
        "key",
        "refusal",
        "audit",
        "model",
        "ledger",
        "stage",
    ],
)
def test_hostile_text_is_only_text(place: str) -> None:
    summary = copy.deepcopy(SUMMARY)
    match place:
        case "name":
            summary["name"] = HOSTILE
        case "unit" | "mode":
            summary["credit"][place] = HOSTILE
        case "reason":
            summary["scores"][0]["reasons"][0]["text"] = HOSTILE
        case "code":
            summary["scores"][0]["reasons"][0]["code"] = HOSTILE
        case "firm":
            summary["firm_records"]["demand"] = {HOSTILE: 12, "b": 9, "c": 11}
        case "version":
            summary["versions"]["torch"] = HOSTILE
        case "key":
            summary["config"] = {HOSTILE: 1}
        case "refusal":
            summary["refusals"][0][2] = HOSTILE
        case "audit":
            summary["audit"][HOSTILE] = HOSTILE
        case "model":
            summary["models"] = {HOSTILE: HOSTILE}
        case "ledger":
            summary["ledger"]["final_root"] = HOSTILE
        case "stage":
            summary["seconds"][HOSTILE] = 1.5
    page = Page(render(summary))
    page.assert_self_contained()
    page.assert_identified()
    assert "<script>alert(1)</script>" in page.text


def test_names_in_plots_are_neither_formulas_nor_colours() -> None:
    names = [r"$\frac$", "#010203", 'id="x', "a_1^$$"]
    text = render({"credit": {"auc_federated": 0.7}, "firm_records": dict.fromkeys(names, 9)})
    shown_twice = [name for name in names if Page(without_json(text)).words.count(name) == 2]  # plot and table
    assert shown_twice == names


def test_the_same_summary_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    write_report(SUMMARY, first)
    write_report(dict(reversed(copy.deepcopy(SUMMARY).items())), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.html", "b.html"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("part", sorted(SUMMARY))
def test_a_missing_part_is_left_out(part: str) -> None:
    page = Page(render({key: value for key, value in SUMMARY.items() if key != part}))
    page.assert_identified()
    assert "None" not in page.text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind in ("credit", "demand") for key in sorted(SUMMARY[kind])]
)
def test_a_missing_figure_is_left_out(kind: str, key: str) -> None:
    part = {name: value for name, value in SUMMARY[kind].items() if name != key}
    text = render({"name": "one", kind: part, "firm_records": [5, 7, 9]})
    page = Page(text)
    page.assert_identified()
    assert not {"None", "nan"} & set(re.findall(r"\w+", Page(without_json(text)).text))


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"credit": {}, "demand": {}, "ledger": None, "scores": [], "audit": {}, "seconds": {}},
        {"credit": {"auc_federated": math.nan, "auc_local": [math.nan], "curve": [], "epsilon": math.inf}},
        {"credit": {"auc_federated": 0.7, "auc_local": [0.6, math.nan, 0.8], "curve": [None, 0.6, math.nan]}},
        {"credit": {"auc_federated": 0.7, "auc_local": [0.7, 0.7]}, "firm_records": [3, 3]},
        {"demand": {"wape_federated": 0.0, "wape_local": [0.0]}, "firm_records": [1]},
    ],
)
def test_little_or_nothing_makes_a_page_too(summary: dict[str, Any]) -> None:
    page = Page(render(summary))
    page.assert_identified()
    assert page.tags["h1"] == 1


def test_thousands_of_firms_are_told_by_quantiles_and_drawn_by_a_sample() -> None:
    many = 3000
    alone = [0.5 + 0.4 * i / many for i in range(many)]
    summary = {"credit": {**CREDIT_FIGURES, "auc_local": alone}, "firm_records": list(range(1, many + 1))}
    text = render(summary)
    page = Page(text)
    page.assert_identified()
    assert "1,000 of 3,000 are drawn" in page.text
    assert "upper quarter" in page.text
    assert len(without_json(text)) < 300_000
    few = {
        "credit": {**CREDIT_FIGURES, "auc_local": alone[:MOST_FIRMS]},
        "firm_records": list(range(1, MOST_FIRMS + 1)),
    }
    assert f"firm-{MOST_FIRMS}" in Page(render(few)).text


def test_a_report_is_whole_or_not_written(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("the older one")
    with pytest.raises(TypeError):
        write_report({"credit": {"auc_federated": 0.7, "rounds": Unshowable()}}, path)
    assert path.read_text() == "the older one"
    assert os.listdir(tmp_path) == ["report.html"]


class Unshowable:
    def __str__(self) -> str:
        raise TypeError("cannot be shown")


def test_a_place_that_cannot_be_written_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReportUnwritable, match=r"cannot be written: No such file or directory") as caught:
        write_report(SUMMARY, tmp_path / "missing" / "report.html")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ReportUnwritable):
        write_report(SUMMARY, tmp_path / "report.html")
    assert os.listdir(tmp_path) == ["report.html"]


@given(st.floats(0.01, 40), st.floats(1e-9, 1e-2))
@settings(max_examples=60, deadline=None)
def test_privacy_is_never_told_better_than_it_is(epsilon: float, delta: float) -> None:
    assert float(epsilon_words(epsilon)) >= epsilon - 1e-6
    assert float(delta_words(delta)) == delta
    said = " ".join(promise({"epsilon": epsilon, "delta": delta, "unit": "one row", "mode": "local"}))
    found = re.search(r"right at most ([\d.]+) %", said)
    assert found is not None
    # The attacker's best guess from an even start: half of one more than the largest total variation.
    variation = (math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1)
    assert float(found[1]) >= 100 * min(1.0, (1 + variation) / 2) - 1e-6


def test_a_worse_federation_is_said_to_be_worse() -> None:
    said = " ".join(standing(CREDIT, {"auc_federated": 0.6, "auc_local_mean": 0.7, "auc_local": [0.5, 0.7, 0.9]}))
    assert "the federated model is 0.100 worse" in said
    assert "better than what 1 of the 3 firms have alone" in said
