"""Which release of the program each member says that it runs: a row each in `server.store`."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from server.store import PREFIX, Part, StateStore

AGAIN_S = 600
"""How old a note may become before the same release is noted again: each is a write."""

_METADATA = sa.MetaData()
_HEARD = sa.Table(
    f"{PREFIX}heard",
    _METADATA,
    sa.Column("member", sa.Text, primary_key=True),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("heard_s", sa.BigInteger, nullable=False),
)
_PART = Part("heard", _METADATA)


@dataclass(frozen=True)
class Heard:
    """What a member said of itself, and when it last did, in seconds since 1970."""

    member: str
    release: str
    heard_s: int


def hear(store: StateStore, said: Heard) -> None:
    """Note what a member says.

    Raises:
        StateUnusable: it cannot be written.
    """
    known = heard(store).get(said.member)
    if known is not None and known.release == said.release and said.heard_s < known.heard_s + AGAIN_S:
        return
    with store.write(_PART) as at:
        at.execute(sa.delete(_HEARD).where(_HEARD.c.member == said.member))
        at.execute(sa.insert(_HEARD).values(**vars(said)))


def heard(store: StateStore) -> dict[str, Heard]:
    """What members have said, by member.

    Raises:
        StateUnusable: it cannot be read.
    """
    with store.read(_PART) as at:
        rows = at.execute(sa.select(_HEARD).order_by(_HEARD.c.member)).mappings()
        return {row["member"]: Heard(**row) for row in rows}
