"""`artesian firm plan`: what a round asks of this firm, in words, and what this firm answers to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.errors import ClientError

if TYPE_CHECKING:
    from clients.firm import Firm
    from clients.offer import Offer
    from ledger.rules import State
    from ledger.statement import Statement

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Round = Annotated[str, typer.Argument(help="How a round's id begins; without it, the latest round of each task.")]


class NoSuchRound(ClientError):
    """The firm's mirror has no such round of its tasks."""


def plan(home: Home, round_id: Round = "", as_json: Json = False) -> None:
    """Show a round's plan in words: who could read one update, what it costs, and whether this firm takes part.

    Reads the firm's own mirror of the ledger, as it stood when the round was opened, and its `firm.toml` of now.
    Changes nothing, and works beside a running client.
    """
    from clients.firm import Firm
    from clients.wallet_outlook import outlook_line

    found = list(plans_of(Firm(home), round_id.lower()))
    if as_json:
        typer.echo(json.dumps({"ok": True, "rounds": found}, ensure_ascii=False))
        return
    for one in found:
        typer.echo(
            f"{one['task']} round {one['number']} of {one['rounds']} ({one['round'][:12]}, entry {one['entry']})"
        )
        typer.echo(f"  {one['purpose']}\n  {one['trust']}\n  {one['privacy']}")
        typer.echo("  This firm takes part." if one["accepted"] else f"  This firm refuses: {one['refusal']}")
        if one["wallet"] is not None:
            typer.echo(f"  {outlook_line(one['wallet'])}")
    if not found:
        typer.echo("No round of this firm's tasks is in its mirror of the ledger yet.")


def plans_of(firm: Firm, prefix: str = "") -> Iterator[dict[str, Any]]:
    """The plans of the rounds whose ids begin so, or of each task's latest round, oldest first.

    Raises:
        NoSuchRound: a prefix that no round of the firm's tasks has.
        WitnessRefusal: the mirror is another's.
    """
    from clients.own_mirror import MIRROR, reading_mirror
    from ledger.statement import decode_statement

    if not (firm.home / MIRROR).exists():
        return
    with reading_mirror(firm) as store:
        statements = [decode_statement(raw) for raw in store.entries(0, store.size())]
    tasks = {task.name for task in firm.config.task}
    rounds = {
        entry: read
        for entry, read in enumerate(statements)
        if read.payload["t"] == "round" and read.payload["task"] in tasks and isinstance(read.payload["plan"], dict)
    }
    latest = {read.payload["task"]: entry for entry, read in rounds.items()}
    wanted = [entry for entry, read in rounds.items() if read.payload["id"].hex().startswith(prefix)]
    if prefix and not wanted:
        raise NoSuchRound(f"round {prefix}: no round of {firm.member}'s tasks in its mirror has an id that begins so")
    for entry in wanted if prefix else sorted(latest.values()):
        yield _document(firm, rounds[entry], entry, statements)


def _document(firm: Firm, read: Statement, entry: int, statements: Sequence[Statement]) -> dict[str, Any]:
    from clients.offer import Offer
    from clients.plan import Plan
    from clients.plan_words import privacy_statement, purpose_statement, trust_statement
    from clients.wallet_outlook import outlook

    payload: Mapping[str, Any] = read.payload
    terms = Plan.from_map(payload["plan"])
    offer = Offer(payload, read.digest, terms)
    refusal = _refusal(firm, offer, statements[: entry + 1])
    unit = firm.declared(payload["task"]).unit
    return {
        "round": offer.round_id.hex(),
        "entry": entry,
        "task": payload["task"],
        "number": terms.number,
        "rounds": terms.rounds,
        "cohort": offer.cohort,
        "aggregation": terms.aggregation,
        "key_holder": terms.key_holder or None,
        "threshold": terms.threshold,
        "privacy_unit": unit,
        "measures": terms.measures or None,
        "purpose": purpose_statement(terms, unit),
        "trust": trust_statement(terms, offer.cohort),
        "privacy": privacy_statement(terms),
        "accepted": refusal is None,
        "refusal": refusal,
        "wallet": outlook(firm, offer),
    }


def _state_after(cid: str, statements: Sequence[Statement]) -> State:
    """What the entries mean, which the mirror has checked when it took them."""
    from ledger.rules import apply, initial

    state = initial(cid)
    for index, statement in enumerate(statements):
        state = apply(state, statement, index)
    return state


def _refusal(firm: Firm, offer: Offer, statements: Sequence[Statement]) -> str | None:
    """Why this firm does not take part, by its limits; None if it does. Whether its wallet pays is said beside it."""
    from clients.offer import check_number, check_plan
    from clients.tasks.task import task_for

    state = _state_after(firm.config.cid, statements)
    try:
        check_number(offer, state, statements.__getitem__)
        check_plan(firm, task_for(firm.declared(offer.payload["task"]).spec), offer, state)
    except ClientError as error:
        return str(error)
    return None
