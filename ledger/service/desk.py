"""What the service answers, whatever carries the questions: who may ask, within which limits, and what comes back."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TypeVar

from ledger.errors import NoSuchEntry
from ledger.kept_bodies import BodyState, names_body
from ledger.log import Log
from ledger.rules import Refused, State
from ledger.service import keeping
from ledger.service import ledger_pb2 as pb
from ledger.service.access import NotAllowed, require_member
from ledger.service.batch import Accepted, Outcome
from ledger.service.board import Board
from ledger.service.bodies import BadBody, Envelope
from ledger.service.errors import BadRequest
from ledger.service.limits import Settings
from ledger.service.promise import DIGEST_BYTES, Promise
from ledger.service.quota import Quota, too_many
from ledger.service.seats import Seats
from ledger.service.sequencer import Overloaded, Sequencer
from ledger.statement import Statement, StatementError, decode_statement

T = TypeVar("T")
MAX_LINES = 256
MAX_LINE_CHARACTERS = 8192


class Desk:
    """Answers single questions. Lives in one event loop.

    Attributes:
        settings: the limits.
        board: what stands on the ledger.
    """

    def __init__(self, sequencer: Sequencer, board: Board, settings: Settings) -> None:
        """Answer from the log that `sequencer` owns."""
        self.settings = settings
        self.board = board
        self._sequencer = sequencer
        self._quota = Quota(settings.max_stored_bytes)
        each, outside = settings.max_calls_each, settings.max_calls_outside
        self._places = Seats("calls that wait for the ledger", settings.max_pending, each, outside)

    @property
    def state(self) -> State:
        """What the rules make of all durable entries."""
        return self._sequencer.state

    async def ask(self, caller: str | None, question: Callable[[Log], T]) -> T:
        """The log's answer to `question`."""
        return await self._result(caller, lambda: self._sequencer.ask(question))

    async def submit(self, request: pb.SubmitRequest, caller: str | None, remaining_s: float) -> pb.SubmitReply:
        """Put statements on the ledger; the answer may wait for finality, for less than `remaining_s` in any case.

        Raises:
            NotAllowed: an outsider.
            BadRequest: over a limit.
            StoreError: nothing was written, or not every body.
        """
        member = require_member(caller, "submitting statements")
        submissions, most = request.submissions, self.settings.max_statements
        if not 0 < len(submissions) <= most:
            raise BadRequest(f"{len(submissions)} statements in one call; send 1 to {most}")
        if not 0 <= request.wait_s < math.inf:
            raise BadRequest(f"a wait of {request.wait_s} s; give a number of seconds, or 0")
        with self._quota.coming(member, sum(len(submission.body) for submission in submissions)) as room:
            readings = [self._read(submission, member) for submission in submissions]
            await self._refuse_beyond(room, member, submissions, readings)
            outcomes = await self._place(member, readings)
            taken = await self._keep_bodies(member, submissions, outcomes)
        await self._wait_until_final(outcomes, min(request.wait_s, self.settings.max_wait_s, 0.9 * remaining_s))
        return await self._reply(member, readings, outcomes, taken)

    async def _place(self, member: str, readings: Sequence[Statement | Refused]) -> list[Outcome]:
        good = [reading for reading in readings if isinstance(reading, Statement)]
        placed = await self._result(member, lambda: self._sequencer.submit(good)) if good else []
        taken = iter(placed)
        return [reading if isinstance(reading, Refused) else next(taken) for reading in readings]

    async def _refuse_beyond(
        self, room: int, member: str, submissions: Sequence[pb.Submission], readings: list[Statement | Refused]
    ) -> None:
        """Refuse the statements whose bodies are over the member's quota."""
        bodies = [
            (reading.digest, len(submission.body))
            for submission, reading in zip(submissions, readings, strict=True)
            if submission.body and isinstance(reading, Statement)
        ]
        refused = set(await self.ask(member, lambda log: too_many(log, member, bodies, room)) if bodies else ())
        for number, (submission, reading) in enumerate(zip(submissions, readings, strict=True)):
            if submission.body and isinstance(reading, Statement) and reading.digest in refused:
                most = self.settings.max_stored_bytes
                detail = (
                    f"the bodies of {member!r} would have more than {most} bytes here; erase some (artesian ledger "
                    "erase), or ask for more"
                )
                readings[number] = Refused("quota", self.state.size, detail)

    async def receipt(self, request: pb.ReceiptRequest, caller: str | None) -> pb.ReceiptReply:
        """A receipt by place or digest; for anyone, as it holds nothing of the statement.

        Raises:
            NoSuchEntry: not there.
            NotFinal: not yet.
        """

        def look(log: Log) -> pb.ReceiptReply:
            if request.WhichOneof("entry") == "digest":
                index = log.index_of(_digest(request.digest))
                if index is None:
                    raise NoSuchEntry("no statement with this digest is on the ledger; submit it first")
            else:
                index = request.index
            return pb.ReceiptReply(index=index, receipt=log.receipt(index))

        return await self.ask(caller, look)

    async def cosign(self, request: pb.CosignRequest, caller: str | None) -> pb.CosignReply:
        """Keep cosignatures on a checkpoint.

        Raises:
            BadRequest, NoSuchEntry, NoteError, CheckpointError: not kept.
        """
        lines = request.lines
        if not 0 < len(lines) <= MAX_LINES or any(len(line) > MAX_LINE_CHARACTERS for line in lines):
            raise BadRequest(f"{len(lines)} cosignature lines; send 1 to {MAX_LINES} of a normal length")
        final = await self._result(caller, lambda: self._sequencer.cosign(list(lines), request.size))
        return pb.CosignReply(final=final)

    async def body(self, request: pb.BodyRequest, caller: str | None) -> pb.BodyReply:
        """The encrypted body of a statement, for its parties.

        Raises:
            NotAllowed: the caller is none of them.
            NoBody: it was erased, or is missing.
            NoSuchEntry: no such statement.
        """
        member = require_member(caller, "reading a body")
        digest = _digest(request.digest)
        raw = await self.ask(member, lambda log: keeping.hand_out(log, digest))
        if member not in Envelope.from_bytes(raw).sealed:
            raise NotAllowed(f"{member!r} is no party to this body; ask its issuer")
        return pb.BodyReply(body=raw)

    async def delete_body(self, request: pb.DeleteBodyRequest, caller: str | None) -> pb.DeleteBodyReply:
        """Erase a body for good; see `ledger.service.keeping.erase`.

        Raises:
            NotAllowed, NoSuchEntry, BadRequest: nothing was erased.
        """
        member = require_member(caller, "erasing a body")
        digest = _digest(request.digest)
        before = await self.ask(member, lambda log: keeping.erase(log, digest, member))
        return pb.DeleteBodyReply(before=keeping.ON_THE_WIRE[before])

    def members(self, caller: str | None) -> pb.MembersReply:
        """Everyone who is or was a member, with the keys of now.

        Raises:
            NotAllowed: an outsider.
        """
        require_member(caller, "the list of members")
        state = self.state
        known = sorted(state.members.values(), key=lambda member: member.member)
        members = [
            pb.Member(
                member=m.member,
                kind=m.kind,
                name=m.name,
                key=m.key.raw,
                active=m.active,
                encryption_key=state.encryption_keys.get(m.member, b""),
            )
            for m in known
        ]
        return pb.MembersReply(size=state.size, members=members)

    async def status(self, caller: str | None) -> pb.StatusReply:
        """How the log is doing; for anyone: cosignatures and policy files tell the same."""
        health = await self.ask(caller, lambda log: log.health())
        return pb.StatusReply(
            origin=health.origin,
            size=health.size,
            checkpoint_size=health.checkpoint_size,
            final_size=health.final_size,
            audited=health.audited,
            waiting_s=health.waiting_s,
            promise_s=self.settings.inclusion_s,
            witnesses=[pb.WitnessStatus(member=name, cosigned=size) for name, size in health.cosigned.items()],
        )

    async def _result(self, caller: str | None, enter: Callable[[], "Future[T]"]) -> T:
        with ExitStack() as place:
            place.enter_context(self._places.seat(caller))
            done = asyncio.wrap_future(enter())
            # Whoever hangs up keeps its place until the sequencer is done: else one caller could fill all of them.
            held = place.pop_all()
            done.add_done_callback(lambda _: held.close())
        # Shielded: what the sequencer has taken is done, also when the caller hangs up meanwhile.
        try:
            result: T = await asyncio.wait_for(asyncio.shield(done), self.settings.answer_s)
        except TimeoutError:
            raise Overloaded("the ledger has not answered in time; it may still do what was asked: ask again") from None
        return result

    def _read(self, submission: pb.Submission, caller: str) -> Statement | Refused:
        """A submission's statement, or why it is refused before any rule is asked."""
        size = self.state.size
        try:
            statement = decode_statement(submission.statement)
            if submission.body:
                keeping.require_acceptable(submission.body, statement, caller, self.settings.max_body_bytes)
        except StatementError as error:
            return Refused("statement", size, str(error))
        except BadBody as error:
            return Refused("body", size, str(error))
        return statement

    async def _keep_bodies(
        self, member: str, submissions: Sequence[pb.Submission], outcomes: Sequence[Outcome]
    ) -> set[bytes]:
        """Keep what came with the statements that have a place; the digests of those whose bodies are new."""
        bodies = [
            (outcome.digest, submission.body)
            for submission, outcome in zip(submissions, outcomes, strict=True)
            if submission.body and isinstance(outcome, Accepted)
        ]
        return await self.ask(member, lambda log: keeping.keep(log, member, bodies)) if bodies else set()

    async def _wait_until_final(self, outcomes: Sequence[Outcome], wait_s: float) -> None:
        needed = max((outcome.index + 1 for outcome in outcomes if isinstance(outcome, Accepted)), default=0)
        clock = asyncio.get_running_loop().time
        deadline_s = clock() + wait_s
        view = self.board.view
        while view.final_size < needed and not self.board.closed and (left_s := deadline_s - clock()) > 0:
            view = await self.board.change(view, left_s)

    async def _reply(
        self, member: str, readings: Sequence[Statement | Refused], outcomes: Sequence[Outcome], taken: set[bytes]
    ) -> pb.SubmitReply:
        final_size = self.board.view.final_size
        indices = {o.index for o in outcomes if isinstance(o, Accepted) and o.index < final_size}
        naming = [one.digest for one in readings if isinstance(one, Statement) and names_body(one)]

        def look(log: Log) -> tuple[dict[int, bytes], dict[bytes, BodyState]]:
            return {index: log.receipt(index) for index in indices}, keeping.states(log, naming, taken)

        receipts, bodies = await self.ask(member, look) if indices or naming else ({}, {})
        return pb.SubmitReply(results=[self._answer(outcome, receipts, bodies) for outcome in outcomes])

    def _answer(self, outcome: Outcome, receipts: Mapping[int, bytes], bodies: Mapping[bytes, BodyState]) -> pb.Result:
        if isinstance(outcome, Refused):
            return pb.Result(refusal=pb.Refusal(rule=outcome.rule, entry=outcome.index, detail=outcome.detail))
        index, receipt = outcome.index, receipts.get(outcome.index)
        body = keeping.ON_THE_WIRE[bodies[outcome.digest]] if outcome.digest in bodies else pb.BODY_NONE
        if receipt is not None:
            return pb.Result(placed=pb.Placed(index=index, receipt=receipt, body=body))
        deadline_s = outcome.accepted_s + self.settings.inclusion_s
        promise = Promise(self._sequencer.origin, outcome.digest, index, outcome.accepted_s, deadline_s)
        return pb.Result(placed=pb.Placed(index=index, promise=promise.sign(self._sequencer.key), body=body))


def _digest(raw: bytes) -> bytes:
    if len(raw) != DIGEST_BYTES:
        raise BadRequest(f"a digest of {len(raw)} bytes; it has {DIGEST_BYTES}")
    return raw
