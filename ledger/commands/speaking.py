"""Who speaks when a command signs: the organisation of a home, with the key that the ledger knows as its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import UsageError

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from ledger.rules import State

Member = Annotated[str, typer.Option("--member", help="The member's id; default: as the home says.")]


def fresh_record(t: str, cid: str, **fields: Any) -> dict[str, Any]:
    """A record of type `t` with an id of its own and the present time."""
    from ledger.genesis import record

    return record(t, cid=cid, record_id=os.urandom(16), ts=int(time.time()), **fields)


def speaker(home: Path, member: str = "", state: State | None = None) -> tuple[str, SigningKey]:
    """The id and the signing key of a home's organisation.

    Args:
        member: its id, if the user gave one.
        state: when given, the key must be the one that the ledger knows, and an id that nobody gave is found by it.

    Raises:
        UsageError: the id is unknown, or the key is another's.
        KeyFileError: the home has no key.
    """
    from ledger.commands.places import reading
    from ledger.homes import MIRROR, SIGNING_KEY, member_of
    from ledger.keys import SigningKey
    from ledger.rules import COORDINATOR

    key, name = SigningKey.load(home / SIGNING_KEY), member or member_of(home)
    if state is not None:
        owners = {known.key.raw: known.member for known in state.members.values()}
        if state.coordinator is not None:
            owners[state.coordinator.raw] = COORDINATOR
        owner = owners.get(key.public.raw)
        if owner is None or (name and name != owner):
            raise UsageError(
                f"{home / SIGNING_KEY}: is not the key that the ledger knows of {name or 'any member'}; "
                "was it changed? see artesian ledger members"
            )
        return owner, key
    if not name and (home / MIRROR).is_file():  # a member of a federation has no ledger.toml, but its witness's mirror
        with reading(str(home / MIRROR)) as store:
            name = store.meta().get("member", "")
    if not name:
        raise UsageError(f"{home}: does not say whose it is; give --member")
    return name, key
