"""Where a command finds the ledger: a home, a database, or the service at an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import UsageError, read
from ledger.commands.progress import progress

if TYPE_CHECKING:
    from ledger.electorate import Membership
    from ledger.keys import PublicKey
    from ledger.policy import Policy
    from ledger.replay import Replayed
    from ledger.rules import State
    from ledger.snapshot import Snapshot
    from ledger.store import Store
    from ledger.tiles import RightEdge

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


def ledger_of(home: Path) -> str:
    """The database that the home's sequencer writes.

    Raises:
        UsageError: the home has a mirror only, or nothing.
    """
    from ledger.homes import MIRROR, NoLedger, database_of

    mend = f"give the sequencer's --home, or rebuild its ledger with: artesian ledger restore COPY --home {home}"
    try:
        location = database_of(home)
    except NoLedger:
        raise UsageError(f"{home}: holds no ledger; {mend}") from None
    if "://" not in location and Path(location).name == MIRROR:
        raise UsageError(f"{home}: holds a mirror, and no ledger that it sequences; {mend}")
    return location


def policy_file(home: Path | None, policy: Path | None) -> Path:
    """The trust policy's file that the options name.

    Raises:
        UsageError: none.
    """
    from ledger.homes import POLICY

    if policy is not None:
        return policy
    if home is None:
        raise UsageError("give --home (or set ARTESIAN_HOME), or --policy with the trust policy's file")
    return home / POLICY


def load_policy(path: Path) -> Policy:
    """Read a trust policy.

    Raises:
        UsageError: it cannot be read.
    """
    from ledger.homes import POLICY
    from ledger.policy import Policy, PolicyError

    if path.name == POLICY and path.parent.is_dir() and not path.exists():
        raise UsageError(
            f"{path}: is not there yet; start the witness first: artesian ledger witness; or give --policy"
        )
    try:
        return Policy.parse(read(path).decode())
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the policy is not text in UTF-8") from None
    except PolicyError as error:
        raise UsageError(f"{path}: {error}") from None


def cid_of(home: Path) -> str:
    """The consortium's id, as the home remembers it or its database says.

    Raises:
        UsageError: neither is there.
    """
    from ledger.homes import HomeError, Settings, database_of

    known = Settings.load(home).cid
    if known:
        return known
    try:
        location = database_of(home)
    except HomeError:
        raise UsageError(f"{home}: knows no ledger yet; start its witness first: artesian ledger witness") from None
    with reading(location) as store:
        return store.meta()["cid"]


def mirrored(home: Path, entry: int) -> bytes:
    """An entry of the member's own mirror: what the service says of one is not to be signed or believed.

    Raises:
        UsageError: the mirror does not reach it.
    """
    from ledger.homes import MIRROR

    if (home / MIRROR).is_file():
        with reading(str(home / MIRROR)) as store:
            if entry < store.size():
                return store.entries(entry, entry + 1)[0]
    raise UsageError(f"{home}: entry {entry} is not in the mirror yet; let the witness catch up")


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
        final_size: how many of them are final, by the memberships that the entries make.
        settled: who belongs by what is final: of others no policy may be handed out.
        founding: the founding fingerprint.
    """

    origin: str
    state: State
    final_size: int
    settled: Membership
    founding: str


def standing(home: Path | None, db: str | None = None) -> Standing:
    """Where the ledger or mirror that the options name stands, recomputed from its bytes.

    A database that was named by itself may be a stranger's: every signature in it is checked, and no snapshot believed.

    Raises:
        Damaged: it is not what was written.
        WrongFounding, CheckpointError: its founding is not complete.
    """
    return _standing_of(database(home, db), home if db is None else None)


def mirror_standing(home: Path) -> Standing | None:
    """Where the home's own mirror stands, also beside a ledger that the home sequences; None if it keeps none.

    Raises:
        Damaged: it is not what was written.
    """
    from ledger.homes import MIRROR

    path = home / MIRROR
    return _standing_of(str(path), home) if path.is_file() else None


def _standing_of(location: str, home: Path | None) -> Standing:
    """Where the database at `location` stands; without the `home` whose own it is, nothing in it is believed."""
    from ledger.checkpoint_book import CheckpointBook
    from ledger.founding import read_founding
    from ledger.merkle import root_at
    from ledger.note import Vkey
    from ledger.replay import replay
    from ledger.startup import resume
    from ledger.tiles import TileReader

    with reading(location) as store, progress("replaying") as at:
        meta, size = store.meta(), store.size()
        book, log = CheckpointBook(store, meta["origin"]), Vkey.parse(meta["vkey"])

        def at_entry(done: Replayed) -> None:
            book.pass_entry(done.state)
            if done.state.size % 1024 == 0:
                at(done.state.size, size)

        def at_checkpoint(done: Replayed) -> None:
            book.pass_checkpoint(done.state.size)

        def at_snapshot(snapshot: Snapshot, edge: RightEdge) -> None:
            fetch = TileReader(store.tile).fetch(edge)
            book.restore(snapshot.notes, lambda known: root_at(known, fetch))

        if home is None:
            end = replay(store, meta["cid"], log, verify_all=True, at_checkpoint=at_checkpoint, at_entry=at_entry)
        else:
            seal, told = _seal(home, location), {"at_entry": at_entry, "at_checkpoint": at_checkpoint}
            end = resume(store, meta["cid"], log, seal, at_snapshot=at_snapshot, **told)
        book.settle()
        found = read_founding(meta["origin"], store.entries, size)
        return Standing(meta["origin"], end.state, book.final_size, book.settled, found.fingerprint)


def _seal(home: Path, location: str) -> PublicKey | None:
    """The key under which the home's own process seals its snapshots: the log's, or a witness's."""
    from ledger.homes import MIRROR, SIGNING_KEY, log_key_of
    from ledger.keys import SigningKey

    path = home / SIGNING_KEY if Path(location).name == MIRROR else log_key_of(home)
    return SigningKey.load(path).public.ed25519 if path.is_file() else None
