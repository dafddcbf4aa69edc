"""Every answered question is on record before its answer leaves; many share a write."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from server.scoring.recording import GroupRecorder, NotRecorded, QueryRecord, each


def record(i: int) -> QueryRecord:
    return QueryRecord(f"bank-{i}", "audit", bytes(32), i.to_bytes(32, "big"), bytes(32))


def test_many_at_once_share_writes_and_keep_their_order() -> None:
    writes: list[list[QueryRecord]] = []

    async def ask() -> None:
        recorder = GroupRecorder(lambda group: writes.append(list(group)), limit=64)
        await asyncio.gather(*(recorder(record(i)) for i in range(200)))

    asyncio.run(ask())
    assert [r for group in writes for r in group] == [record(i) for i in range(200)]
    assert len(writes) == 4
    assert max(map(len, writes)) == 64


def test_a_record_waits_for_its_own_write() -> None:
    release, durable = threading.Event(), []

    def write(group: Sequence[QueryRecord]) -> None:
        release.wait(5)
        durable.extend(group)

    async def ask() -> None:
        recorder = GroupRecorder(write)
        task = asyncio.ensure_future(recorder(record(1)))
        await asyncio.sleep(0.02)
        assert not task.done()
        assert not durable
        release.set()
        await task
        assert durable == [record(1)]

    asyncio.run(ask())


def test_a_failed_write_fails_its_group_and_no_other() -> None:
    def write(group: Sequence[QueryRecord]) -> None:
        if record(3) in group:
            raise OSError("disk full")

    async def ask() -> None:
        recorder = GroupRecorder(write, limit=2)
        results = await asyncio.gather(*(recorder(record(i)) for i in range(6)), return_exceptions=True)
        assert [isinstance(r, NotRecorded) for r in results] == [False, False, True, True, False, False]
        await recorder(record(9))

    asyncio.run(ask())


def test_a_caller_that_went_away_does_not_hold_up_the_others() -> None:
    async def ask() -> None:
        recorder = GroupRecorder(lambda group: None)
        gone, there = asyncio.ensure_future(recorder(record(1))), asyncio.ensure_future(recorder(record(2)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(there, 5)
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(ask())


def test_one_at_a_time_by_a_plain_function() -> None:
    seen: list[tuple[object, ...]] = []
    each(lambda *fields: seen.append(fields))([record(1)])
    assert seen == [("bank-1", "audit", bytes(32), (1).to_bytes(32, "big"), bytes(32))]
