"""`artesian coordinator admit`, `suspend`, `proposals`, `revoke-certificate`: the operator sees to who belongs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.plain_text import printable

if TYPE_CHECKING:
    from ledger.founding import Founded
    from server.enrolment.admission import Admission
    from server.enrolment.proposing import ProposalFacts

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def admit(
    home: Home,
    member: Annotated[
        list[str] | None, typer.Argument(help="Who is admitted. Without any: only show who asks.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Everyone who has asked, as shown first.")] = False,
    key: Annotated[
        str, typer.Option(metavar="FINGERPRINT", help="Admit the one member only with this key, as shown before.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Show who asks to join, with key fingerprints, and admit those named.

    When the last of the invited founders is admitted, the ledger is founded. Later members are proposed to the quorum.
    Who is admitted is admitted with the keys that are shown first, all of them or none.
    """
    from ledger.keys import PublicKey

    with _admission(home) as admission:
        requests = admission.book.requests()
        waiting = [one.member for one in requests if not one.admitted]
        chosen = list(dict.fromkeys(member or [])) or (waiting if everyone else [])
        seen = [one for one in requests if one.member in chosen]
        _require_key(chosen, {one.member: one.key for one in seen}, key)
        for one in seen:
            typer.echo(f"admitting {one.member} with the key {PublicKey(one.key).fingerprint}", err=True)
        admission.admit(*chosen, keys={one.member: one.key for one in seen})
        founded = admission.found()
        admission.settle()
        admission.issuing.publish()
        facts = {**_standing(admission), "admitted": chosen, "founded": founded is not None}
    if as_json:
        typer.echo(json.dumps({"ok": True, **facts}, ensure_ascii=False))
    else:
        _say(facts, founded, home)


def suspend(
    member: Annotated[str, typer.Argument(help="Whose vote, voice and certificates are to end.")],
    home: Home,
    reason: Annotated[str, typer.Option(help="Why. It goes on the ledger.")],
    as_json: Json = False,
) -> None:
    """Propose to suspend a member. When a quorum has approved, its certificates and its node are shut out."""
    with _admission(home) as admission:
        admission.proposing.suspend(member, reason)
        found = _proposal(admission.proposing.named(f"suspend-{member}"))
    if as_json:
        typer.echo(json.dumps({"ok": True, **found}, ensure_ascii=False))
        return
    typer.echo(f"Proposed: suspend-{member}. {found['needed']} members must approve it, each with:")
    typer.echo(f"  artesian firm approve suspend-{member} --home HOME   (a bank: artesian bank approve)")


def proposals(home: Home, as_json: Json = False) -> None:
    """Show what is proposed to the members, who has approved, and what is on the ledger."""
    with _admission(home) as admission:
        admission.settle()
        found = [_proposal(one) for one in admission.proposing.all()]
    if as_json:
        typer.echo(json.dumps({"ok": True, "proposals": found}, ensure_ascii=False))
        return
    for one in found:
        given = ", ".join(one["approved"]) or "nobody"
        state = "on the ledger" if one["placed"] else f"{len(one['approved'])} of {one['needed']} approved ({given})"
        typer.echo(f"{one['name']}: {state}")
        if one["refused"]:
            typer.echo(f"  {_refusal(one)}")
        for line in one["words"]:
            typer.echo(f"  {line}")
    if not found:
        typer.echo("Nothing is proposed.")


def revoke_certificate(
    member: Annotated[str, typer.Argument(help="Whose TLS certificates are refused from now on.")],
    home: Home,
    as_json: Json = False,
) -> None:
    """Revoke a member's certificates, because its TLS key is lost or known to others. It stays a member.

    The member gets another with `artesian firm renew --new-key`: it proves itself with its signing key.
    """
    from server.enrolment.book import NoSuchRequest

    with _admission(home) as admission:
        if admission.book.asked(member) is None and not admission.book.certificates(member):
            raise NoSuchRequest(f"{member!r} is nobody here; see: artesian coordinator admit --home {home}")
        count = admission.issuing.revoke(member)
    if as_json:
        typer.echo(json.dumps({"ok": count > 0, "member": member, "revoked": count}))
    elif not count:
        typer.echo(f"{member} had no certificate that holds; its keys get no other.", err=True)
    if not count:
        raise typer.Exit(1)
    if as_json:
        return
    typer.echo(f"{count} certificate{'' if count == 1 else 's'} of {member} revoked; the services refuse them now.")
    typer.echo(f"{member} gets another with: artesian firm renew --new-key (a bank: artesian bank renew --new-key)")


def renew(
    home: Home,
    force: Annotated[
        bool, typer.Option("--force", help="Also when it is not due: after host or bind changed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Renew the coordinator's own service certificate if two thirds of its life are over. The join desk does so too."""
    from server.initialising import require_home
    from server.service_certificate import renew_service_certificate

    require_home(home)
    facts = renew_service_certificate(home, time.time(), force=force)
    if as_json:
        typer.echo(json.dumps({"ok": True, "renewed": facts is not None}))
    elif facts is None:
        typer.echo("Nothing is due.")
    else:
        typer.echo("Renewed. Services that are not under a supervisor must be started again to take it.")


def register_nodes(home: Home, as_json: Json = False) -> None:
    """Tell the running SuperLink which members' nodes may connect. The join desk does so by itself."""
    from server.engines.flower_control import FlowerControl
    from server.enrolment.registrations import apply_registrations
    from server.network import load_network

    with _admission(home) as admission:
        admission.settle()
        done = apply_registrations(admission.book, FlowerControl(home, load_network(home)))
    for one, why in done.refused.items():
        typer.echo(f"the node of {one} stays out: {printable(why)}", err=True)
    if as_json:
        typer.echo(json.dumps({"ok": True, "told": done.told, "refused": done.refused}))
    else:
        typer.echo(f"SuperLink was told of: {', '.join(done.told) or 'nothing new'}")


def _require_key(chosen: list[str], keys: dict[str, bytes], fingerprint: str) -> None:
    """Raise unless the one member that is chosen asks with the key that the operator was told."""
    from ledger.keys import PublicKey
    from server.enrolment.proposing import CannotAdmit

    if not fingerprint:
        return
    if len(chosen) != 1:
        raise CannotAdmit("--key: goes with one member: artesian coordinator admit firm-1 --key FINGERPRINT")
    shown = PublicKey(keys[chosen[0]]).fingerprint if chosen[0] in keys else ""
    if shown and shown != fingerprint.strip():
        raise CannotAdmit(f"{chosen[0]!r} has asked with the key {shown}, not {fingerprint}; find out who it is")


@contextmanager
def _admission(home: Path) -> Iterator[Admission]:
    from server.enrolment.admission import Admission
    from server.enrolment.book import EnrolmentBook
    from server.enrolment.ledger_access import LedgerAccess
    from server.initialising import require_home

    require_home(home)
    with EnrolmentBook(home) as book:
        yield Admission(home, book, LedgerAccess(home), time.time)


def _standing(admission: Admission) -> dict[str, Any]:
    from ledger.keys import PublicKey

    state = admission.ledger.state()
    requests = []
    for one in admission.book.requests():
        enrolled = state is not None and state.is_enrolled(one.member)
        phase = "enrolled" if enrolled else "admitted" if one.admitted else "asked"
        key = PublicKey(one.key).fingerprint
        requests.append({"member": one.member, "kind": one.kind, "name": one.name, "phase": phase, "key": key})
    at = admission.ledger.standing()
    return {
        "requests": requests,
        "missing": admission.missing() if state is None else [],
        "founding": "" if at is None else at.founding,
        "proposals": [_proposal(one) for one in admission.proposing.all() if not one.proposed.placed],
        "refused_nodes": {node.member: node.refused for node in admission.book.nodes() if node.refused},
    }


def _proposal(facts: ProposalFacts) -> dict[str, Any]:
    return {
        "name": facts.proposed.name,
        "words": facts.proposal.words(),
        "approved": facts.approved,
        "needed": facts.needed,
        "placed": facts.proposed.placed,
        "refused": facts.proposed.refused,
    }


def _say(facts: dict[str, Any], founded: Founded | None, home: Path) -> None:
    for one in facts["requests"]:
        typer.echo(f"{one['member']:<16} {one['kind']:<5} {one['phase']:<9} {one['key']}  {printable(one['name'])}")
    if not facts["requests"]:
        typer.echo("Nobody has asked yet.")
    if founded is not None:
        typer.echo(f"The ledger {founded.origin} is founded. Founding fingerprint: {founded.fingerprint}")
        typer.echo("Tell it to every member by another way than this network.")
        typer.echo(f"Take {home / 'next-log.pem'} to another, safe place now: with it the log can change a lost key.")
    elif facts["missing"]:
        typer.echo(f"The ledger is founded when all founders are admitted; missing: {', '.join(facts['missing'])}")
    for one in facts["proposals"]:
        typer.echo(f"{one['name']}: {len(one['approved'])} of {one['needed']} members that must approve have done so")
        typer.echo(f"  each with: artesian firm approve {one['name']} --home HOME   (a bank: artesian bank approve)")
        if one["refused"]:
            typer.echo(f"  {_refusal(one)}")
    for member, why in facts["refused_nodes"].items():
        typer.echo(f"The node of {member} stays out: {printable(why)}; it joins again with another node.key")


def _refusal(one: dict[str, Any]) -> str:
    what = f"the ledger refuses it: {printable(one['refused'])}"
    return f"{what}; propose it again, or: artesian coordinator withdraw {one['name']}"
