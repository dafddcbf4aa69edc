"""Putting each answered question on record before its answer leaves, many in one write when many ask."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.errors import ServerError


class NotRecorded(ServerError):
    """A question could not be put on record, so its answer is withheld."""

    exit_code = 3


@dataclass(frozen=True)
class QueryRecord:
    """What goes on the ledger about one answered question.

    Attributes:
        bank: the member that asked.
        purpose: the slug it gave.
        subject_commitment: salted SHA-256 of who was asked about (32 bytes).
        answer_hash: SHA-256 of the signed answer (32 bytes).
        model_hash: the model that answered (32 bytes).
    """

    bank: str
    purpose: str
    subject_commitment: bytes
    answer_hash: bytes
    model_hash: bytes


class Recorder(Protocol):
    """Puts one answered question on record; returns once it is durable."""

    async def __call__(self, record: QueryRecord) -> None:
        """Raises NotRecorded when the record could not be kept."""
        ...


def each(
    record_query: Callable[[str, str, bytes, bytes, bytes], None],
) -> Callable[[Sequence[QueryRecord]], None]:
    """Make a writer of many out of `record_query(bank, purpose, subject_commitment, answer, model)`."""

    def write(records: Sequence[QueryRecord]) -> None:
        for r in records:
            record_query(r.bank, r.purpose, r.subject_commitment, r.answer_hash, r.model_hash)

    return write


class GroupRecorder:
    """A `Recorder` over a blocking `write(records)`: what comes in during one write goes into the next.

    A ledger's append costs a disk flush whether it carries one record or a hundred. At most `limit` records
    go into one write. `write` runs in worker threads, one call at a time; it keeps all its records or raises.
    """

    def __init__(self, write: Callable[[Sequence[QueryRecord]], None], limit: int = 256) -> None:
        self._write = write
        self._limit = limit
        self._waiting: list[tuple[QueryRecord, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, record: QueryRecord) -> None:
        """Raises NotRecorded when the write that carried `record` failed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())
        await done

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            problem: NotRecorded | None = None
            try:
                await asyncio.to_thread(self._write, [record for record, _ in group])
            except Exception as error:
                problem = NotRecorded(f"the question could not be put on record ({error}); no answer is given")
                problem.__cause__ = error
            for _, done in group:
                if not done.done():  # its caller may have gone away
                    done.set_exception(problem) if problem else done.set_result(None)
