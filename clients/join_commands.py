"""`artesian firm join`, `bank join`: become a member with an invite; and what a member does at the desk later."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clients.plain_text import printable
from ledger.fingerprint import grouped

if TYPE_CHECKING:
    from clients.connection import Connection
    from clients.enrolment.desk_client import DeskClient, OpenProposal, Terms
    from clients.enrolment.invite import Invite
    from clients.joining import Joined

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The member's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
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
    given = {"units": _by_task(units, "--units"), "data": _by_task(data, "--data")}
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


def proposals(home: Home, as_json: Json = False) -> None:
    """Show what is proposed to the members and waits for approvals."""
    connection, key = _member(home)
    with _desk(home) as desk:
        found = desk.proposals(connection.cid, connection.member, key)
    if as_json:
        typer.echo(json.dumps({"ok": True, "proposals": [_facts(one) for one in found]}, ensure_ascii=False))
        return
    if not found:
        typer.echo("Nothing is proposed.")
    for one in found:
        _show(one)


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

    connection, key = _member(home)
    with _desk(home) as desk:
        found = {one.name: one for one in desk.proposals(connection.cid, connection.member, key)}
        if name not in found:
            known = ", ".join(found) or "none"
            raise NoSuchProposal(f"there is no proposal {name!r} (known: {known}); see: artesian firm proposals")
        asked = Proposal.from_bytes(found[name].raw)
        if asked.payload["cid"] != connection.cid or asked.payload["t"] == "handover":
            raise NotAdmitted(f"the proposal {name!r} is not one to approve here; a handover goes from hand to hand")
        for line in asked.words():
            _tell(line)
        _confirm(f"Approve this as {connection.member}?", yes=yes, as_json=as_json, instead="--yes")
        signature = approval_of(asked.payload, connection.member, key)["signature"]
        after = desk.approve(connection.cid, connection.member, key, name, signature)
    if as_json:
        typer.echo(json.dumps({"ok": True, **_facts(after)}, ensure_ascii=False))
    else:
        _show(after, words=False)


def renew(
    home: Home,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make another TLS key too: the present one is lost or may be known.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and renew whenever it is due, until SIGTERM.")] = False,
    as_json: Json = False,
) -> None:
    """Renew this member's TLS certificate if two thirds of its life are over or it is revoked; otherwise do nothing.

    A renewal with --new-key that was cut off is finished.

    With --watch it also finishes joining when the member has been admitted.
    """
    from clients.renewal import renew as renew_certificate

    if watch:
        _watch(home)
        return
    at = renew_certificate(home, time.time, new_key=new_key)
    if as_json:
        typer.echo(json.dumps({"ok": True, "renewed": at.done, "due_s": int(at.due_s), "until_s": int(at.until_s)}))
        return
    typer.echo(f"{'Renewed' if at.done else 'Nothing is due'}; it holds until {_day(at.until_s)}.")
    if not at.done:
        typer.echo(f"It is renewed from {_day(at.due_s)} on.")


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
        with _desk(home) as desk:
            standing = wait(home, desk, wait_s=wait_s, monotonic=time.monotonic, sleep=time.sleep, say=_tell)
        _require_founding(standing.origin, list(standing.founding), founding)
        done = complete(home, standing, lambda checked: _mirror(home, checked))
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
        counts = {task: _count(text) for task, text in _settled(given["units"], terms, "--units").items()}
        data = {task: _table(path) for task, path in _settled(given["data"], terms, "--data").items()}
        _confirm_trust(invite, terms, fingerprint, yes, as_json)
        if (counts or data) and (home / FIRM_CONFIG).exists():
            _tell(f"{home / FIRM_CONFIG} is there already: --units and --data change nothing in it; edit it")
        standing = ask(home, invite, terms, desk, counts, data)
    return str(standing.phase)


def _confirm_trust(invite: Invite, terms: Terms, fingerprint: str, yes: bool, as_json: bool) -> None:
    from clients.enrolment.errors import OtherConsortium

    tasks = ", ".join(task.name for task in terms.policy.task) or "none yet"
    _tell(f"{terms.policy.name} ({invite.cid}) invites {invite.member}, the {invite.kind} {invite.name!r}.")
    _tell(f"  join desk       {invite.desk}")
    _tell(f"  CA fingerprint  {grouped(invite.fingerprint)}")
    _tell(f"  policy          {grouped(invite.policy.hex())}")
    _tell(f"  cohorts of at least {terms.policy.min_cohort} firms; tasks: {tasks}")
    if fingerprint:
        if _bare(fingerprint) != invite.fingerprint:
            raise OtherConsortium(
                f"the invite's CA has the fingerprint {grouped(invite.fingerprint)}, not {fingerprint}; "
                "it is not from whom you think: do not use it"
            )
        return
    question = "Is this the fingerprint that the coordinator's operator told you by another way?"
    _confirm(question, yes=yes, as_json=as_json, instead="--fingerprint HEX, or --yes")


def _confirm(question: str, *, yes: bool, as_json: bool, instead: str) -> None:
    """Let the person at the terminal decide; leave with exit code 1 if it is a no."""
    from clients.enrolment.errors import NotConfirmed

    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise NotConfirmed(f"nobody is here to be asked; compare what is shown, then add {instead}")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


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


def _mirror(home: Path, checked: Any) -> Any:
    from clients.connection import load_connection
    from clients.enrolment.mirroring import mirror_ledger

    at = load_connection(home)
    _tell(f"fetching the ledger {checked.origin} from {checked.address}, to check it from its first entry")
    return mirror_ledger(home, at.member, at.cid, checked.address, checked.vkey, checked.fingerprint, time.time)


def _answer_asked(home: Path, phase: str, as_json: bool) -> None:
    connection, key = _member(home)
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


def _member(home: Path) -> tuple[Connection, Any]:
    from clients.connection import load_connection
    from clients.homes import SIGNING_KEY
    from ledger.keys import SigningKey

    return load_connection(home), SigningKey.load(home / SIGNING_KEY)


def _desk(home: Path) -> DeskClient:
    from clients.renewal import desk_of

    return desk_of(home, time.time)


def _watch(home: Path) -> None:
    import signal
    import threading

    from clients.coordinator_view import say_release
    from clients.renewal import keep_renewed

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def pause(wait_s: float) -> bool:
        return not stop.wait(wait_s)

    keep_renewed(home, time.time, pause, _tell, lambda: _finish(home), lambda: say_release(home, time.time))


def _finish(home: Path) -> bool:
    """Make the home whole if it has been admitted; says whether it is."""
    from clients.joining import complete, joined, look

    if joined(home) is not None:
        return True
    with _desk(home) as desk:
        standing = look(home, desk)
    if standing.phase != "enrolled":
        return False
    done = complete(home, standing, lambda checked: _mirror(home, checked))
    _tell(f"{done.connection.member} is a member of {done.connection.cid}; founding fingerprint {done.fingerprint}")
    return True


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


def _by_task(given: list[str] | None, option: str) -> dict[str, str]:
    """Values by task; the empty name stands for the only task."""
    from clients.enrolment.errors import BadInvite

    found: dict[str, str] = {}
    for text in given or ():
        task, equals, value = text.partition("=")
        name, value = (task, value) if equals else ("", text)
        if name in found:
            raise BadInvite(f"{option}: {name or 'a value'} is given twice")
        found[name] = value
    return found


def _settled(given: Mapping[str, str], terms: Terms, option: str) -> dict[str, str]:
    from clients.enrolment.errors import BadInvite

    names = [task.name for task in terms.policy.task]
    if "" in given and len(names) != 1:
        raise BadInvite(f"{option}: say for which task, as TASK=VALUE; there are: {', '.join(names) or 'none'}")
    settled = {name or names[0]: value for name, value in given.items()}
    unknown = [name for name in settled if name not in names]
    if unknown:
        raise BadInvite(f"{option}: the consortium has no task {unknown[0]!r}; there are: {', '.join(names) or 'none'}")
    return settled


def _count(text: str) -> int:
    from clients.enrolment.errors import BadInvite

    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise BadInvite(f"--units {text}: give a whole number, at least 1, such as --units credit=2400")
    return int(text)


def _table(path: str) -> str:
    """A table as firm.toml names it, whose own paths begin at the home and not where this command is given."""
    from clients.enrolment.errors import BadInvite
    from clients.table_files import READABLE

    if not Path(path).is_file():
        raise BadInvite(f"--data {path}: no such file; leave it out to write it into firm.toml later")
    if not path.lower().endswith(READABLE):
        raise BadInvite(f"--data {path}: not a table that is read, which is one of {', '.join(READABLE)}")
    return str(Path(path).absolute())


def _bare(fingerprint: str) -> str:
    return "".join(letter for letter in fingerprint.lower() if letter in "0123456789abcdef")


def _day(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment_s))


def _tell(line: str) -> None:
    typer.echo(printable(line), err=True)
