"""`artesian coordinator init`, `invite`, `invites`, `withdraw`, `enrolment`: a consortium begins, others may ask."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.fingerprint import grouped

if TYPE_CHECKING:
    from server.enrolment.inviting import Invitation
    from server.initialising import Founding

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Days = Annotated[float, typer.Option("--days", min=0.001, max=365, help="How long invites can be used.")]
_PORT = {"min": 1, "max": 65535}


def init(
    home: Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="Home to make for the coordinator; empty or new.")],
    cid: Annotated[str, typer.Option(help="The consortium's id, a short lower-case name.")],
    host: Annotated[str, typer.Option(help="Name or address by which members reach this machine.")] = "localhost",
    bind: Annotated[
        str, typer.Option(help="Address to listen on. Default: this machine's own for localhost, or else every one.")
    ] = "",
    name: Annotated[str, typer.Option(help="The consortium's name, for people. Default: its id.")] = "",
    firm: Annotated[list[str] | None, typer.Option(help="A founding firm: ID or ID=NAME; repeatable.")] = None,
    bank: Annotated[list[str] | None, typer.Option(help="A founding bank: ID or ID=NAME; repeatable.")] = None,
    min_cohort: Annotated[int, typer.Option(min=3, help="Fewest firms in a training cohort.")] = 3,
    task: Annotated[list[Path] | None, typer.Option(help="A task spec (TOML); repeatable.")] = None,
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="Sign with ML-DSA-65 too, against quantum computers.")
    ] = False,
    pin_app: Annotated[
        bool, typer.Option("--pin-app", help="Name this version's app bundle in the policy: firms refuse others.")
    ] = False,
    days: Days = 14.0,
    enrolment_port: Annotated[int, typer.Option(help="The join desk.", **_PORT)] = 8442,
    ledger_port: Annotated[int, typer.Option(help="The ledger.", **_PORT)] = 8445,
    fleet_port: Annotated[int, typer.Option(help="Where firms' SuperNodes connect.", **_PORT)] = 8444,
    scores_port: Annotated[int, typer.Option(help="Banks' questions.", **_PORT)] = 8443,
    superlink_port: Annotated[int, typer.Option(help="Flower itself, on loopback.", **_PORT)] = 18443,
    metrics_port: Annotated[int, typer.Option(help="Prometheus, on loopback.", **_PORT)] = 9464,
    dashboard_port: Annotated[int, typer.Option(help="Reserved, on loopback.", **_PORT)] = 8440,
    as_json: Json = False,
) -> None:
    """Found a consortium: the coordinator's keys, its CA, the shared policy, and an invite for each founder.

    All of it or nothing. The ledger is founded when every founder has joined and was admitted.
    """
    from clients.toml_files import validated
    from ledger.rules import CLASSICAL, HYBRID
    from ledger.service.tls import is_loopback
    from server.enrolment.inviting import parse_members
    from server.initialising import CannotFound, Founding
    from server.network import Network

    ports = {
        "enrolment_port": enrolment_port,
        "ledger_port": ledger_port,
        "fleet_port": fleet_port,
        "scores_port": scores_port,
        "superlink_port": superlink_port,
        "metrics_port": metrics_port,
        "dashboard_port": dashboard_port,
    }
    if not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        raise CannotFound(f"--host {host!r}: give the name or the address by which members reach this machine")
    if bind and not _is_address(bind):
        raise CannotFound(
            f"--bind {bind!r}: give an address of this machine, like 10.0.0.5; 0.0.0.0 is every one; or localhost"
        )
    listens = bind or ("127.0.0.1" if is_loopback(host) else "0.0.0.0")
    network = validated({"host": host, "bind": listens, **ports}, Network, CannotFound, "the network")
    members = parse_members({"firm": firm or [], "bank": bank or []})
    signatures = HYBRID if hybrid else CLASSICAL
    founding = Founding(cid, name or cid, network, min_cohort, signatures, tuple(task or ()), pin_app)
    made = _found(home, founding, members, days)
    facts = _consortium(home)
    if as_json:
        typer.echo(json.dumps({"ok": True, **facts, "invites": [_facts(one, home) for one in made]}))
        return
    typer.echo(f"{home} is the coordinator's home of {cid}.")
    typer.echo(f"CA fingerprint: {facts['authority']}")
    typer.echo("Tell it to every member by another way than the invite's (by telephone, on paper).")
    if made:
        typer.echo("Invites, each for one use; send each by a way that others do not read:")
    for one in made:
        typer.echo(_invite_line(one, home))
    typer.echo(
        f"Next: artesian coordinator up --home {home}   (or the join desk alone: artesian coordinator enrolment)"
    )


def _is_address(host: str) -> bool:
    """Whether this can be listened on without asking anybody for its address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _found(home: Path, founding: Founding, members: list[tuple[str, str, str]], days: float) -> list[Invitation]:
    from server.enrolment.book import EnrolmentBook
    from server.enrolment.inviting import invite_members
    from server.enrolment.issuing import Issuing
    from server.initialising import initialise

    made: list[Invitation] = []

    def invite_all(unfinished: Path) -> None:
        with EnrolmentBook(unfinished) as book:
            Issuing(unfinished, book, time.time).publish()
        made.extend(invite_members(unfinished, members, days * 86_400, time.time))

    initialise(home, founding, time.time, invite_all)
    return made


def invite(
    member: Annotated[str, typer.Argument(help="The id of the member to be, a short lower-case name.")],
    home: Home,
    kind: Annotated[str, typer.Option(help="firm or bank.")] = "firm",
    name: Annotated[str, typer.Option(help="The organisation's name, for people. Default: the id.")] = "",
    days: Days = 14.0,
    as_json: Json = False,
) -> None:
    """Invite an organisation, or make its invite anew: one before that nobody used is void."""
    from server.enrolment.inviting import invite_members, parse_members

    (made,) = invite_members(
        home, parse_members({kind: [f"{member}={name}" if name else member]}), days * 86_400, time.time
    )
    if as_json:
        typer.echo(json.dumps({"ok": True, **_facts(made, home)}))
    else:
        typer.echo("An invite for one use; send it by a way that others do not read:")
        typer.echo(_invite_line(made, home))


def invites(home: Home, as_json: Json = False) -> None:
    """List the invites that were made, and what has become of them."""
    from server.enrolment.book import EnrolmentBook
    from server.enrolment.inviting import state_of
    from server.initialising import require_home

    require_home(home)
    with EnrolmentBook(home) as book:
        found = [(one, state_of(one, time.time())) for one in book.invites()]
    if as_json:
        listed = [
            {"member": one.member, "kind": one.kind, "name": one.name, "state": state, "until_s": one.until_s}
            for one, state in found
        ]
        typer.echo(json.dumps({"ok": True, "invites": listed}, ensure_ascii=False))
        return
    for one, state in found:
        typer.echo(f"{one.member:<16} {one.kind:<5} {state:<10} until {_minute(one.until_s)}")
    if not found:
        typer.echo("Nobody was invited.")


def withdraw(
    member: Annotated[
        str,
        typer.Argument(help="Whose invite, and request that was not admitted, is void; or a proposal: enrol-firm-9."),
    ],
    home: Home,
    as_json: Json = False,
) -> None:
    """Withdraw an invite, so that the founding no longer waits for this member; or a proposal not on the ledger yet."""
    from server.enrolment.admission import Admission
    from server.enrolment.book import EnrolmentBook, NoSuchRequest
    from server.enrolment.ledger_access import LedgerAccess
    from server.initialising import require_home

    require_home(home)
    with EnrolmentBook(home) as book:
        proposing = Admission(home, book, LedgerAccess(home), time.time).proposing
        if not book.withdraw(member) and not proposing.withdraw(member):
            raise NoSuchRequest(
                f"{member!r} has no invite, and no proposal that waits has this name; see: "
                f"artesian coordinator invites --home {home}, artesian coordinator proposals --home {home}"
            )
    if as_json:
        typer.echo(json.dumps({"ok": True, "member": member}))
    else:
        typer.echo(f"Withdrawn: {member}.")


def enrolment(home: Home) -> None:
    """Run the join desk until SIGTERM or SIGINT: members join, renew certificates and approve there."""
    import asyncio

    from clients.process_log import log_to_stderr
    from server.enrolment.running import run_desk
    from server.initialising import require_home

    require_home(home)
    log_to_stderr("enrolment")
    asyncio.run(run_desk(home, lambda line: typer.echo(line, err=True)))


def _consortium(home: Path) -> dict[str, Any]:
    from clients.certificates import AUTHORITY_CERTIFICATE, facts_of
    from clients.enrolment.consortium import CONSORTIUM, policy_hash, read_policy

    raw = (home / CONSORTIUM).read_bytes()
    authority = facts_of((home / AUTHORITY_CERTIFICATE).read_bytes()).fingerprint
    return {"cid": read_policy(raw).cid, "authority": grouped(authority), "policy_sha256": policy_hash(raw).hex()}


def _facts(one: Invitation, home: Path) -> dict[str, Any]:
    invite = one.invite
    return {
        "member": invite.member,
        "kind": invite.kind,
        "name": invite.name,
        "until_s": invite.until_s,
        "invite": invite.line(),
        "file": str(home / one.file),
    }


def _invite_line(one: Invitation, home: Path) -> str:
    """Where it is; its text would stay on the screen, for whoever looks."""
    invite = one.invite
    return f"  {invite.member:<16} {invite.kind:<5} until {_minute(invite.until_s)}  {home / one.file}"


def _minute(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))
