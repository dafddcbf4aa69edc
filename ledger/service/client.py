"""A client of a served ledger: reads it, submits to it, follows it. Synchronous; a `ledger.source.Copy` for mirrors.

What it returns is what the service said. Whoever relies on it verifies it: a receipt with `verify_receipt`,
entries and checkpoints by a witness or a mirror.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from ledger.checkpoint import CheckpointError
from ledger.errors import LedgerError, NoSuchEntry
from ledger.health import Health
from ledger.kept_bodies import BodyState
from ledger.log import Clock
from ledger.merkle import leaf_hash
from ledger.rules import Refused
from ledger.service import ledger_pb2 as pb
from ledger.service.access import NotAllowed, method_name
from ledger.service.errors import BadRequest, NoBody
from ledger.service.errors import Unreachable as Unreachable
from ledger.service.keeping import state_of
from ledger.service.ledger_pb2_grpc import LedgerStub
from ledger.service.statuses import error_of
from ledger.service.tls import ClientTls, host_and_port, is_loopback, require_tls_beyond_loopback
from ledger.service.tokens import METADATA_KEY, Identity

MAX_REPLY_BYTES = 8 << 20
MAX_SUBMIT_BYTES = 3 << 20
MAX_SUBMIT_STATEMENTS = 256
_WINDOW = 10_000
_PING_MS, _PING_TIMEOUT_MS = 15_000, 10_000


@dataclass(frozen=True)
class Placed:
    """A statement that is on the ledger.

    Attributes:
        index: its place.
        receipt: proof of it, when it is final.
        promise: until then the log's signed promise of inclusion.
        body: where its body is, if it names one.
    """

    index: int
    receipt: bytes | None
    promise: bytes | None
    body: BodyState | None = None


@dataclass(frozen=True)
class MemberFacts:
    """What the service says of a member.

    Attributes:
        member, kind, name: who it is.
        key: its signing key's bytes.
        active: False while suspended.
        encryption_key: 1216 bytes, or None.
    """

    member: str
    kind: str
    name: str
    key: bytes
    active: bool
    encryption_key: bytes | None


class LedgerClient:
    """A connection to a served ledger. It connects with the first call. Threads may share it.

    Attributes:
        address: `HOST:PORT`.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: ClientTls | None = None,
        identity: Identity | None = None,
        clock: Clock = time.time,
        timeout_s: float = 10.0,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Prepare calls to `address`.

        Args:
            tls: without it only services on this machine itself are called.
            identity: whom to call as; without it the client is an outsider.
            clock: for the tokens.
            timeout_s: an answer that takes longer is `Unreachable`.

        Raises:
            BadTls: the address is none, or is elsewhere and there is no TLS.
            BadRequest: the timeout is none.
        """
        if not 0 < timeout_s < math.inf:
            raise BadRequest(f"a timeout of {timeout_s} s; give a number of seconds above 0")
        host, _ = host_and_port(address)
        require_tls_beyond_loopback(host, secured=tls is not None)
        self.address = address
        self._identity, self._clock, self._entropy, self._timeout_s = identity, clock, entropy, timeout_s
        options: list[tuple[str, int]] = [
            ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
            ("grpc.keepalive_time_ms", _PING_MS),
            ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ]
        # A proxy of the environment has no business on the way to this machine itself.
        options += [("grpc.enable_http_proxy", 0)] if is_loopback(host) else []
        self._channel = (
            grpc.insecure_channel(address, options)
            if tls is None
            else grpc.secure_channel(address, tls.credentials(), options)
        )
        self._stub: Any = LedgerStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what still runs in other threads ends as `Unreachable`."""
        self._channel.close()

    def checkpoint(self) -> str:
        """The log's latest checkpoint.

        Raises:
            CheckpointError: there is none before the founding is complete.
        """
        note: str = self._call("Checkpoint", pb.CheckpointRequest()).checkpoint
        if not note:
            raise CheckpointError(f"the ledger at {self.address} has no checkpoint yet; found the consortium first")
        return note

    def final(self) -> str | None:
        """The largest final checkpoint with its cosignatures; None before the first."""
        return self._call("Checkpoint", pb.CheckpointRequest()).final_checkpoint or None

    def notes(self, start: int = 0) -> Iterator[str]:
        """The cosigned checkpoints over at least `start` entries, smallest first."""
        for reply in self._stream("Notes", pb.NotesRequest(start=start), max(self._timeout_s, 60.0)):
            yield from reply.notes

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1`.

        Raises:
            NoSuchEntry: not that many.
            NotAllowed: one of them is not public, and the client is an outsider.
        """
        return [statement_of(entry) for entry in self._entries(start, end)]

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes of entries `start` to `end - 1`: for anyone, to check the tree."""
        return [entry.leaf_hash or leaf_hash(entry.statement) for entry in self._entries(start, end)]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` entries extends that of `old`."""
        return list(self._call("Consistency", pb.ConsistencyRequest(old_size=old, new_size=new)).path)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size` entries."""
        return list(self._call("Inclusion", pb.InclusionRequest(index=index, size=size)).path)

    def submit(
        self, statements: Sequence[bytes], *, bodies: Mapping[int, bytes] | None = None, wait_s: float = 0.0
    ) -> list[Placed | Refused]:
        """Put statements on the ledger. Safe to repeat: what is there already finds its place.

        Args:
            bodies: encrypted bodies by their statement's position in `statements`.
            wait_s: let the service wait up to so long for finality.

        Returns:
            For each its place, or the refusal: rule, entry and detail.

        Raises:
            NotAllowed: the client is no active member.
            BadRequest: a statement with its body is more than one call carries.
            Unreachable: it is not known what has been taken; submit the same again.
        """
        results: list[Placed | Refused] = []
        portions = list(_portions(statements, bodies or {}))  # what is too large is refused before anything is sent
        for submissions in portions:
            request = pb.SubmitRequest(submissions=submissions, wait_s=wait_s)
            results += map(_outcome, self._call("Submit", request, wait_s).results)
        if len(results) != len(statements):
            raise Unreachable(f"the ledger at {self.address} answered for {len(results)} of {len(statements)}; repeat")
        return results

    def receipt(self, *, index: int | None = None, digest: bytes | None = None) -> tuple[int, bytes]:
        """The place and receipt of a statement, asked for by either.

        Raises:
            NoSuchEntry: not on the ledger.
            NotFinal: not final yet.
        """
        if (index is None) == (digest is None):
            raise BadRequest("ask for a receipt by index or by digest, one of them")
        request = pb.ReceiptRequest(digest=digest) if index is None else pb.ReceiptRequest(index=index)
        reply = self._call("Receipt", request)
        return reply.index, reply.receipt

    def cosign(self, lines: Sequence[str], size: int) -> bool:
        """Hand in cosignatures on the checkpoint at `size`; say whether it is final now."""
        return bool(self._call("Cosign", pb.CosignRequest(lines=lines, size=size)).final)

    def body(self, digest: bytes) -> bytes:
        """The encrypted body of the statement with this digest; `open_body` opens it.

        Raises:
            NotAllowed: the client is no party to it.
            NoBody: it was erased, or is missing.
        """
        try:
            return bytes(self._call("Body", pb.BodyRequest(digest=digest)).body)
        except NoSuchEntry as error:
            raise NoBody(str(error)) from None

    def delete_body(self, digest: bytes) -> BodyState | None:
        """Erase a body for good, and say where it was before; for its issuer and the coordinator."""
        return state_of(self._call("DeleteBody", pb.DeleteBodyRequest(digest=digest)).before)

    def members(self) -> list[MemberFacts]:
        """Everyone who is or was a member, as the service says; a mirror knows it from the entries."""
        reply = self._call("Members", pb.MembersRequest())
        return [MemberFacts(m.member, m.kind, m.name, m.key, m.active, m.encryption_key or None) for m in reply.members]

    def status(self) -> tuple[Health, float]:
        """How the ledger is doing, as the service says, and within how many seconds it promises a place in the tree."""
        reply = self._call("Status", pb.StatusRequest())
        cosigned = {one.member: one.cosigned for one in reply.witnesses}
        sizes = reply.size, reply.checkpoint_size, reply.final_size
        return Health(reply.origin, *sizes, reply.waiting_s, cosigned, reply.audited), reply.promise_s

    def news(self, start: int, final_size: int = 0) -> Iterator[pb.News]:
        """One Follow stream from entry `start` on, until the service ends it; `following.follow` comes back.

        Raises:
            LedgerError: as the service says; `Unreachable` when the stream breaks.
        """
        request = pb.FollowRequest(start=start, final_size=final_size)
        yield from self._stream("Follow", request, None)

    def _entries(self, start: int, end: int) -> Iterator[pb.Entry]:
        for first in range(start, max(end, start + 1), _WINDOW):
            last, got = min(first + _WINDOW, end), 0
            request = pb.EntriesRequest(start=first, end=last)
            for reply in self._stream("Entries", request, max(self._timeout_s, 60.0)):
                got += len(reply.entries)
                yield from reply.entries
            if got != last - first:
                raise Unreachable(f"the ledger at {self.address} gave {got} of {last - first} entries; try again")

    def _call(self, rpc: str, request: Any, more_s: float = 0.0) -> Any:
        call = getattr(self._stub, rpc)
        try:
            return call(request, timeout=self._timeout_s + more_s, metadata=self._metadata(rpc))
        except grpc.RpcError as error:
            raise self._explain(error) from None
        except ValueError as error:  # gRPC's word for a closed channel
            raise Unreachable(f"the connection to {self.address} is closed: {error}") from None

    def _stream(self, rpc: str, request: Any, timeout_s: float | None) -> Iterator[Any]:
        try:
            stream = getattr(self._stub, rpc)(request, timeout=timeout_s, metadata=self._metadata(rpc))
        except ValueError as error:
            raise Unreachable(f"the connection to {self.address} is closed: {error}") from None
        try:
            yield from stream
        except grpc.RpcError as error:
            raise self._explain(error) from None
        finally:
            stream.cancel()

    def _metadata(self, rpc: str) -> list[tuple[str, str]]:
        if self._identity is None:
            return []
        return [(METADATA_KEY, self._identity.authorization(method_name(rpc), self._clock(), self._entropy))]

    def _explain(self, error: Any) -> LedgerError:
        return error_of(error.code(), error.details() or "", self.address)


def statement_of(entry: pb.Entry) -> bytes:
    """The statement of an entry as it was sent.

    Raises:
        NotAllowed: only its hash was.
    """
    if not entry.statement:
        raise NotAllowed("this entry is for members; call with a token by a member's signing key")
    return bytes(entry.statement)


def _outcome(result: pb.Result) -> Placed | Refused:
    if result.HasField("refusal"):
        return Refused(result.refusal.rule, result.refusal.entry, result.refusal.detail)
    placed = result.placed
    return Placed(placed.index, placed.receipt or None, placed.promise or None, state_of(placed.body))


def _portions(statements: Sequence[bytes], bodies: Mapping[int, bytes]) -> Iterable[list[pb.Submission]]:
    """Submissions in their order, as many together as one message takes."""
    portion: list[pb.Submission] = []
    room = MAX_SUBMIT_BYTES
    for number, statement in enumerate(statements):
        submission = pb.Submission(statement=statement, body=bodies.get(number, b""))
        size = submission.ByteSize()
        if size > MAX_SUBMIT_BYTES:
            raise BadRequest(f"a statement with its body has {size} bytes; one call carries at most {MAX_SUBMIT_BYTES}")
        if portion and (submission.ByteSize() > room or len(portion) == MAX_SUBMIT_STATEMENTS):
            yield portion
            portion, room = [], MAX_SUBMIT_BYTES
        portion.append(submission)
        room -= submission.ByteSize()
    if portion:
        yield portion
