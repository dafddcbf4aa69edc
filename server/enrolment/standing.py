"""How a request to be enrolled stands, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass

from clients.enrolment.errors import SUSPENDED, NotAdmitted
from ledger.keys import PublicKey
from server.enrolment.admission import Admission
from server.enrolment.book import Asked


@dataclass(frozen=True)
class RequestStanding:
    """How a request stands.

    Attributes:
        phase: asked, admitted, proposed, enrolled or suspended.
        detail: what is waited for, for people.
        certificate: PEM, from enrolled on.
        origin, founding: the log's name and its founding entries, from enrolled on.
    """

    phase: str
    detail: str
    certificate: bytes = b""
    origin: str = ""
    founding: tuple[bytes, ...] = ()


def standing_of(admission: Admission, member: str, key: PublicKey) -> RequestStanding:
    """How the request of a member, or of who wants to be one, stands.

    Args:
        key: the signing key that it has shown to hold.

    Raises:
        NotAdmitted: it is suspended.
    """
    admission.follow()
    state, asked = admission.ledger.state(), admission.book.asked(member)
    if state is None:
        missing = admission.missing()
        if asked is None or not asked.admitted:
            return RequestStanding("asked", "the coordinator's operator has not admitted it yet")
        return RequestStanding(
            "admitted", f"the ledger is founded when all founders are there; missing: {_names(missing)}"
        )
    known = state.members.get(member)
    if known is not None and not known.active and not _asks_again(admission, asked):
        raise NotAdmitted(f"{member!r} {SUSPENDED}")
    if known is not None and known.active and known.key == key:
        origin, founding = admission.ledger.founding_entries()
        return RequestStanding("enrolled", "", admission.issuing.present(member), origin, tuple(founding))
    if asked is None or not asked.admitted:
        return RequestStanding("asked", "the coordinator's operator has not admitted it yet")
    return RequestStanding("proposed", _approvals(admission, member))


def _asks_again(admission: Admission, asked: Asked | None) -> bool:
    """Whether a member that was suspended has a request that came later: not admitted yet, or still proposed."""
    if asked is None or not asked.admitted:
        return asked is not None
    name = f"enrol-{asked.member}"
    return any(one.name == name and not one.placed for one in admission.book.proposals())


def _approvals(admission: Admission, member: str) -> str:
    for facts in admission.proposing.all():
        if facts.proposed.name == f"enrol-{member}":
            if facts.proposed.refused:
                return f"the ledger refuses it: {facts.proposed.refused}; tell the coordinator"
            given = _names(facts.approved)
            return f"{len(facts.approved)} of {facts.needed} members that must approve have done so ({given})"
    return "the coordinator has to propose it again: artesian coordinator admit"


def _names(members: list[str]) -> str:
    return ", ".join(members) or "none"
