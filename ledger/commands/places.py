"""Where a command finds the ledger: a home, a database, or the service at an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import UsageError, read

if TYPE_CHECKING:
    from ledger.policy import Policy
    from ledger.rules import State
    from ledger.store import Store

Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="ARTESIAN_HOME", help="Home directory of the organisation."),
]
OwnHome = Annotated[
    Path,
    typer.Option("--home", envvar="ARTESIAN_HOME", help="Home directory of the organisation."),
]
Database = Annotated[
    str | None, typer.Option("--db", help="The ledger's database, a file or a URL, instead of a home.")
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="Trust policy (C2SP tlog-policy); default: the home's.")
]


def database(home: Path | None, db: str | None) -> str:
    """The database that the options name.

    Raises:
        UsageError, HomeError: none.
    """
    from ledger.homes import database_of

    if db is not None:
        return db
    if home is None:
        raise UsageError("give --home (or set ARTESIAN_HOME), or --db with the ledger's database")
    return database_of(home)


def policy_file(home: Path | None, policy: Path | None) -> Path:
    """The trust policy's file that the options name.

    Raises:
        UsageError: none.
    """
    from ledger.homes import POLICY

    if policy is not None:
        return policy
    if home is None:
        raise UsageError("give --policy with the trust policy's file")
    return home / POLICY


def load_policy(path: Path) -> Policy:
    """Read a trust policy.

    Raises:
        UsageError, PolicyError: it cannot be read.
    """
    from ledger.policy import Policy

    try:
        return Policy.parse(read(path).decode())
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the policy is not text in UTF-8") from None


@contextmanager
def reading(location: str) -> Iterator[Store]:
    """The tables of a ledger or a mirror, to look at and not to change."""
    from ledger.store import Store

    store = Store(location, read_only="://" not in location)
    try:
        yield store
    finally:
        store.close()


@dataclass(frozen=True)
class Standing:
    """Where a stored ledger stands.

    Attributes:
        origin: the log's name.
        state: what the rules make of its entries.
    """

    origin: str
    state: State


def standing(location: str) -> Standing:
    """Replay a stored ledger or mirror.

    Raises:
        Damaged: it is not what was written.
    """
    from ledger.note import Vkey
    from ledger.replay import replay

    with reading(location) as store:
        meta = store.meta()
        log = Vkey.parse(meta["vkey"])
        end = replay(store, meta["cid"], log, verify_all=True, at_checkpoint=lambda _: None)
    return Standing(meta["origin"], end.state)
