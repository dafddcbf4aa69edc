"""`artesian firm privacy-statement`: what is promised to whom about this firm's data, from its own files alone."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.errors import ClientError

if TYPE_CHECKING:
    from clients.firm import Firm
    from clients.privacy_facts import Facts, RoundFacts, RunFacts, SpentFacts


class SpendForgotten(ClientError):
    """The wallet does not know all that was spent, so nothing can be said about it."""

    exit_code = 1


class Tongue(StrEnum):
    """The languages that statements are written in."""

    EN = "en"
    ZH = "zh"


def privacy_statement(
    home: Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")],
    task: Annotated[str, typer.Argument(help="A task of this firm's; without it, every one.")] = "",
    language: Annotated[Tongue, typer.Option(help="English or Chinese.")] = Tongue.EN,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, with both languages.")] = False,
) -> None:
    """Say what is protected, for whom and against whom, by how much, what was spent, and what is not covered.

    Reads `firm.toml`, the wallet and the firm's mirror of the ledger: its latest training round of each task. Changes
    nothing, and works beside a running client. Refuses with exit code 1 where the wallet has forgotten what its journal
    or the ledger shows: what it would say was spent would be too little.
    """
    from clients.firm import Firm
    from clients.firm_tasks import require_named
    from clients.privacy_statement import paragraphs, statement

    firm = Firm(home)
    if task:
        require_named(firm.member, firm.config.task, task)
    found = facts_of(firm, [task] if task else [one.name for one in firm.config.task])
    if as_json:
        typer.echo(json.dumps({"ok": True, "statements": [statement(one) for one in found]}, ensure_ascii=False))
        return
    for number, one in enumerate(found):
        typer.echo(("\n" if number else "") + one.task)
        for heading, text in paragraphs(one, language.value):
            typer.echo(f"  {heading}{'：' if language is Tongue.ZH else ': '}{text}")


def facts_of(firm: Firm, tasks: list[str]) -> list[Facts]:
    """What the firm's own files say of its tasks.

    Raises:
        NotTakingPart: one is not in `firm.toml`.
        WitnessRefusal: the mirror is another's.
        SpendForgotten: the wallet lacks what its journal or the ledger shows, or a task has paid from another account.
    """
    from clients.privacy_facts import Facts, IssuerFacts, UnitFacts
    from clients.wallet_commands import forgotten
    from clients.wallet_report import day

    problem = forgotten(firm)
    if problem is not None:
        raise SpendForgotten(f"nothing is stated: more was spent than the wallet says. {problem}")
    runs, today = _runs(firm), day(int(firm.now() * 1000))
    found = []
    for name in tasks:
        run, latest = runs.get(name, (None, None))
        issuer = IssuerFacts(firm.member, firm.config.cid, today, latest)
        found.append(Facts(name, UnitFacts.of(firm.declared(name).spec), run, _spent(firm, name), issuer))
    return found


def _spent(firm: Firm, name: str) -> SpentFacts:
    from clients.cost import Total
    from clients.privacy_facts import SpentFacts
    from clients.wallet_report import runs_of

    limits, payer = firm.config.limits, firm.declared(name)
    with firm.wallet_as_it_is() as wallet:
        account, spent = wallet.account(payer.unit, payer.dataset), wallet.purchases()
    cap = limits.epsilon if account.cap is None else min(account.cap.epsilon, limits.epsilon)
    mine = runs_of(one for one in spent if (one.unit, one.dataset) == (payer.unit, payer.dataset))
    opened = [one.cost for run in mine if run.what == "openings" for one in run.spent]
    return replace(
        SpentFacts.of("wallet", account.total, limits.delta, cap, limits.epsilon_year),
        openings=len(opened),
        openings_epsilon=Total.of(opened).epsilon(limits.delta),
    )


def _runs(firm: Firm) -> dict[str, tuple[RunFacts, RoundFacts]]:
    """Each task's latest training round in the firm's mirror, and its run."""
    from clients.own_mirror import MIRROR, reading_mirror
    from clients.plan import Plan
    from clients.privacy_facts import RoundFacts, RunFacts
    from ledger.statement import decode_statement

    if not (firm.home / MIRROR).exists():
        return {}
    with reading_mirror(firm) as store:
        payloads = [decode_statement(raw).payload for raw in store.entries(0, store.size())]
    rounds = {one["id"]: (index, one) for index, one in enumerate(payloads) if one["t"] == "round"}
    latest = {
        one["task"]: (index, one)
        for index, one in rounds.values()
        if isinstance(one["plan"], dict) and not one["plan"].get("measures")
    }
    released = {rounds[one["round"]][1]["task"]: one["model"].hex() for one in payloads if one["t"] == "publish"}
    found = {}
    for task, (index, one) in latest.items():
        plan = Plan.from_map(one["plan"])
        run = RunFacts.of(plan, len(one["cohort"]), plan.run_mechanisms())
        found[task] = run, RoundFacts(one["id"].hex(), plan.number, index, released.get(task, ""))
    return found
