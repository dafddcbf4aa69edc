"""The join desk's rules: who is told what, whose request is taken, and when. It knows nothing of gRPC."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from clients.certificates import BadCertificate, requested_key
from clients.enrolment.consortium import TASKS, policy_hash
from clients.enrolment.errors import NotAdmitted
from clients.enrolment.signed import BadRequest, SignedFields, public_key, require_fresh
from clients.enrolment.state import CoordinatorState
from clients.greeting import read_extension, release_of
from ledger.keys import HYBRID_PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES, PublicKey
from ledger.rules import HYBRID
from server.enrolment.admission import Admission
from server.enrolment.agreed import NotAgreed, require_on_ledger
from server.enrolment.book import Asked, Outcome
from server.enrolment.issuing import key_of
from server.enrolment.proposing import CannotAdmit, ProposalFacts
from server.heard import Heard
from server.member_view import MemberView
from server.network import load_network

MAX_CSR_BYTES = 4096
MAX_NODE_KEY_BYTES = 1024
MAX_NONCES = 100_000
JOIN_FIELDS: dict[str, type] = {
    "kind": str,
    "name": str,
    "key": bytes,
    "csr": bytes,
    "node_key": bytes,
    "token_sha256": bytes,
    "policy_sha256": bytes,
}
MEMBER_FIELDS: dict[str, dict[str, type]] = {
    "Standing": {},
    "Renew": {"csr": bytes},
    "Proposals": {},
    "Approve": {"proposal": str, "approval": bytes},
    "State": {"extension": dict},
}
"""Of the calls by members, and by those who have asked."""
_WHY: dict[Outcome, str] = {
    "unknown token": "this desk has not made this invite; ask the coordinator for one",
    "expired": "the invite has expired; ask the coordinator for another",
    "withdrawn": "the invite was withdrawn, or another took its place; ask the coordinator for the newest",
    "used": "the invite was used by another key; if that was not you, tell the coordinator at once",
    "standing": "a request with another key waits to be admitted; if it is not yours, tell the coordinator at once: "
    "it withdraws that one (artesian coordinator withdraw) and invites you again",
    "other member": "the invite is for another member, kind or name than the request",
}


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


@dataclass
class Nonces:
    """Requests that were taken once; they are remembered for as long as they would be fresh."""

    keep_s: float
    _seen: set[bytes] = field(default_factory=set)
    _order: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self, request: bytes, now_s: float) -> None:
        """Take a request.

        Raises:
            BadRequest: it was taken before, or there are too many.
        """
        while self._order and self._order[0][0] < now_s:
            self._seen.discard(self._order.popleft()[1])
        digest = hashlib.sha256(request).digest()
        if digest in self._seen:
            raise BadRequest("this very request was made before; make a new one")
        if len(self._seen) >= MAX_NONCES:
            raise BadRequest("too many requests at the moment; try again later")
        self._seen.add(digest)
        self._order.append((now_s + self.keep_s, digest))


class JoinDesk:
    """Answers for one coordinator's home. One thread at a time."""

    def __init__(self, home: Path, admission: Admission, now: Callable[[], float]) -> None:
        """Serve the consortium of `home`."""
        self._home = home
        self._admission = admission
        self._book = admission.book
        self._now = now
        self._view = MemberView(home)
        self._nonces = Nonces(keep_s=2 * 600 + 1)
        self.cid = admission.policy.cid

    def terms(self, token_sha256: bytes) -> tuple[bytes, dict[str, bytes]]:
        """The policy and the task specs, for whoever has an invite.

        Raises:
            NotAdmitted: nobody was given an invite like this.
        """
        if self._book.invited(token_sha256) is None:
            raise NotAdmitted(_WHY["unknown token"])
        self._require_agreed()
        policy = self._admission.policy
        specs = {task.name: (self._home / TASKS / f"{task.name}.toml").read_bytes() for task in policy.task}
        return self._admission.policy_file, specs

    def join(self, request: SignedFields, token: bytes) -> RequestStanding:
        """Take a request to be enrolled.

        Raises:
            NotAdmitted: it is not taken; says why.
        """
        fields = request.read("Join", self.cid, JOIN_FIELDS)
        key = public_key(fields["key"])
        request.verify(key)
        require_fresh(fields, self._now())
        if not hmac.compare_digest(hashlib.sha256(token).digest(), fields["token_sha256"]):
            raise BadRequest("the token is not the one that the request was signed for")
        self._require_agreed()
        if fields["policy_sha256"] != policy_hash(self._admission.policy_file):
            raise BadRequest("the policy has changed since the invite was made; ask the coordinator for another invite")
        self._require_keys(fields, key)
        asked = Asked(
            fields["member"],
            fields["kind"],
            fields["name"],
            fields["key"],
            fields["csr"],
            fields["node_key"],
            int(self._now()),
        )
        if self._book.invited(fields["token_sha256"]) is not None:
            self._require_admissible(asked)
        outcome = self._book.ask(asked, fields["token_sha256"])
        if outcome not in ("taken", "known"):
            raise NotAdmitted(_WHY[outcome])
        return self._standing(fields["member"], key)

    def standing(self, request: SignedFields) -> RequestStanding:
        """How the caller's request stands, and from enrolled on what it needs.

        Raises:
            NotAdmitted: it is suspended, or has not asked, or is another.
        """
        fields, key = self._from_member("Standing", request)
        return self._standing(fields["member"], key)

    def renew(self, request: SignedFields) -> bytes:
        """Another certificate (PEM) for an active member.

        Raises:
            NotAdmitted: it is none.
            KeyRevoked: not for this key.
        """
        fields, _ = self._from_member("Renew", request)
        self._require_active(fields["member"])
        if len(fields["csr"]) > MAX_CSR_BYTES:
            raise BadRequest(f"a signing request has at most {MAX_CSR_BYTES} bytes")
        self._require_own(fields["member"], fields["csr"])
        self._admission.follow()
        return self._admission.issuing.renew(fields["member"], fields["csr"])

    def proposals(self, request: SignedFields) -> list[ProposalFacts]:
        """What is proposed, for active members.

        Raises:
            NotAdmitted: the caller is none.
        """
        fields, _ = self._from_member("Proposals", request)
        self._require_active(fields["member"])
        self._admission.settle()
        return self._admission.proposing.all()

    def approve(self, request: SignedFields) -> ProposalFacts:
        """Take an active member's approval of a proposal.

        Raises:
            NotAdmitted: the caller is none.
            CannotAdmit: there is no such proposal, or the approval is not over it.
        """
        fields, _ = self._from_member("Approve", request)
        self._require_active(fields["member"])
        return self._admission.approve(fields["proposal"], fields["member"], fields["approval"])

    def state(self, request: SignedFields) -> CoordinatorState:
        """What the coordinator runs and waits for, for an active member; it is noted which release that one runs.

        Raises:
            NotAdmitted: the caller is none.
            MalformedMessage: what it says of itself is more than an extension may hold.
        """
        fields, _ = self._from_member("State", request)
        member, now_s = fields["member"], self._now()
        self._require_active(member)
        said = Heard(member, release_of(read_extension(fields["extension"])), int(now_s))
        state = self._admission.ledger.state()
        return self._view.look([] if state is None else [one.member for one in state.active("firm")], said)

    def close(self) -> None:
        """Give back what was opened here."""
        self._view.close()

    def caller(self, rpc: str, request: SignedFields) -> str:
        """The member whose key has signed a request, which is fresh; whether it was made before is not looked at.

        Raises:
            NotAdmitted: it is nobody's.
        """
        fields = request.read(rpc, self.cid, MEMBER_FIELDS[rpc])
        request.verify(self._key_of(fields["member"]))
        require_fresh(fields, self._now())
        return str(fields["member"])

    def _from_member(self, rpc: str, request: SignedFields) -> tuple[dict[str, Any], PublicKey]:
        """The fields of a request that is fresh, made once and signed by its member's key, and that key."""
        fields = request.read(rpc, self.cid, MEMBER_FIELDS[rpc])
        key = self._key_of(fields["member"])
        request.verify(key)
        require_fresh(fields, self._now())
        self._nonces.take(request.raw, self._now())
        return fields, key

    def _key_of(self, member: str) -> PublicKey:
        state, asked = self._admission.ledger.state(), self._book.asked(member)
        known = None if state is None else state.members.get(member)
        if known is not None and (known.active or asked is None or known.key.raw == asked.key):
            return known.key
        if asked is None:
            raise NotAdmitted(f"{member!r} has not asked to join; use an invite")
        return public_key(asked.key)

    def _require_active(self, member: str) -> None:
        state = self._admission.ledger.state()
        if state is None or not state.is_enrolled(member):
            raise NotAdmitted(f"{member!r} is no active member of {self.cid}")

    def _require_agreed(self) -> None:
        try:
            require_on_ledger(self._home, self._admission.policy_file, self._admission.ledger.state())
        except NotAgreed:
            raise NotAdmitted(
                "the policy in the coordinator's home is not the one on the ledger, so nobody can join; tell its "
                "operator: artesian coordinator doctor says what to do"
            ) from None

    def _require_admissible(self, asked: Asked) -> None:
        try:
            self._admission.proposing.require_admissible(asked)
        except CannotAdmit as error:
            raise NotAdmitted(str(error)) from None

    def _require_keys(self, fields: dict[str, Any], key: PublicKey) -> None:
        """Raise unless a request's keys are of the kinds that the consortium asks for, and new to it."""
        expected = HYBRID_PUBLIC_KEY_BYTES if self._admission.policy.signatures == HYBRID else PUBLIC_KEY_BYTES
        if len(key.raw) != expected:
            raise BadRequest(f"the signing key has {len(key.raw)} bytes; this consortium's have {expected}")
        if len(fields["csr"]) > MAX_CSR_BYTES:
            raise BadRequest(f"a signing request has at most {MAX_CSR_BYTES} bytes")
        if (fields["kind"] == "firm") != bool(fields["node_key"]):
            raise BadRequest("a firm gives the key of its SuperNode, and a bank none")
        if fields["node_key"]:
            _node_key(fields["node_key"])
        self._require_own(fields["member"], fields["csr"], key, fields["node_key"])

    def _require_own(self, member: str, csr: bytes, key: PublicKey | None = None, node_key: bytes = b"") -> None:
        """Raise if another member has one of these keys: what shuts one of the two out must not touch the other."""
        mine = _requested_key(csr)
        for other in self._book.requests():
            if other.member == member:
                continue
            if key is not None and _halves(PublicKey(other.key)) & _halves(key):
                raise BadRequest("another member has asked with this signing key; make one of your own")
            if requested_key(other.csr) == mine:
                raise BadRequest("another member has asked with this TLS key; move tls.key away, and one is made")
            if node_key and other.node_key and _node_key(other.node_key) == _node_key(node_key):
                raise BadRequest("another member has asked with this SuperNode's key; move node.key away")
        for node in self._book.nodes():
            if node_key and node.member != member and _node_key(node.public_key) == _node_key(node_key):
                raise BadRequest("another member has asked with this SuperNode's key; move node.key away")
        if any(one.member != member and key_of(one) == mine for one in self._book.certificates()):
            raise BadRequest("another member has a certificate for this TLS key; make another with: renew --new-key")

    def _standing(self, member: str, key: PublicKey) -> RequestStanding:
        admission = self._admission
        admission.follow()
        state, asked = admission.ledger.state(), self._book.asked(member)
        if state is None:
            missing = admission.missing()
            if asked is None or not asked.admitted:
                return RequestStanding("asked", "the coordinator's operator has not admitted it yet")
            return RequestStanding(
                "admitted", f"the ledger is founded when all founders are there; missing: {_names(missing)}"
            )
        known = state.members.get(member)
        if known is not None and not known.active and not self._asks_again(asked):
            raise NotAdmitted(f"{member!r} is suspended")
        if known is not None and known.active and known.key == key:
            origin, founding = admission.ledger.founding_entries()
            return RequestStanding("enrolled", "", admission.issuing.present(member), origin, tuple(founding))
        if asked is None or not asked.admitted:
            return RequestStanding("asked", "the coordinator's operator has not admitted it yet")
        return RequestStanding("proposed", self._approvals(member))

    def _asks_again(self, asked: Asked | None) -> bool:
        """Whether a member that was suspended has a request that came later: not admitted yet, or still proposed."""
        if asked is None or not asked.admitted:
            return asked is not None
        name = f"enrol-{asked.member}"
        return any(one.name == name and not one.placed for one in self._book.proposals())

    def _approvals(self, member: str) -> str:
        for facts in self._admission.proposing.all():
            if facts.proposed.name == f"enrol-{member}":
                if facts.proposed.refused:
                    return f"the ledger refuses it: {facts.proposed.refused}; tell the coordinator"
                given = _names(facts.approved)
                return f"{len(facts.approved)} of {facts.needed} members that must approve have done so ({given})"
        return "the coordinator has to propose it again: artesian coordinator admit"

    def addresses(self) -> dict[str, str]:
        """HOST:PORT of each service, as members reach it."""
        network = load_network(self._home)
        ports = {
            "enrolment": network.enrolment_port,
            "ledger": network.ledger_port,
            "fleet": network.fleet_port,
            "scores": network.scores_port,
        }
        return {name: network.address(port) for name, port in ports.items()}


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return requested_key(csr)
    except (BadCertificate, UnsupportedAlgorithm) as error:
        raise BadRequest(str(error)) from None


def _node_key(raw: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_ssh_public_key(raw) if len(raw) <= MAX_NODE_KEY_BYTES else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise BadRequest("the SuperNode's key must be an OpenSSH public key on P-384")
    return key


def _halves(key: PublicKey) -> set[bytes]:
    """Thumbprints of a key, or of both halves of a hybrid one: the ledger takes neither twice."""
    return {half for half in (key.kid, key.post_quantum_kid) if half is not None}


def _names(members: list[str]) -> str:
    return ", ".join(members) or "none"
