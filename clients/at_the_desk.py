"""What a member's commands at the join desk share: its key, a connection, a person's yes, and a word meanwhile."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.plain_text import printable

if TYPE_CHECKING:
    from clients.connection import Connection
    from clients.enrolment.desk_client import DeskClient
    from clients.joining import Checked
    from ledger.keys import SigningKey
    from ledger.rules import State

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The member's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def member_of(home: Path) -> tuple[Connection, SigningKey]:
    """Whose home it is, and the key that it signs with.

    Raises:
        ConnectionInvalid, KeyFileError: it has not joined, or cannot be read.
    """
    from clients.connection import load_connection
    from clients.homes import SIGNING_KEY
    from ledger.keys import SigningKey

    return load_connection(home), SigningKey.load(home / SIGNING_KEY)


def desk_of_home(home: Path) -> DeskClient:
    """A connection to the join desk that the home has asked."""
    from clients.renewal import desk_of

    return desk_of(home, time.time)


def confirm(question: str, *, yes: bool, as_json: bool, instead: str) -> None:
    """Let the person at the terminal decide; leave with exit code 1 if it is a no."""
    from clients.enrolment.errors import NotConfirmed

    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise NotConfirmed(f"nobody is here to be asked; compare what is shown, then add {instead}")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def mirrored(home: Path, checked: Checked) -> State:
    """Fetch the ledger into the home's own mirror and check it from its first entry; its state."""
    from clients.connection import load_connection
    from clients.enrolment.mirroring import mirror_ledger

    at = load_connection(home)
    tell(f"fetching the ledger {checked.origin} from {checked.address}, to check it from its first entry")
    return mirror_ledger(home, at.member, at.cid, checked.address, checked.vkey, checked.fingerprint, time.time)


def tell(line: str) -> None:
    """Say something to the person who waits, of others' words only what can be printed."""
    typer.echo(printable(line), err=True)
