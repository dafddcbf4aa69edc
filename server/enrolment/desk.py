"""The join desk's rules: who is told what, whose request is taken, and when. It knows nothing of gRPC."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clients.enrolment.consortium import TASKS, policy_hash
from clients.enrolment.errors import SUSPENDED, NotAdmitted
from clients.enrolment.nonces import Nonces
from clients.enrolment.signed import BadRequest, SignedFields, public_key, require_fresh
from clients.enrolment.state import CoordinatorState
from clients.greeting import read_extension, release_of
from ledger.keys import PublicKey
from server.enrolment.admission import Admission
from server.enrolment.agreed import NotAgreed, require_on_ledger
from server.enrolment.book import Asked, Outcome
from server.enrolment.new_keys import require_keys, require_own
from server.enrolment.proposing import CannotAdmit, ProposalFacts
from server.enrolment.standing import RequestStanding, standing_of
from server.heard import Heard
from server.member_view import MemberView
from server.network import load_network

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
    "Policy": {"sha256": bytes},
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
        return self._agreed()

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
        require_keys(self._book, fields, key, self._admission.policy.signatures)
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
        return standing_of(self._admission, fields["member"], key)

    def standing(self, request: SignedFields) -> RequestStanding:
        """How the caller's request stands, and from enrolled on what it needs.

        Raises:
            NotAdmitted: it is suspended, or has not asked, or is another.
        """
        fields, key = self._from_member("Standing", request)
        return standing_of(self._admission, fields["member"], key)

    def renew(self, request: SignedFields) -> bytes:
        """Another certificate (PEM) for an active member.

        Raises:
            NotAdmitted: it is none.
            KeyRevoked: not for this key.
        """
        fields, _ = self._from_member("Renew", request)
        self._require_active(fields["member"])
        require_own(self._book, fields["member"], fields["csr"])
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

    def policy(self, request: SignedFields) -> tuple[bytes, dict[str, bytes]]:
        """The policy of now or one that is proposed, with its task specs, for active members.

        Raises:
            NotAdmitted: the caller is none, or there is no such policy.
        """
        fields, _ = self._from_member("Policy", request)
        self._require_active(fields["member"])
        if not fields["sha256"]:
            return self._agreed()
        staged = self._admission.proposed_policy(fields["sha256"])
        if staged is None:
            raise NotAdmitted("no policy of this hash is proposed here; see: artesian firm proposals")
        return staged.raw, dict(staged.specs)

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
            left = state is not None and member in state.members
            why = f": it {SUSPENDED}, and comes back by a new invite" if left else ""
            raise NotAdmitted(f"{member!r} is no active member of {self.cid}{why}")

    def _agreed(self) -> tuple[bytes, dict[str, bytes]]:
        self._require_agreed()
        policy = self._admission.policy
        specs = {task.name: (self._home / TASKS / f"{task.name}.toml").read_bytes() for task in policy.task}
        return self._admission.policy_file, specs

    def _require_agreed(self) -> None:
        try:
            require_on_ledger(self._home, self._admission.policy_file, self._admission.ledger.state())
        except NotAgreed:
            raise NotAdmitted(
                "the policy in the coordinator's home is not the one on the ledger, so nobody can join or take it; "
                "tell its operator: artesian coordinator doctor says what to do"
            ) from None

    def _require_admissible(self, asked: Asked) -> None:
        try:
            self._admission.proposing.require_admissible(asked)
        except CannotAdmit as error:
            raise NotAdmitted(str(error)) from None

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
