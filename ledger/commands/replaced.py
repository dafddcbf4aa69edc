"""Whether the members have handed a sequencer's log over to another one, as copies or its own home's mirror show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.commands.copying import copy_of
from ledger.commands.places import Standing, database, mirror_standing, reading, standing
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.rules import LogKey


class Replaced(LedgerError):
    """The log goes on elsewhere: this sequencer must not serve it."""

    exit_code = 1


def successor_of(home: Path, copies: Sequence[str]) -> tuple[Standing, LogKey | None]:
    """Where the home's ledger stands, and the key under which it goes on elsewhere by what any of the copies shows.

    Args:
        copies: exported folders, homes or databases; the home's own mirror, if it keeps one, is asked in any case.

    Raises:
        WitnessRefusal, Misbehaviour: a copy is of another log.
    """
    from ledger.handover import successor, successor_in
    from ledger.note import Vkey

    at, own = standing(home), mirror_standing(home)
    after = None if own is None else successor_in(at.state, own.state, own.settled)
    with reading(database(home, None)) as store:
        founded = Vkey.parse(store.meta()["vkey"])
    for copy in copies:
        with copy_of(copy) as source:
            after = after or successor(at.state, source, founded)
    return at, after


def require_not_replaced(home: Path, copies: Sequence[str]) -> None:
    """Raise `Replaced` if the members have handed the home's log over, as far as can be known here."""
    from ledger.homes import MIRROR

    if copies or (home / MIRROR).is_file():
        _, after = successor_of(home, copies)
        if after is not None:
            raise Replaced(" ".join(replaced_words(home, after)))


def replaced_words(home: Path, after: LogKey) -> list[str]:
    """That the log has gone on elsewhere, and what its operator does with the home."""
    from ledger.homes import LEDGER, SETTINGS, Settings

    old = f"mv {home / LEDGER} {home}/replaced.db"
    if "://" in Settings.load(home).database:
        old = f"take the line 'database' out of {home / SETTINGS}"
    return [
        f"The log goes on elsewhere since entry {after.since}, under the key {after.key.fingerprint}: "
        "this sequencer must not serve.",
        f"To keep a mirror here instead: {old}; artesian ledger mirror COPY --home {home}; "
        f"artesian ledger policy --home {home} --write",
    ]
