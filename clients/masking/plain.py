"""An update without protection, in the same messages: for simulations, tests and comparison."""

from __future__ import annotations

import hashlib

from clients.masking.contribution import Contribution, Header, check_values
from clients.masking.errors import PlanRefused
from clients.masking.ring import Integers
from clients.masking.session import Session


def expose(session: Session, me: str, values: Integers) -> Contribution:
    """Packs an update for a session whose protection is `plain`. The coordinator can read it.

    Args:
        values: int64[dimension] from the session's quantiser.

    Raises:
        PlanRefused: the session is a masked one, or `me` is not in its roster.
        ValueOutOfBounds: a value is beyond what cannot wrap, or there are not `dimension` of them.
    """
    if session.protection != "plain":
        raise PlanRefused("session: it is a masked one; an update would leave unprotected")
    if me not in session:
        raise PlanRefused(f"session: {me} is not in the roster")
    check_values(session, values)
    packed = session.ring.pack(session.ring.from_signed(values))
    header = Header(session.sid, me, hashlib.sha256(packed).digest(), b"", b"", b"")
    return Contribution(header.to_bytes(), packed, b"", {})
