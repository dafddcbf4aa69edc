"""`artesian ledger restore`: a sequencer's lost ledger, rebuilt from a copy; and which sealed bodies it lacks then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering
from ledger.commands.copying import copy_of, founding_in
from ledger.commands.places import OwnHome, database, reading
from ledger.commands.progress import progress

if TYPE_CHECKING:
    from ledger.body_census import BodyCensus
    from ledger.continuation import Body
    from ledger.store import Store

_AGAIN = "artesian ledger restore COPY --home HOME --bodies BACKUP"


def restore(
    copy: Annotated[str, typer.Argument(help="An exported folder, a member's home, a mirror's database or a backup.")],
    home: OwnHome,
    bodies: Annotated[
        str,
        typer.Option(
            "--bodies", help="Your own backup, for its sealed bodies; it may be COPY. Nobody can check another's."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Rebuild a lost ledger database in the sequencer's home from a copy, with the keys that are there.

    The copy must be the longest that any member has: going on from less would fork the history.
    """
    from ledger.continuation import continue_log
    from ledger.homes import LEDGER, Settings, log_key_of
    from ledger.keys import SigningKey

    with answering(as_json), copy_of(copy) as source:
        known, found = Settings.load(home), founding_in(source)
        if not known.founding:
            raise UsageError(f"{home}: has no ledger.toml with the founding fingerprint; what may be believed?")
        found.require(known.founding)
        place = known.database if "://" in known.database else home / (known.database or LEDGER)
        key = SigningKey.load(log_key_of(home))
        with (
            _bodies_in(bodies, found.cid) as kept,
            continue_log(place, source, key, founded=found.log, cid=found.cid, bodies=kept) as log,
        ):
            facts = {"ok": True, "origin": log.origin, "size": log.size, "final_size": log.final_size}
        census = census_of(str(place))
        words = [
            f"{home}: {facts['size']} entries of {facts['origin']} restored, {facts['final_size']} of them final.",
            "Compare the number with every member's: none may have cosigned more.",
            *lost_words(census),
            *([f"A backup of your own has some, too: {_AGAIN}"] if census.missing else []),
            *(["A body that was erased after the backup is here again: erase it again."] if census.kept else []),
        ]
        answer({**facts, "bodies": vars(census)}, words, as_json)


def census_of(location: str) -> BodyCensus:
    """Which of the bodies that a ledger's entries name are there."""
    from ledger.body_census import count_bodies

    with reading(location) as store, progress("counting bodies"):
        return count_bodies(store)


def lost_words(census: BodyCensus) -> list[str]:
    """What a ledger that was rebuilt lacks of its bodies, and how they come back; nothing if it lacks none."""
    if not census.missing:
        return []
    return [
        *census.words,
        "Each of these members brings its own back: it runs the same artesian ledger attest again.",
        "What had been erased counts as missing: artesian ledger erase keeps it from coming back.",
    ]


@contextmanager
def _bodies_in(where: str, cid: str) -> Iterator[Iterator[Body]]:
    """The bodies in the operator's own backup or database; none where none is given.

    Only what the operator vouches for: what they are sealed from is known to their parties alone, so a stranger's copy
    could bring anything, or have a body count as erased.

    Raises:
        UsageError: it is of another consortium, or is not there.
    """
    if not where:
        yield iter(())
        return
    path = Path(where)
    with reading(database(path, None) if path.is_dir() else where) as store:
        if store.meta()["cid"] != cid:
            raise UsageError(f"{where}: has the bodies of another consortium, {store.meta()['cid']}")
        yield _envelopes(store, where)


def _envelopes(store: Store, where: str) -> Iterator[Body]:
    from ledger.service.bodies import BadBody, Envelope

    for digest, envelope, owner in store.bodies():
        try:
            if envelope:
                Envelope.from_bytes(envelope)
        except BadBody:
            raise BadBody(f"{where}: the body of statement {digest.hex()} is none; use another backup") from None
        yield digest, envelope, owner
