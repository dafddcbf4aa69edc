"""`artesian firm open-dispute`: show one own update of one round to one auditor, after a look at what that reveals."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clients.dispute import Prepared
    from clients.firm import Firm

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Write the opening into this file, which must not exist yet.")]


def open_dispute(
    round_id: Annotated[str, typer.Argument(metavar="ROUND", help="The round's id, or how it begins.")],
    auditor: Annotated[str, typer.Option("--to", help="The member who may read it: an auditor, a bank, another firm.")],
    out: Out,
    home: Home,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document. Needs --yes.")] = False,
) -> None:
    """Open this firm's own update of an aggregated round to one auditor, who holds it against the ledger.

    The auditor runs `artesian audit dispute`. With `distributed` noise the wallet pays, once for a round.
    """
    from clients.dispute import DisputeRefused, carry_out, prepare
    from clients.firm import Firm
    from ledger.commands.answering import UsageError, write

    if as_json and not yes:
        raise UsageError("--json cannot ask; give --yes as well")
    if os.path.lexists(out) or not out.parent.is_dir():
        raise UsageError(f"{out}: is there already, or its folder is not; choose another name")
    firm = Firm(home)
    try:
        prepared = prepare(firm, round_id, auditor)
        facts = _facts(firm, prepared)
        for line in [] if as_json else _words(facts):
            typer.echo(line)
        if not yes and not typer.confirm("Open it?", err=True):
            raise DisputeRefused("nothing was opened or spent")
        write(out, carry_out(firm, prepared))
    finally:
        firm.close()
    if as_json:
        typer.echo(json.dumps({"ok": True, **facts, "file": str(out)}, ensure_ascii=False))
    else:
        typer.echo(f"{out}: give it to {auditor}; nobody else can read it.")


def _facts(firm: Firm, prepared: Prepared) -> dict[str, Any]:
    from clients.cost import Total
    from clients.dispute import is_paid

    opening, found, paid = prepared.opening, prepared.contribution, is_paid(firm, prepared)
    return {
        "round": opening.round_id.hex(),
        "task": prepared.task,
        "number": found.offer.plan.number,
        "member": opening.member,
        "auditor": opening.auditor,
        "entry": found.entry,
        "commit": opening.commit.hex(),
        "values": prepared.values,
        "noise": found.offer.plan.privacy,
        "paid_before": paid,
        "costs_epsilon": 0.0 if paid else Total.of([prepared.cost]).epsilon(firm.config.limits.delta),
        "delta": firm.config.limits.delta,
    }


def _words(facts: dict[str, Any]) -> list[str]:
    from clients.privacy_words import up

    noise = {
        "none": "It carries no noise at all.",
        "local": "It carries this firm's own noise, which the round has paid for: it costs nothing more.",
        "distributed": "It carries this firm's share of the noise alone, and not that of the others.",
    }[facts["noise"]]
    if facts["paid_before"]:
        noise += " That has been paid for before, and costs nothing more."
    elif facts["costs_epsilon"]:
        noise += f" By itself that costs epsilon {up(facts['costs_epsilon'])} at delta {facts['delta']:g}."
    return [
        f"Round {facts['number']} of {facts['task']} ({facts['round']}), contribution of {facts['member']} at entry "
        f"{facts['entry']}.",
        f"{facts['auditor']} will read all {facts['values']} values of this firm's update, not the records behind it, "
        "can show them to others, and nobody can take that back.",
        noise,
        "An auditor to whom all firms but one have opened the round knows the last one's update too.",
    ]
