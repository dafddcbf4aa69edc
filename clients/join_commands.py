"""`artesian firm join`, `bank join`: become a member with an invite."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clients.at_the_desk import Home, Json, confirm, desk_of_home, member_of, mirrored, tell
from clients.join_options import by_task, count_of, settled, table_path
from ledger.fingerprint import grouped

if TYPE_CHECKING:
    from clients.enrolment.desk_client import Terms
    from clients.enrolment.invite import Invite
    from clients.joining import Joined

InviteText = Annotated[
    str,
    typer.Argument(
        metavar="[FILE]",
        help="The file that holds the invite. Not needed to go on waiting. The invite's own text is taken too, but "
        "then other users of this machine may read it while this runs, and use it.",
    ),
]
Fingerprint = Annotated[
    str,
    typer.Option(help="The CA's fingerprint as the coordinator's operator told it by another way; nothing is asked."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: the invite came by a way that can be trusted.")]
Founding = Annotated[str, typer.Option(help="The founding's fingerprint, if you were told: another one is refused.")]
Again = Annotated[
    bool, typer.Option("--again", help="Ask again from a home that has joined: with a new invite, after a suspension.")
]
Proxy = Annotated[
    str,
    typer.Option(
        metavar="URL", help="The HTTP proxy on the way to the consortium, http://HOST:PORT; it is remembered."
    ),
]
WaitS = Annotated[
    float, typer.Option("--wait-s", min=0, help="Longest wait for being admitted, seconds; 0 asks and returns.")
]


def join_firm(
    home: Home,
    invite: InviteText = "",
    units: Annotated[
        list[str] | None,
        typer.Option(metavar="[TASK=]N", help="Declared privacy units for firm.toml, a round figure; repeatable."),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="[TASK=]PATH", help="The table for firm.toml; repeatable.")
    ] = None,
    fingerprint: Fingerprint = "",
    yes: Yes = False,
    founding: Founding = "",
    proxy: Proxy = "",
    wait_s: WaitS = 600.0,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Join a consortium: make keys here, ask, wait until admitted, check the ledger, and write firm.toml to edit.

    It can be given again at any time, and goes on where it was. No private key leaves this machine.
    """
    given = {"units": by_task(units, "--units"), "data": by_task(data, "--data")}
    _join(home, invite, "firm", given, fingerprint, yes, founding, proxy, wait_s, again, as_json)


def join_bank(
    home: Home,
    invite: InviteText = "",
    fingerprint: Fingerprint = "",
    yes: Yes = False,
    founding: Founding = "",
    proxy: Proxy = "",
    wait_s: WaitS = 600.0,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Join a consortium as a bank: make keys here, ask, wait until admitted, and check the ledger.

    It can be given again at any time, and goes on where it was. No private key leaves this machine.
    """
    _join(home, invite, "bank", {"units": {}, "data": {}}, fingerprint, yes, founding, proxy, wait_s, again, as_json)


def _join(
    home: Path,
    text: str,
    kind: Literal["firm", "bank"],
    given: Mapping[str, Mapping[str, str]],
    fingerprint: str,
    yes: bool,
    founding: str,
    proxy: str,
    wait_s: float,
    again: bool,
    as_json: bool,
) -> None:
    from functools import partial

    from clients.joining import ask, complete, joined, wait
    from clients.proxy import go_through

    go_through(proxy)
    done = None if again else joined(home)
    if done is None:
        if text:
            phase = _ask(home, text, kind, given, fingerprint, yes, as_json, partial(ask, proxy=proxy))
            if wait_s == 0 and phase != "enrolled":
                _answer_asked(home, phase, as_json)
                return
        else:
            _require_asked(home, kind)
        with desk_of_home(home) as desk:
            standing = wait(home, desk, wait_s=wait_s, monotonic=time.monotonic, sleep=time.sleep, say=tell)
        _require_founding(standing.origin, list(standing.founding), founding)
        done = complete(home, standing, lambda checked: mirrored(home, checked))
    _answer_joined(home, done, as_json)


def _ask(
    home: Path,
    text: str,
    kind: str,
    given: Mapping[str, Mapping[str, str]],
    fingerprint: str,
    yes: bool,
    as_json: bool,
    ask: Any,
) -> str:
    """Confirm whom to trust, then send the request; the phase that it is in."""
    from clients.enrolment.desk_client import DeskClient
    from clients.enrolment.errors import BadInvite
    from clients.enrolment.invite import read_invite
    from clients.homes import FIRM_CONFIG
    from clients.joining import require_same

    invite = read_invite(text)
    if invite.kind != kind:
        raise BadInvite(f"the invite is for a {invite.kind}; use: artesian {invite.kind} join")
    require_same(home, invite)
    with DeskClient(invite.desk, invite.authority_pem) as desk:
        terms = desk.terms(invite)
        counts = {task: count_of(text) for task, text in settled(given["units"], terms, "--units").items()}
        data = {task: table_path(path) for task, path in settled(given["data"], terms, "--data").items()}
        _confirm_trust(invite, terms, fingerprint, yes, as_json)
        if (counts or data) and (home / FIRM_CONFIG).exists():
            tell(f"{home / FIRM_CONFIG} is there already: --units and --data change nothing in it; edit it")
        standing = ask(home, invite, terms, desk, counts, data)
    return str(standing.phase)


def _confirm_trust(invite: Invite, terms: Terms, fingerprint: str, yes: bool, as_json: bool) -> None:
    from clients.enrolment.errors import OtherConsortium

    tasks = ", ".join(task.name for task in terms.policy.task) or "none yet"
    tell(f"{terms.policy.name} ({invite.cid}) invites {invite.member}, the {invite.kind} {invite.name!r}.")
    tell(f"  join desk       {invite.desk}")
    tell(f"  CA fingerprint  {grouped(invite.fingerprint)}")
    tell(f"  policy          {grouped(invite.policy.hex())}")
    tell(f"  cohorts of at least {terms.policy.min_cohort} firms; tasks: {tasks}")
    if fingerprint:
        if _bare(fingerprint) != invite.fingerprint:
            raise OtherConsortium(
                f"the invite's CA has the fingerprint {grouped(invite.fingerprint)}, not {fingerprint}; "
                "it is not from whom you think: do not use it"
            )
        return
    question = "Is this the fingerprint that the coordinator's operator told you by another way?"
    confirm(question, yes=yes, as_json=as_json, instead="--fingerprint HEX, or --yes")


def _require_asked(home: Path, kind: str) -> None:
    from clients.connection import CONNECTION, load_connection
    from clients.enrolment.errors import BadInvite

    if not (home / CONNECTION).exists():
        raise BadInvite(
            f"{home}: has not asked to join yet; give the invite's file: artesian {kind} join FILE --home {home}"
        )
    if load_connection(home).kind != kind:
        raise BadInvite(f"{home}: belongs to a {load_connection(home).kind}")


def _require_founding(origin: str, entries: list[bytes], founding: str) -> None:
    from ledger.founding import founding_of

    if founding:
        founding_of(origin, entries).require(founding)


def _answer_asked(home: Path, phase: str, as_json: bool) -> None:
    connection, key = member_of(home)
    fingerprint = key.public.fingerprint
    if as_json:
        facts = {"member": connection.member, "consortium": connection.cid, "phase": phase, "key": fingerprint}
        typer.echo(json.dumps({"ok": True, **facts}))
        return
    typer.echo(f"{connection.member} has asked to join {connection.cid} with the key {fingerprint}.")
    typer.echo(f"Next, when the coordinator has admitted it: artesian {connection.kind} join --home {home}")


def _answer_joined(home: Path, done: Joined, as_json: bool) -> None:
    connection = done.connection
    facts = {
        "member": connection.member,
        "kind": connection.kind,
        "consortium": connection.cid,
        "phase": "enrolled",
        "founding": done.fingerprint,
        "authority_sha256": connection.authority_sha256,
        "policy_sha256": connection.policy_sha256,
    }
    if as_json:
        typer.echo(json.dumps({"ok": True, **facts}))
        return
    typer.echo(f"{connection.member} is a member of {connection.cid}.")
    typer.echo(f"Founding fingerprint: {done.fingerprint}")
    typer.echo("Compare it with another member's by another way than this network (by telephone, on paper).")
    if connection.kind == "firm":
        typer.echo(f"Next: edit {home / 'firm.toml'}: where your tables are, and what you will never agree to.")


def _bare(fingerprint: str) -> str:
    return "".join(letter for letter in fingerprint.lower() if letter in "0123456789abcdef")
