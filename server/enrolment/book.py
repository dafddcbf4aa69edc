"""`enrolment.db`: who was invited, who asked, which certificates were issued, what is proposed; a transaction each.

The desk's process and the operator's commands use it at once. Tokens are kept by their SHA-256 only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from server.enrolment.enrolment_tables import CERTIFICATES, INVITES, NODES, PART, PROPOSALS, REQUESTS
from server.errors import ServerError
from server.store import StateStore

ENROLMENT = "enrolment.db"


class NoSuchRequest(ServerError):
    """Nobody of this name has asked, or been invited."""


@dataclass(frozen=True)
class Invited:
    """An invite that was made.

    Attributes:
        used_by: the signing key of who used it; None while nobody has.
    """

    token_sha256: bytes
    member: str
    kind: str
    name: str
    until_s: int
    used_by: bytes | None
    withdrawn: bool


@dataclass(frozen=True)
class Asked:
    """A request to be enrolled, as it was signed.

    Attributes:
        key: the signing key's bytes.
        csr: signing request (PEM) for the TLS certificate.
        node_key: OpenSSH public key of the SuperNode; empty for a bank.
        admitted: the operator has said yes.
    """

    member: str
    kind: str
    name: str
    key: bytes
    csr: bytes
    node_key: bytes
    asked_s: int
    admitted: bool = False


@dataclass(frozen=True)
class Issued:
    """A certificate that was issued; `serial` in hexadecimal.

    Attributes:
        revoked_s: since when the operator, or a suspension, has it refused: for its key there is no other.
        superseded_s: when it ends because another took its place: its key is as good as before.
    """

    serial: str
    member: str
    pem: bytes
    issued_s: int
    until_s: int
    revoked_s: int | None = None
    superseded_s: int | None = None

    @property
    def ends_s(self) -> int | None:
        """From when on it is refused though it has not run out; None for never."""
        ends = [at for at in (self.revoked_s, self.superseded_s) if at is not None]
        return min(ends) if ends else None


@dataclass(frozen=True)
class NodeKey:
    """Whether a SuperNode's key should be registered, and whether Flower has been told so.

    Attributes:
        refused: why Flower did not take it; empty while it has not said no.
    """

    member: str
    public_key: bytes
    wanted: bool
    applied: bool
    refused: str = ""


@dataclass(frozen=True)
class Proposed:
    """A proposal that members are asked to approve.

    Attributes:
        placed: it is on the ledger.
        refused: why the ledger does not take it; empty while it has not said no.
    """

    name: str
    proposal: bytes
    made_s: int
    placed: bool
    refused: str = ""


Outcome = Literal["taken", "known", "unknown token", "expired", "withdrawn", "used", "other member", "standing"]


class EnrolmentBook:
    """The tables. Threads and processes may share them."""

    def __init__(self, home: Path | None) -> None:
        """Open the book of a coordinator's home, or one in memory.

        Raises:
            StateUnusable: it cannot be opened.
        """
        self._store = StateStore(None if home is None else home / ENROLMENT)

    def close(self) -> None:
        """Give the file back."""
        self._store.close()

    def __enter__(self) -> EnrolmentBook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def invite(self, invited: Invited) -> None:
        """Keep an invite; those before it for the same member that nobody used are withdrawn."""
        with self._store.write(PART) as at:
            mine = (INVITES.c.member == invited.member) & INVITES.c.used_by.is_(None)
            at.execute(sa.update(INVITES).where(mine).values(withdrawn=True))
            at.execute(sa.insert(INVITES).values(**vars(invited)))

    def withdraw(self, member: str) -> int:
        """Withdraw a member's invites and a request that is not admitted yet; says how many there were."""
        with self._store.write(PART) as at:
            live = (INVITES.c.member == member) & ~INVITES.c.withdrawn
            count = at.execute(sa.update(INVITES).where(live).values(withdrawn=True)).rowcount
            waiting = (REQUESTS.c.member == member) & ~REQUESTS.c.admitted
            return int(count + at.execute(sa.delete(REQUESTS).where(waiting)).rowcount)

    def invites(self) -> list[Invited]:
        """All, by member."""
        return [Invited(**row) for row in self._rows(sa.select(INVITES).order_by(INVITES.c.member))]

    def invited(self, token_sha256: bytes) -> Invited | None:
        """The invite with this token."""
        found = self._rows(sa.select(INVITES).where(INVITES.c.token_sha256 == token_sha256))
        return Invited(**found[0]) if found else None

    def ask(self, asked: Asked, token_sha256: bytes) -> Outcome:
        """Take a request and its token, both or neither; the same request by the same key is `known`."""
        with self._store.write(PART) as at:
            row = at.execute(sa.select(INVITES).where(INVITES.c.token_sha256 == token_sha256)).mappings().first()
            if row is None:
                return "unknown token"
            invited = Invited(**row)
            if (invited.member, invited.kind, invited.name) != (asked.member, asked.kind, asked.name):
                return "other member"
            if invited.withdrawn:
                return "withdrawn"
            if invited.used_by is not None:
                return "known" if invited.used_by == asked.key else "used"
            if asked.asked_s > invited.until_s:
                return "expired"
            standing = at.execute(sa.select(REQUESTS).where(REQUESTS.c.member == asked.member)).mappings().first()
            if standing is not None and not standing["admitted"] and standing["key"] != asked.key:
                return "standing"  # the operator may be looking at it
            mine = INVITES.c.token_sha256 == token_sha256
            at.execute(sa.update(INVITES).where(mine).values(used_by=asked.key))
            at.execute(sa.delete(REQUESTS).where(REQUESTS.c.member == asked.member))
            at.execute(sa.insert(REQUESTS).values(**vars(asked)))
            return "taken"

    def awaited(self) -> list[str]:
        """Who is invited, and has not been admitted yet."""
        live = {one.member for one in self.invites() if not one.withdrawn}
        return sorted(live - {one.member for one in self.requests() if one.admitted})

    def requests(self) -> list[Asked]:
        """All, by member."""
        return [Asked(**row) for row in self._rows(sa.select(REQUESTS).order_by(REQUESTS.c.member))]

    def asked(self, member: str) -> Asked | None:
        """The request of a member."""
        found = self._rows(sa.select(REQUESTS).where(REQUESTS.c.member == member))
        return Asked(**found[0]) if found else None

    def admit(self, keys: Mapping[str, bytes]) -> None:
        """Note the operator's yes to these members with these signing keys: to all of them or to none.

        Raises:
            NoSuchRequest: one has not asked, or with another key.
        """
        with self._store.write(PART) as at:
            for member, key in keys.items():
                mine = (REQUESTS.c.member == member) & (REQUESTS.c.key == key)
                if not at.execute(sa.update(REQUESTS).where(mine).values(admitted=True)).rowcount:
                    raise NoSuchRequest(
                        f"{member!r} has not asked to join with this key; nobody was admitted; see: "
                        "artesian coordinator admit"
                    )

    def issued(self, issued: Issued, superseded: Mapping[str, int] | None = None) -> None:
        """Keep a certificate, and let others, by serial, hold only until a moment; one that ends before stays so."""
        with self._store.write(PART) as at:
            at.execute(sa.insert(CERTIFICATES).values(**vars(issued)))
            for from_s in sorted(set((superseded or {}).values())):
                serials = [serial for serial, end_s in (superseded or {}).items() if end_s == from_s]
                later = CERTIFICATES.c.superseded_s.is_(None) | (CERTIFICATES.c.superseded_s > from_s)
                which = sa.and_(CERTIFICATES.c.serial.in_(serials), later)
                at.execute(sa.update(CERTIFICATES).where(which).values(superseded_s=from_s))

    def certificates(self, member: str | None = None) -> list[Issued]:
        """A member's, or all, newest first."""
        query = sa.select(CERTIFICATES).order_by(CERTIFICATES.c.issued_s.desc(), CERTIFICATES.c.serial)
        rows = self._rows(query if member is None else query.where(CERTIFICATES.c.member == member))
        return [Issued(**row) for row in rows]

    def revoke(self, member: str, now_s: float) -> int:
        """Revoke every certificate of a member, so that none of their keys gets another; says how many still held."""
        with self._store.write(PART) as at:
            mine = (CERTIFICATES.c.member == member) & CERTIFICATES.c.revoked_s.is_(None)
            ended = CERTIFICATES.c.superseded_s.is_not(None) & (CERTIFICATES.c.superseded_s <= now_s)
            held = sa.and_(mine, ~ended, CERTIFICATES.c.until_s > now_s)
            count = at.scalar(sa.select(sa.func.count()).select_from(CERTIFICATES).where(held))
            at.execute(sa.update(CERTIFICATES).where(mine).values(revoked_s=int(now_s)))
            return int(count or 0)

    def want_node(self, member: str, public_key: bytes | None) -> None:
        """Have a SuperNode's key registered, or with None unregistered; nothing changes where that is so already."""
        with self._store.write(PART) as at:
            mine = NODES.c.member == member
            row = at.execute(sa.select(NODES).where(mine)).mappings().first()
            if public_key is None:
                if row is not None and row["wanted"]:
                    at.execute(sa.update(NODES).where(mine).values(wanted=False, applied=False, refused=""))
                return
            values = {"public_key": public_key, "wanted": True, "applied": False, "refused": ""}
            if row is None:
                at.execute(sa.insert(NODES).values(member=member, **values))
            elif not row["wanted"] or row["public_key"] != public_key:
                at.execute(sa.update(NODES).where(mine).values(**values))

    def nodes(self) -> list[NodeKey]:
        """All, by member."""
        return [NodeKey(**row) for row in self._rows(sa.select(NODES).order_by(NODES.c.member))]

    def node_applied(self, node: NodeKey, *, applied: bool = True, refused: str = "") -> None:
        """Note whether Flower has been told, or what it said against it; not if something else is wanted by now."""
        with self._store.write(PART) as at:
            same = (NODES.c.member == node.member) & (NODES.c.wanted == node.wanted)
            same &= NODES.c.public_key == node.public_key
            at.execute(sa.update(NODES).where(same).values(applied=applied, refused=refused))

    def propose(self, proposed: Proposed) -> None:
        """Keep a proposal, in place of one of the same name."""
        with self._store.write(PART) as at:
            at.execute(sa.delete(PROPOSALS).where(PROPOSALS.c.name == proposed.name))
            at.execute(sa.insert(PROPOSALS).values(**vars(proposed)))

    def proposals(self) -> list[Proposed]:
        """All, oldest first."""
        rows = self._rows(sa.select(PROPOSALS).order_by(PROPOSALS.c.made_s, PROPOSALS.c.name))
        return [Proposed(**row) for row in rows]

    def change_proposal(self, before: Proposed, proposal: bytes, *, placed: bool = False, refused: str = "") -> bool:
        """Replace a proposal if it is still as it was `before`; says whether it was."""
        with self._store.write(PART) as at:
            same = (PROPOSALS.c.name == before.name) & (PROPOSALS.c.proposal == before.proposal)
            same &= PROPOSALS.c.placed == before.placed
            values = {"proposal": proposal, "placed": placed, "refused": refused}
            return bool(at.execute(sa.update(PROPOSALS).where(same).values(**values)).rowcount)

    def withdraw_proposal(self, name: str) -> bool:
        """Forget a proposal that is not on the ledger; says whether there was one."""
        with self._store.write(PART) as at:
            waiting = (PROPOSALS.c.name == name) & ~PROPOSALS.c.placed
            return bool(at.execute(sa.delete(PROPOSALS).where(waiting)).rowcount)

    def _rows(self, query: sa.Select[Any]) -> list[Mapping[str, Any]]:
        with self._store.read(PART) as at:
            return [dict(row) for row in at.execute(query).mappings()]
