"""Calls of the join desk by an organisation: TLS by the CA of its invite, each call signed with its signing key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import grpc

from clients.enrolment import enrolment_pb2 as pb
from clients.enrolment.consortium import ConsortiumPolicy, check_specs, policy_hash, read_policy
from clients.enrolment.enrolment_pb2_grpc import EnrolmentStub
from clients.enrolment.errors import BadConsortium, DeskUnreachable, NotAdmitted, OlderDesk, OtherConsortium
from clients.enrolment.invite import Invite
from clients.enrolment.sent import require_grounds
from clients.enrolment.signed import SignedFields
from clients.enrolment.state import CoordinatorState, from_message
from clients.greeting import RELEASE_NAME
from clients.versions import SOFTWARE
from ledger.keys import SigningKey
from ledger.service.statuses import connection_detail
from ledger.service.tls import host_and_port, is_loopback

MAX_REPLY_BYTES = 16 << 20
TIMEOUT_S = 15.0
_NO = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


@dataclass(frozen=True)
class Terms:
    """What a consortium has agreed on, checked against the invite.

    Attributes:
        raw: the bytes of `consortium.toml`.
        policy: what they say.
        specs: task specs (TOML), by task: those of the policy and no other.
    """

    raw: bytes
    policy: ConsortiumPolicy
    specs: dict[str, bytes]


@dataclass(frozen=True)
class Standing:
    """How a request stands, as the desk says; what is in it is checked by who uses it.

    Attributes:
        phase: asked, admitted, proposed or enrolled.
        detail: what is waited for.
        certificate: PEM, if there is one.
        origin, founding: the log's name and founding entries, from enrolled on.
        addresses: HOST:PORT by service.
    """

    phase: str
    detail: str
    certificate: bytes
    origin: str
    founding: tuple[bytes, ...]
    addresses: dict[str, str]


@dataclass(frozen=True)
class OpenProposal:
    """A proposal at the desk: its name, its bytes, who has approved, how many must, whether it is on the ledger.

    Attributes:
        refused: why the ledger does not take it; empty while it has not said no.
    """

    name: str
    raw: bytes
    approved: tuple[str, ...]
    needed: int
    placed: bool
    refused: str = ""


class DeskClient:
    """A connection to the join desk. It connects with the first call."""

    def __init__(
        self,
        address: str,
        authority_pem: bytes,
        *,
        now: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Prepare calls to `address` (HOST:PORT), trusting this CA and no other.

        Raises:
            BadTls: the address is none.
        """
        host, _ = host_and_port(address)
        self.address = address
        self._now, self._entropy, self._timeout_s = now, entropy, timeout_s
        options: list[tuple[str, int]] = [("grpc.max_receive_message_length", MAX_REPLY_BYTES)]
        # A proxy of the environment has no business on the way to this machine itself.
        options += [("grpc.enable_http_proxy", 0)] if is_loopback(host) else []
        self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authority_pem), options)
        self._stub: Any = EnrolmentStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def terms(self, invite: Invite) -> Terms:
        """What the consortium has agreed on.

        Raises:
            OtherConsortium: it is not what the invite names.
            BadConsortium: it cannot be used.
            DeskUnreachable, NotAdmitted: the desk does not say.
        """
        reply = self._call("Terms", pb.TermsRequest(token_sha256=invite.token_sha256))
        if policy_hash(reply.policy) != invite.policy:
            raise OtherConsortium(
                "the policy at the desk is not the one of the invite; if the consortium has changed it since, "
                "ask the coordinator for another invite"
            )
        policy = read_policy(reply.policy)
        if policy.cid != invite.cid:
            raise OtherConsortium(f"the policy is of the consortium {policy.cid!r}, the invite is to {invite.cid!r}")
        shown = {str(name): bytes(raw) for name, raw in reply.specs.items()}
        if shown.keys() != {task.name for task in policy.task}:
            raise BadConsortium("the specs at the desk are of other tasks than the policy's; do not use this desk")
        return Terms(bytes(reply.policy), policy, {name: shown[name] for name in check_specs(policy, shown)})

    def join(self, invite: Invite, key: SigningKey, csr: bytes, node_key: bytes) -> Standing:
        """Ask to be enrolled; the same again by the same key is welcome.

        Args:
            csr: signing request (PEM) for the TLS certificate.
            node_key: OpenSSH public key of the SuperNode; empty for a bank.

        Raises:
            NotAdmitted, DeskUnreachable: the desk refuses, or does not answer.
        """
        signed = self._signed(
            "Join",
            invite.cid,
            invite.member,
            key,
            kind=invite.kind,
            name=invite.name,
            key=key.public.raw,
            csr=csr,
            node_key=node_key,
            token_sha256=invite.token_sha256,
            policy_sha256=invite.policy,
        )
        return _standing(self._call("Join", pb.JoinRequest(request=signed, token=invite.token)))

    def standing(self, cid: str, member: str, key: SigningKey) -> Standing:
        """How this member's request stands."""
        return _standing(self._call("Standing", self._signed("Standing", cid, member, key)))

    def renew(self, cid: str, member: str, key: SigningKey, csr: bytes) -> bytes:
        """Another certificate (PEM)."""
        return bytes(self._call("Renew", self._signed("Renew", cid, member, key, csr=csr)).certificate)

    def proposals(self, cid: str, member: str, key: SigningKey) -> list[OpenProposal]:
        """What is proposed."""
        reply = self._call("Proposals", self._signed("Proposals", cid, member, key))
        return [_proposal(one) for one in reply.proposals]

    def approve(self, cid: str, member: str, key: SigningKey, proposal: str, approval: bytes) -> OpenProposal:
        """Hand in an approval: the signature over the record, made at home."""
        signed = self._signed("Approve", cid, member, key, proposal=proposal, approval=approval)
        return _proposal(self._call("Approve", signed))

    def policy(self, cid: str, member: str, key: SigningKey, sha256: bytes = b"") -> tuple[bytes, dict[str, bytes]]:
        """The bytes of `consortium.toml` and of the task specs (TOML) by task; whoever uses them checks them.

        Args:
            sha256: of the file, if it is one that is proposed.

        Raises:
            OlderDesk: the desk does not know the question.
            NotAdmitted, DeskUnreachable: it refuses, or does not answer.
        """
        reply = self._call("Policy", self._signed("Policy", cid, member, key, sha256=sha256))
        return bytes(reply.policy), {str(name): bytes(raw) for name, raw in reply.specs.items()}

    def state(self, cid: str, member: str, key: SigningKey) -> CoordinatorState:
        """What the coordinator runs and waits for; it is told which release this member runs.

        Raises:
            OlderDesk: the desk does not know the question.
            NotAdmitted, DeskUnreachable: it refuses, or does not answer.
        """
        signed = self._signed("State", cid, member, key, extension={RELEASE_NAME: SOFTWARE})
        return from_message(self._call("State", signed))

    def _signed(self, rpc: str, cid: str, member: str, signer: SigningKey, /, **fields: Any) -> pb.SignedRequest:
        require_grounds(rpc, fields)
        made = SignedFields.make(rpc, cid, member, signer, fields, now_s=self._now(), entropy=self._entropy)
        return pb.SignedRequest(fields=made.raw, signature=made.signature)

    def _call(self, rpc: str, request: Any) -> Any:
        try:
            return getattr(self._stub, rpc)(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            code, detail = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNIMPLEMENTED:
            raise OlderDesk(f"the join desk at {self.address} is of an older release, which does not say this")
        if code in _NO:
            raise NotAdmitted(f"the join desk at {self.address} says: {detail}")
        if "certificate is not yet valid" in detail or "certificate has expired" in detail:
            raise DeskUnreachable(
                f"the certificate of {self.address} is not valid now by this machine's clock: set the clock, or, if it "
                "is right, tell the coordinator's operator"
            )
        if "CERTIFICATE_VERIFY_FAILED" in detail or "certificate verify failed" in detail:
            raise OtherConsortium(
                f"{self.address} shows no certificate by the CA of the invite: it is another consortium's, "
                "or someone is between you and it"
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise DeskUnreachable(
                f"the join desk at {self.address} did not answer in {self._timeout_s:.0f} s; try again"
            )
        why = connection_detail(detail)
        raise DeskUnreachable(f"the join desk at {self.address} cannot answer: {why}; check the address and network")


def _standing(reply: pb.StandingReply) -> Standing:
    at = reply.addresses
    addresses = {"enrolment": at.enrolment, "ledger": at.ledger, "fleet": at.fleet, "scores": at.scores}
    founding = tuple(bytes(one) for one in reply.founding)
    return Standing(reply.phase, reply.detail, bytes(reply.certificate), reply.origin, founding, addresses)


def _proposal(reply: pb.ProposalReply) -> OpenProposal:
    approved = tuple(reply.approved)
    return OpenProposal(reply.name, bytes(reply.proposal), approved, reply.needed, reply.placed, reply.refused)
