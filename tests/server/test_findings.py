"""Each thing that can be wrong has its sentence, the worst stands first, and the exit code says whether to come."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from clients.supervision.marked import started_at
from clients.supervision.status import Exit, ProgramStatus, SetStatus
from clients.versions import SOFTWARE
from server.findings import Finding, exit_code, findings
from server.progress import Said, TaskProgress, Waiting
from server.round_journal import Step
from server.run_order import RunOrder, TaskWish
from server.status_facts import Facts, LedgerFacts, MemberFacts, NotKnown, TaskFacts
from server.status_view import document, lines
from server.words import clock_time

NOW_S = 1_790_000_000.0
AT_NOON = clock_time(NOW_S - 600, NOW_S)
READY = tuple(ProgramStatus(name, "ready") for name in ("ledger", "superlink", "executor", "runner"))
UP = SetStatus("ready", os.getpid(), started_at(os.getpid()) or 0, "secret-token", NOW_S - 900, READY)
LEDGER = LedgerFacts(42, 42, 0.0, 2, {}, 3)
FIRMS = tuple(MemberFacts(f"firm-{k}", "firm", True, NOW_S - 5) for k in (1, 2, 3))
ORDER = RunOrder(
    number=7,
    task="credit",
    origin="schedule",
    rounds=None,
    measure="",
    ordered_s=NOW_S - 900,
    due_s=NOW_S - 900,
    phase="running",
    ticket="ticket",
    carried_by="",
    run_id="1",
    attempts=1,
    failures=0,
    not_before_s=0.0,
    waits_since_s=None,
    waits_for="",
    begun_s=NOW_S - 800,
    until=None,
    done=2,
    total=10,
    step="round 3 of 10",
    step_s=NOW_S - 10,
    said="",
    said_why="",
    outcome="",
    reason="",
    ended_s=None,
)
RUN = TaskProgress(
    task="credit",
    run="00",
    began_s=int(NOW_S - 800),
    taken_up=0,
    number=3,
    rounds=10,
    round="01",
    step=Step.CONTRIBUTION,
    since_s=int(NOW_S - 10),
    contributed=("firm-1",),
    answered=(),
    waiting=None,
    refusals=(),
    failures=(),
)
TASK = TaskFacts("credit", TaskWish("credit"), ORDER, RUN, "0 2 * * 1 (UTC)", NOW_S + 3600, None)
HEALTHY = Facts(NOW_S, UP, LEDGER, FIRMS, (NOW_S - 1, ""), (TASK,))


def with_task(**changes: Any) -> Facts:
    return replace(HEALTHY, tasks=(replace(TASK, **changes),))


def with_order(**changes: Any) -> Facts:
    return with_task(order=replace(ORDER, **changes))


def with_run(**changes: Any) -> Facts:
    return with_task(progress=replace(RUN, **changes))


def with_program(**changes: Any) -> Facts:
    return replace(HEALTHY, processes=replace(UP, programs=(*READY, ProgramStatus("scores", **changes))))


def said(code: str, detail: str, number: int = 3) -> Said:
    return Said(number, "firm-2", code, detail, int(NOW_S))


def waits(deadline_s: float) -> Waiting:
    return Waiting("train.update", ("firm-2", "firm-3"), int(NOW_S - 600), int(deadline_s))


def test_all_is_well() -> None:
    found = findings(HEALTHY)
    assert found == []
    assert exit_code(HEALTHY, found) == 0
    assert next(lines(HEALTHY, found)).endswith("healthy.")


CONDITIONS = [
    (replace(HEALTHY, processes=None), "down", "The coordinator was never up: start artesian coordinator up."),
    (
        replace(HEALTHY, processes=replace(UP, state="killed", started=1)),
        "down",
        "The coordinator was killed: start artesian coordinator up.",
    ),
    (
        with_program(state="needs-mending", since_s=NOW_S - 600, last_exit=Exit(2, NOW_S, "tls.crt: is missing")),
        "needs-mending",
        f"scores cannot run since {AT_NOON}: tls.crt: is missing.",
    ),
    (
        with_program(state="restarting", last_exit=Exit(-9, NOW_S, "")),
        "restarting",
        "scores has ended and is started again.",
    ),
    (
        with_program(state="waiting", since_s=NOW_S - 600, why="waits for ledger"),
        "not-ready",
        f"scores is not ready since {AT_NOON}: waits for ledger.",
    ),
    (replace(HEALTHY, runner=None), "no-runner", "The runner was never there: no order is carried out."),
    (
        replace(HEALTHY, runner=(NOW_S - 600, "")),
        "no-runner",
        f"The runner is away since {AT_NOON}: no order is carried out.",
    ),
    (
        replace(HEALTHY, runner=(NOW_S, "coordinator.toml: no TOML")),
        "runner-hindered",
        "The runner cannot go on: coordinator.toml: no TOML.",
    ),
    (
        replace(HEALTHY, ledger=NotKnown("the ledger at localhost:8445 does not answer")),
        "ledger-unreachable",
        "The ledger does not say how it is: the ledger at localhost:8445 does not answer.",
    ),
    (
        replace(
            HEALTHY,
            ledger=LedgerFacts(42, 40, 720.0, 2, {"firm-2": (2, NOW_S - 600), "firm-3": (42, None)}, 3),
        ),
        "quorum-lost",
        "The ledger has no quorum for 12 min: 2 of 42 entries are not final; 1 of 3 witnesses are there, it takes 2; "
        f"missing: firm-2 (behind since {AT_NOON}), firm-3.",
    ),
    (
        replace(HEALTHY, ledger=LedgerFacts(42, 42, 0.0, 2, {"firm-3": (9, NOW_S - 600)}, 3)),
        "witness-behind",
        f"firm-3's witness is behind since {AT_NOON}.",
    ),
    (
        replace(HEALTHY, members=NotKnown("SuperLink does not answer")),
        "members-unknown",
        "Who is connected is not known: SuperLink does not answer.",
    ),
    (
        with_task(
            order=replace(ORDER, phase="waiting", waits_for="2 more firms (firm-2 never seen, firm-3 last seen 12:03)"),
            gives_up_s=NOW_S - 600,
        ),
        "cohort-too-small",
        f"credit: waits for 2 more firms (firm-2 never seen, firm-3 last seen 12:03), gives up at {AT_NOON}.",
    ),
    (
        with_order(phase="ended", outcome="failed", reason="given up after 5 failures: x", ended_s=NOW_S - 600),
        "run-failed",
        f"credit: order 7 failed at {AT_NOON}: given up after 5 failures: x.",
    ),
    (
        with_order(phase="waiting", failures=2, not_before_s=NOW_S - 600, reason="2 firms take part, it takes 3"),
        "run-failing",
        f"credit: order 7 has failed 2 times in a row; next try {AT_NOON}: 2 firms take part, it takes 3.",
    ),
    (
        with_run(waiting=waits(NOW_S - 600)),
        "overdue",
        f"credit, round 3 of 10 waits for firm-2, firm-3 (train.update) since {AT_NOON}, until {AT_NOON}. That is "
        "over: see whether its processes run.",
    ),
    (
        with_run(refusals=(said("SchemaMismatch", "SchemaMismatch: column 'income' is missing"),)),
        "schema-mismatch",
        "credit, round 3: firm-2's table does not fit: column 'income' is missing.",
    ),
    (
        with_run(refusals=(said("OverCap", "this round would bring the firm over the cap"),)),
        "refused",
        "credit, round 3: firm-2 refused with OverCap: this round would bring the firm over the cap.",
    ),
    (
        with_run(refusals=(said("NoAnswer", "no answer within 600 s"),)),
        "no-answer",
        "credit, round 3: firm-2 did not answer: no answer within 600 s.",
    ),
    (
        with_run(failures=(Said(3, "", "Aborted", "2 contributions, it takes 3", int(NOW_S)),)),
        "round-failed",
        "credit: round 3 was given up: 2 contributions, it takes 3.",
    ),
    (
        replace(HEALTHY, members=(*FIRMS[1:], replace(FIRMS[0], online=False, refused="it has this key already"))),
        "node-refused",
        "SuperLink does not take the SuperNode of firm-1: it has this key already. "
        "artesian coordinator doctor says how to mend it.",
    ),
    (
        replace(HEALTHY, members=(*FIRMS[1:], replace(FIRMS[0], release="99.0.0"))),
        "other-release",
        f"firm-1 runs artesian 99.0.0, the coordinator artesian {SOFTWARE}; upgrade the coordinator.",
    ),
]


@pytest.mark.parametrize(("facts", "code", "sentence"), CONDITIONS, ids=[code for _, code, _ in CONDITIONS])
def test_what_needs_a_person_is_named_in_one_sentence(facts: Facts, code: str, sentence: str) -> None:
    found = findings(facts)
    (only,) = (one for one in found if one.needs_a_person)
    assert (only.code, only.sentence) == (code, sentence)
    assert exit_code(facts, found) == 1
    shown = list(lines(facts, found))
    assert shown[0].endswith("needs you:")
    assert shown[1] == f"  {sentence}"


@pytest.mark.parametrize(
    ("facts", "code", "sentence"),
    [
        (
            with_run(waiting=waits(NOW_S + 3600)),
            "waits",
            f"credit, round 3 of 10 waits for firm-2, firm-3 (train.update) since {AT_NOON}, "
            f"until {clock_time(NOW_S + 3600, NOW_S)}.",
        ),
        (
            with_run(refusals=(said("SittingOut", "firm-2 sits out of credit until it resumes"),)),
            "sitting-out",
            "firm-2 sits out of credit until it resumes.",
        ),
        (
            with_run(refusals=(said("Absent", "SittingOut: firm-2 sits out of credit until it resumes"),)),
            "sitting-out",
            "firm-2 sits out of credit until it resumes.",
        ),
        (
            replace(
                HEALTHY,
                ledger=LedgerFacts(42, 42, 0.0, 2, {"bank-1": (9, NOW_S - 600)}, 4),
                members=(*FIRMS, MemberFacts("bank-1", "bank", False, None)),
            ),
            "witness-behind",
            f"bank-1's witness is behind since {AT_NOON}.",
        ),
        (
            with_task(wish=TaskWish("credit", "paused", NOW_S - 600, "year-end")),
            "paused",
            f"credit is paused since {AT_NOON}: year-end.",
        ),
        (
            replace(HEALTHY, members=(*FIRMS[1:], MemberFacts("firm-1", "firm", False, NOW_S - 600))),
            "away",
            f"firm-1 is not connected; it was last seen {AT_NOON}.",
        ),
        (
            replace(HEALTHY, members=(*FIRMS[1:], MemberFacts("firm-1", "firm", False, None))),
            "never-seen",
            "firm-1 was never connected.",
        ),
        (
            with_run(refusals=(said("OverCap", "over the cap", number=1),)),
            "refused",
            "credit, round 1: firm-2 refused with OverCap: over the cap.",
        ),
    ],
    ids=["waits", "sitting-out", "sits-out-of-a-run", "bank", "paused", "away", "never-seen", "refused-before"],
)
def test_what_needs_nobody_is_told_all_the_same(facts: Facts, code: str, sentence: str) -> None:
    found = findings(facts)
    assert found == [Finding("told", code, sentence)]
    assert exit_code(facts, found) == 0
    assert list(lines(facts, found))[1:3] == ["Also:", f"  {sentence}"]


def test_the_worst_stands_first() -> None:
    facts = with_run(refusals=(said("OverCap", "x"), said("SittingOut", "y")), waiting=waits(NOW_S + 60))
    facts = replace(facts, ledger=LedgerFacts(42, 40, 720.0, 2, {}, 3))
    assert [one.code for one in findings(facts)] == ["quorum-lost", "refused", "waits", "sitting-out"]


def test_before_the_founding_the_founders_are_all_that_is_waited_for() -> None:
    waiting = tuple(ProgramStatus(name, "waiting", since_s=NOW_S - 900) for name in ("ledger", "runner"))
    young = replace(
        HEALTHY,
        processes=replace(UP, programs=waiting),
        ledger=NotKnown("policy.txt: No such file"),
        members=(),
        runner=None,
        tasks=(),
        awaited=("bank-1", "firm-2"),
    )
    (only,) = found = findings(young)
    assert (only.code, exit_code(young, found)) == ("not-founded", 1)
    assert "bank-1, firm-2 are still to join and be admitted" in only.sentence
    shown = list(lines(young, found))
    assert "Ledger: none before the founding" in shown
    assert "Members: none before the founding" in shown
    assert document(young, found)["awaited"] == ["bank-1", "firm-2"]
    (only,) = findings(replace(young, awaited=()))
    assert "all are admitted" in only.sentence


def test_where_nothing_can_be_reached() -> None:
    facts = replace(HEALTHY, processes=None, ledger=NotKnown("x"), members=NotKnown("y"), runner=None)
    found = findings(facts)
    assert [one.code for one in found] == ["down"]
    assert exit_code(facts, found) == 3


def test_the_document_is_json_and_tells_no_secrets() -> None:
    text = json.dumps(document(HEALTHY, findings(HEALTHY)))
    facts = json.loads(text)
    assert facts["ok"] is True
    assert facts["tasks"][0]["progress"]["number"] == 3
    assert facts["tasks"][0]["order"]["number"] == 7
    assert facts["processes"]["up"] is True
    assert "secret-token" not in text
    assert '"ticket"' not in text
    dark = replace(HEALTHY, ledger=NotKnown("gone"), processes=None)
    assert document(dark, [])["ledger"] == {"not_known": "gone"}


def test_releases_are_shown_where_members_have_said_them() -> None:
    bank = MemberFacts("bank-1", "bank", False, None, "0.2.0")
    facts = replace(HEALTHY, members=(replace(FIRMS[0], release="0.1.0"), FIRMS[1], bank))
    shown = list(lines(facts, []))
    assert "  bank-1: bank, artesian 0.2.0" in shown
    assert [line.endswith(", artesian 0.1.0") for line in shown if line.startswith("  firm-")] == [True, False]


def test_what_is_shown_of_a_healthy_one() -> None:
    shown = "\n".join(lines(HEALTHY, []))
    for part in (
        "Processes: ledger ready, superlink ready",
        "Ledger: 42 entries, 42 final; all witnesses are up to date",
        "Members: 3 of 3 firms connected, 0 banks",
        "  firm-1: connected, last seen",
        "Task credit: 0 2 * * 1 (UTC), next",
        "  order 7: running since",
        "  round 3 of 10, collecting contributions since",
    ):
        assert part in shown
