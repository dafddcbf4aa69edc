"""`artesian ledger export`, `mirror`, `backup`: the whole ledger, carried elsewhere and rebuilt there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering
from ledger.commands.connecting import Authority, connected
from ledger.commands.places import Database, Home, database, load_policy, policy_file, reading
from ledger.commands.progress import progress
from ledger.commands.speaking import speaker

if TYPE_CHECKING:
    from ledger.export import Exported
    from ledger.founding import Founding
    from ledger.keys import SigningKey
    from ledger.policy import Policy
    from ledger.source import Copy, Source


def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write; run again, it gets what is new.")],
    home: Home = None,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole ledger as plain files: entries, tiles, checkpoints with their cosignatures."""
    from ledger.export import export as write_copy

    with answering(as_json):
        with reading(database(home, db)) as store:
            written = write_copy(store, folder)
            beyond = store.size() - written.size
        facts = {"ok": True, "folder": str(folder), "size": written.size, "new": written.new, "files": written.files}
        facts["without_checkpoint"] = beyond
        words = [
            f"{folder}: {written.size} entries, {written.new} of them new. Anyone rebuilds the ledger from it with:",
            f"  artesian ledger mirror {folder} --out mirror.db --founding ...",
        ]
        if beyond:
            words.append(f"{beyond} more have no checkpoint yet and are left out: start serve, which signs one, first.")
        answer(facts, words, as_json)


def mirror(
    source: Annotated[str, typer.Argument(help="An exported folder, a home, a database, or HOST:PORT of the service.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The mirror's database; default: this member's own mirror, in --home.")
    ] = None,
    founding: Annotated[str, typer.Option(help="The founding fingerprint that the ledger must have.")] = "",
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Trust policy under which its newest final checkpoint must hold.")
    ] = None,
    home: Home = None,
    ca: Authority = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild the whole ledger from a copy that nobody needs to believe: every hash, signature and rule is checked.

    A mirror that is there is brought up to date.
    """
    from ledger.homes import MIRROR, Settings

    with answering(as_json):
        own = None
        if out is not None and ":/" in str(out):  # a path folds the two strokes of a URL
            raise UsageError(f"--out {out}: a mirror is made in a file; give a file's name")
        if out is None:
            if home is None:
                raise UsageError("give --out with the mirror's database, or --home to rebuild this member's own")
            out, own, founding = home / MIRROR, speaker(home), founding or Settings.load(home).founding
        if not founding and policy is None:
            raise UsageError("give --founding or --policy: without either, any log would do")
        trusted = None if policy is None else load_policy(policy)
        with _source(source, home, ca) as copy:
            found = founding_in(copy)
            if founding:
                found.require(founding)
            size, final_size = _build(out, found, copy, trusted, own)
        facts = {
            "ok": True,
            "origin": found.log.name,
            "cid": found.cid,
            "founding": found.fingerprint,
            "size": size,
            "final_size": final_size,
            "out": str(out),
        }
        words = [
            f"{out}: {size} entries of {found.log.name} rebuilt and checked, {final_size} of them final.",
            f"Founding fingerprint: {found.fingerprint}",
        ]
        answer(facts, words, as_json)


def backup(
    file: Annotated[Path, typer.Argument(help="File to write, which must not exist yet.")],
    home: Home = None,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Copy a ledger's or a mirror's database while it is in use. Keys are not in it."""
    with answering(as_json):
        if file.exists():
            raise UsageError(f"{file}: is there already; choose another name")
        with reading(database(home, db)) as store:
            store.backup(file)
        with reading(str(file)) as copy:
            size = copy.size()
        trusted = "policy.txt" if home is None else str(policy_file(home, None))
        facts = {"ok": True, "file": str(file), "size": size}
        words = [
            f"{file}: {size} entries.",
            f"Check it: artesian ledger audit --db {file} --policy {trusted}",
            "To restore, stop the service, put the file in the database's place, and start with --at-least and the",
            "largest size that any witness has cosigned: an older copy would fork the history.",
        ]
        answer(facts, words, as_json)


def _build(
    out: Path, found: Founding, copy: Copy, trusted: Policy | None, own: tuple[str, SigningKey] | None
) -> tuple[int, int]:
    """Fill the mirror at `out`, or a new one that gets this name when it holds; its size and its final size."""
    fresh = not out.exists()
    target = out.with_name(f".{out.name}.{os.urandom(6).hex()}") if fresh else out
    try:
        if fresh:
            _touch(target, out)
        sizes = _fill(target, found, copy, trusted, own)
        if fresh:
            os.replace(target, out)
    finally:
        if fresh:
            for left in out.parent.glob(f"{target.name}*"):
                left.unlink()
    return sizes


def _touch(target: Path, out: Path) -> None:
    """Raise `UsageError` when nothing can be written where `out` is to be, by the name that the user gave."""
    try:
        target.touch(mode=0o600)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {os.strerror(error.errno or 0)}") from None


def _fill(
    target: Path, found: Founding, copy: Copy, trusted: Policy | None, own: tuple[str, SigningKey] | None
) -> tuple[int, int]:
    from ledger.checkpoint import SignedCheckpoint, verify_final
    from ledger.mirror import Mirror

    name, seal = own or ("", None)
    total = SignedCheckpoint.parse(copy.checkpoint()).checkpoint.size
    with (
        progress("mirroring") as at,
        Mirror(target, found.log, found.cid, founding=found.fingerprint, member=name, seal=seal) as made,
    ):
        told = _Told(copy, lambda done: at(done, total))
        made.rebuild(told)
        if trusted is not None:
            verify_final(made.final() or made.checkpoint(), trusted)
        return made.size, made.final_size


class _Told:
    """A source that tells how far it has been read."""

    def __init__(self, source: Copy, tell: Callable[[int], None]) -> None:
        self._source = source
        self._tell = tell
        self.checkpoint, self.final, self.notes = source.checkpoint, source.final, source.notes
        self.consistency = source.consistency

    def entries(self, start: int, end: int) -> list[bytes]:
        self._tell(end)
        return self._source.entries(start, end)


def founding_in(copy: Source) -> Founding:
    """The founding of the log that a copy is of; nothing else of the copy is checked."""
    from ledger.checkpoint import SignedCheckpoint
    from ledger.founding import read_founding

    point = SignedCheckpoint.parse(copy.checkpoint()).checkpoint
    return read_founding(point.origin, copy.entries, point.size)


@contextmanager
def copy_of(where: str) -> Iterator[Exported]:
    """A copy to read: an exported folder, or a home's or a database's ledger as it is now.

    Raises:
        UsageError: `where` is none of them.
    """
    from ledger.export import Exported
    from ledger.export import export as write_copy

    path = Path(where)
    if (path / "checkpoint").is_file():
        yield Exported(path)
    elif path.exists() or "://" in where:
        location = _database_in(path) if path.is_dir() else where
        with tempfile.TemporaryDirectory(prefix="artesian-mirror-") as folder:
            with reading(location) as store:
                write_copy(store, folder)
            yield Exported(folder)
    else:
        raise UsageError(f"{where}: there is no such folder or database")


def _database_in(folder: Path) -> str:
    """The database of the ledger or the mirror in a home.

    Raises:
        UsageError: there is none.
    """
    from ledger.homes import LEDGER, MIRROR, NoLedger

    try:
        return database(folder, None)
    except NoLedger:
        raise UsageError(
            f"{folder}: holds no copy of a ledger: no export's checkpoint, no {LEDGER} and no {MIRROR}; "
            "name an exported folder, a home or a database"
        ) from None


@contextmanager
def _source(where: str, home: Path | None, ca: Path | None) -> Iterator[Copy]:
    """A copy, or the service at HOST:PORT."""
    if Path(where).exists() or "://" in where or ":" not in where:
        with copy_of(where) as copy:
            yield copy
        return
    if home is None:
        raise UsageError("give --home: the service shows entries to members, in whose name you must ask")
    with connected(where, home, ca, speaker(home)) as client:
        yield client
