"""A coordinator's home, its join desk in this process, and organisations that ask it: with a clock that tests turn."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clients.enrolment.invite import Invite
from clients.enrolment.signed import SignedFields
from clients.node_key import node_public_key
from ledger.keys import SigningKey
from server.certificates import request_certificate
from server.enrolment.admission import Admission
from server.enrolment.book import EnrolmentBook
from server.enrolment.desk import JoinDesk
from server.enrolment.inviting import invite_members, parse_members
from server.enrolment.issuing import Issuing
from server.enrolment.ledger_access import LedgerAccess
from server.enrolment.standing import RequestStanding
from server.initialising import Founding, initialise
from server.network import Network

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "experiments/configs/tasks/loans.toml"
FIRMS, BANK = ("firm-1", "firm-2", "firm-3"), "bank-1"
CID = "acme"
START_S = float(int(time.time()))
"""TLS has the clock of this machine, whatever the tests turn."""


@dataclass
class Clock:
    """Seconds since 1970, as tests turn it."""

    now_s: float = START_S

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Organisation:
    """Somebody with keys of its own, who signs what it sends."""

    home: Path
    invite: Invite
    key: SigningKey
    clock: Clock
    fields: dict[str, Any] = field(default_factory=dict)

    def sign(self, rpc: str, fields: dict[str, Any], key: SigningKey | None = None) -> SignedFields:
        signer, at = key or self.key, self.clock.now_s
        return SignedFields.make(rpc, CID, self.invite.member, signer, fields, now_s=at, entropy=os.urandom)

    def request(self, **other: Any) -> SignedFields:
        """What it sends to join, with some fields otherwise."""
        return self.sign("Join", {**self.fields, **other})


class JoinWorld:
    """A consortium that is being founded."""

    def __init__(self, root: Path, members: tuple[str, ...] = (*FIRMS, BANK), start_s: float = START_S) -> None:
        self.root, self.home, self.clock = root, root / "coordinator", Clock(start_s)
        self.network = Network(enrolment_port=1, ledger_port=2, fleet_port=3, scores_port=4)
        founding = Founding(CID, "Acme & friends", self.network, 3, "ed25519", (SPEC,))
        self.invites: dict[str, Invite] = {}
        initialise(self.home, founding, self.clock, lambda home: self.publish(home))
        for member in members:
            self.invite(member)
        self.book = EnrolmentBook(self.home)
        self.admission = Admission(self.home, self.book, LedgerAccess(self.home), self.clock)
        self.desk = JoinDesk(self.home, self.admission, self.clock)

    def publish(self, home: Path) -> None:
        with EnrolmentBook(home) as book:
            Issuing(home, book, self.clock).publish()

    def invite(self, member: str, life_s: float = 86_400.0) -> Invite:
        kind = "bank" if member.startswith("bank") else "firm"
        (made,) = invite_members(self.home, parse_members({kind: [member]}), life_s, self.clock)
        self.invites[member] = made.invite
        return made.invite

    def organisation(self, member: str, folder: str = "") -> Organisation:
        home, invite = self.root / (folder or member), self.invites[member]
        home.mkdir(exist_ok=True)
        path = home / "signing.pem"
        if not path.exists():
            SigningKey.generate().save(path)
        key = SigningKey.load(path)
        fields = {
            "kind": invite.kind,
            "name": invite.name,
            "key": key.public.raw,
            "csr": request_certificate(home, member),
            "node_key": node_public_key(home / "node.key") if invite.kind == "firm" else b"",
            "token_sha256": invite.token_sha256,
            "policy_sha256": invite.policy,
        }
        return Organisation(home, invite, key, self.clock, fields)

    def ask(self, member: str, folder: str = "") -> tuple[Organisation, RequestStanding]:
        one = self.organisation(member, folder)
        return one, self.desk.join(one.request(), one.invite.token)

    def found(self) -> dict[str, Organisation]:
        """Everyone who was invited asks and is admitted, and the ledger is founded."""
        everyone = {member: self.ask(member)[0] for member in self.invites}
        for member in everyone:
            self.admission.admit(member)
        assert self.admission.found() is not None
        self.admission.settle()
        return everyone

    def approval(self, one: Organisation, name: str) -> bytes:
        """The signature of an organisation over a proposal as it is now."""
        from ledger.proposal import Proposal
        from ledger.rules import approve

        proposed = next(p for p in self.book.proposals() if p.name == name)
        payload = Proposal.from_bytes(proposed.proposal).payload
        return bytes(approve(payload, one.invite.member, one.key)["signature"])

    def approve(self, one: Organisation, name: str) -> Any:
        fields = {"proposal": name, "approval": self.approval(one, name)}
        return self.desk.approve(one.sign("Approve", fields))

    def close(self) -> None:
        self.book.close()


@contextmanager
def join_world(root: Path) -> Iterator[JoinWorld]:
    world = JoinWorld(root)
    try:
        yield world
    finally:
        world.close()


def forged(invite: Invite, **other: Any) -> Invite:
    """The invite with something else in it."""
    return replace(invite, **other)
