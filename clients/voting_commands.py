"""`artesian firm proposals` and `approve`, and a bank's: what the members decide together, shown and signed at home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.at_the_desk import Home, Json, confirm, desk_of_home, member_of, tell
from clients.plain_text import printable

if TYPE_CHECKING:
    from clients.enrolment.desk_client import DeskClient, OpenProposal


def proposals(home: Home, as_json: Json = False) -> None:
    """Show what is proposed to the members and waits for approvals."""
    connection, key = member_of(home)
    with desk_of_home(home) as desk:
        found = desk.proposals(connection.cid, connection.member, key)
        texts = {one.name: _readable(home, one, desk) for one in found}
    if as_json:
        listed = [{**_facts(one), "changes": texts[one.name]} for one in found]
        typer.echo(json.dumps({"ok": True, "proposals": listed}, ensure_ascii=False))
        return
    if not found:
        typer.echo("Nothing is proposed.")
    for one in found:
        _show(one)
        for line in texts[one.name]:
            typer.echo(f"    {line}")


def approve(
    name: Annotated[str, typer.Argument(help="The proposal, as `proposals` shows it.")],
    home: Home,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Approve a proposal: it is shown, signed here, and the signature handed in. At a quorum it goes on the ledger."""
    from clients.enrolment.errors import NoSuchProposal, NotAdmitted
    from ledger.proposal import Proposal
    from ledger.rules import approve as approval_of

    connection, key = member_of(home)
    with desk_of_home(home) as desk:
        found = {one.name: one for one in desk.proposals(connection.cid, connection.member, key)}
        if name not in found:
            known = ", ".join(found) or "none"
            raise NoSuchProposal(f"there is no proposal {name!r} (known: {known}); see: artesian firm proposals")
        asked = Proposal.from_bytes(found[name].raw)
        if asked.payload["cid"] != connection.cid or asked.payload["t"] == "handover":
            raise NotAdmitted(f"the proposal {name!r} is not one to approve here; a handover goes from hand to hand")
        changes = [] if found[name].placed else _changes(home, found[name], desk)
        for line in (*asked.words(), *changes):
            tell(line)
        confirm(f"Approve this as {connection.member}?", yes=yes, as_json=as_json, instead="--yes")
        signature = approval_of(asked.payload, connection.member, key)["signature"]
        after = desk.approve(connection.cid, connection.member, key, name, signature)
    if as_json:
        typer.echo(json.dumps({"ok": True, **_facts(after), "changes": changes}, ensure_ascii=False))
    else:
        _show(after, words=False)


def _changes(home: Path, one: OpenProposal, desk: DeskClient) -> list[str]:
    """What a proposed policy changes, as lines to print.

    Raises:
        ClientError: nobody can know.
    """
    from clients.proposed_policy import changes
    from ledger.proposal import Proposal

    connection, key = member_of(home)
    return changes(home, Proposal.from_bytes(one.raw), desk, connection.cid, connection.member, key)


def _readable(home: Path, one: OpenProposal, desk: DeskClient) -> list[str]:
    """The same, or why it cannot be shown: that keeps nobody from reading the other proposals."""
    from clients.errors import ClientError

    if one.placed:
        return []
    try:
        return _changes(home, one, desk)
    except ClientError as error:
        return [printable(f"what it changes cannot be shown: {error}")]


def _facts(one: OpenProposal) -> dict[str, Any]:
    from ledger.proposal import Proposal

    return {
        "name": one.name,
        "words": Proposal.from_bytes(one.raw).words(),
        "approved": one.approved,
        "needed": one.needed,
        "placed": one.placed,
        "refused": one.refused,
    }


def _show(one: OpenProposal, *, words: bool = True) -> None:
    facts = _facts(one)
    given = ", ".join(one.approved) or "nobody"
    state = "on the ledger" if one.placed else f"{len(one.approved)} of {one.needed} have approved ({given})"
    typer.echo(f"{one.name}: {state}")
    if one.refused:
        typer.echo(f"  the ledger refuses it: {printable(one.refused)}")
    for line in facts["words"] if words else ():
        typer.echo(f"  {printable(line)}")
