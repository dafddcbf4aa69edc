"""The service's two streams: entries as they stand, and news as they come.

A stream pulls: it reads the next piece from the log only when its reader has taken the one before, and it keeps
nothing but a few numbers. However many read however slowly, memory does not grow.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

from ledger.errors import LedgerError, NoSuchEntry
from ledger.keys import PublicKey
from ledger.log import Log
from ledger.service import ledger_pb2 as pb
from ledger.service.access import entry_for
from ledger.service.board import View
from ledger.service.desk import Desk
from ledger.service.errors import BadRequest
from ledger.service.tokens import BadToken, key_of

_CHUNK = 64

Monotonic: TypeAlias = Callable[[], float]


class Leaps:
    """The way from one checkpoint to the next: read once for all followers that are about to go it."""

    def __init__(self, desk: Desk) -> None:
        """Read from the log of `desk`."""
        self._desk = desk
        self._between = (0, 0)
        self._reading: asyncio.Future[tuple[list[bytes], list[bytes]]] | None = None

    async def read(self, caller: str | None, old: int, new: int) -> tuple[list[bytes], list[bytes]]:
        """The consistency proof from `old` to `new`, and as many of the entries between as fit into one message."""
        if self._reading is None or self._between != (old, new):
            limit = self._desk.settings.reply_bytes
            self._reading = asyncio.ensure_future(
                self._desk.ask(caller, lambda log: (log.consistency(old, new), _portion(log, old, new, limit)))
            )
            self._between = (old, new)
        try:
            return await asyncio.shield(self._reading)
        except LedgerError:
            self._reading = None
            raise


async def entries(desk: Desk, request: pb.EntriesRequest, caller: str | None) -> AsyncIterator[pb.EntriesReply]:
    """Entries `start` to `end - 1` as `caller` may see them, in replies of bounded size.

    Raises:
        NoSuchEntry: not that many entries.
        BadRequest: more than one call may ask for.
    """
    start, end, most = request.start, request.end, desk.settings.max_entries
    size = desk.state.size
    if not start <= end <= size:
        raise NoSuchEntry(f"no entries {start} to {end}: the ledger has {size}")
    if end - start > most:
        raise BadRequest(f"{end - start} entries in one call; ask for at most {most}, then for the next")
    while start < end:
        raws = await _read(desk, caller, start, end)
        start += len(raws)
        yield pb.EntriesReply(entries=[entry_for(raw, caller) for raw in raws])


async def notes(desk: Desk, request: pb.NotesRequest, caller: str | None) -> AsyncIterator[pb.NotesReply]:
    """The cosigned checkpoints over at least `start` entries, smallest first."""
    start = request.start
    while found := await _notes(desk, caller, start):
        yield pb.NotesReply(notes=found.values())
        start = max(found) + 1


async def news(
    desk: Desk, leaps: Leaps, request: pb.FollowRequest, caller: str | None, monotonic: Monotonic
) -> AsyncIterator[pb.News]:
    """Entries, checkpoints and final checkpoints from `start` on, until `stream_s` is over or the service stops.

    An empty message every `heartbeat_s` says that nothing has happened.

    Raises:
        NoSuchEntry: the log does not reach `start`.
        BadToken: the member was suspended or changed its key meanwhile.
    """
    view, at, final_size = desk.board.view, request.start, request.final_size
    if at > view.checkpoint_size:
        raise NoSuchEntry(f"no entry {at}: the ledger's checkpoint covers {view.checkpoint_size}")
    key = None if caller is None else key_of(caller, view.state)
    end_s = monotonic() + desk.settings.stream_s
    told = False
    while True:
        if view.checkpoint_size > at or not told:
            async for message in _up_to(desk, leaps, view, at, caller):
                yield message
            at, told = view.checkpoint_size, True
        if view.final_size > final_size:
            yield pb.News(final_checkpoint=view.final)
            final_size = view.final_size
        # Only now: a member may have to cosign the checkpoint over its own suspension or new key.
        _require_same_key(caller, key, view)
        if desk.board.closed or monotonic() >= end_s:
            return
        seen = view
        view = await desk.board.change(seen, desk.settings.heartbeat_s)
        if not view.is_news_after(seen) and not desk.board.closed:
            yield pb.News()


async def _up_to(desk: Desk, leaps: Leaps, view: View, at: int, caller: str | None) -> AsyncIterator[pb.News]:
    """The entries from `at` to the view's checkpoint, which comes with the last of them."""
    size = view.checkpoint_size
    if not view.checkpoint:
        return
    path, raws = await leaps.read(caller, at, size)
    at += len(raws)
    while at < size:
        yield pb.News(entries=[entry_for(raw, caller) for raw in raws])
        raws = await _read(desk, caller, at, size)
        at += len(raws)
    entries = [entry_for(raw, caller) for raw in raws]
    yield pb.News(entries=entries, checkpoint=view.checkpoint, consistency=path)


async def _notes(desk: Desk, caller: str | None, start: int) -> dict[int, str]:
    # A number from a stranger may be larger than a database takes.
    return await desk.ask(caller, lambda log: log.notes(start, _CHUNK) if start <= log.size else {})


async def _read(desk: Desk, caller: str | None, start: int, end: int) -> list[bytes]:
    limit = desk.settings.reply_bytes
    return await desk.ask(caller, lambda log: _portion(log, start, end, limit))


def _portion(log: Log, start: int, end: int, limit: int) -> list[bytes]:
    """At least one entry from `start` on, unless `end` is there, and no more than fit into `limit` bytes."""
    taken: list[bytes] = []
    for raw in log.entries(start, min(end, start + _CHUNK)):
        if taken and len(raw) > limit:
            break
        taken.append(raw)
        limit -= len(raw)
    return taken


def _require_same_key(caller: str | None, key: PublicKey | None, view: View) -> None:
    if caller is not None and key_of(caller, view.state) != key:
        raise BadToken(f"the key of {caller!r} has changed; follow again with the new one")
