"""A SuperNode's state: a message whose task has failed is answered, fetched or not; and tasks do not pile up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.supercore.constant import TaskType

from clients.flower.node_state import AnsweringState, AnsweringStates, Patient

RUN = 7


@pytest.fixture
def state() -> AnsweringState:
    made = AnsweringStates().state()
    assert isinstance(made, AnsweringState)
    return made


def message(number: str) -> Message:
    asked = Metadata(RUN, number, 1, 2, "", "", time.time(), 1000.0, "query.hello")
    return make_message(asked, content=RecordDict({"c": ConfigRecord({})}))


def taken(state: AnsweringState) -> int:
    task = state.create_task(task_type=TaskType.CLIENT_APP, run_id=RUN, fab_hash="f" * 64)
    assert task is not None
    assert state.claim_task(task)
    return task


@pytest.mark.parametrize("fetched", [False, True])
def test_a_task_that_failed_is_answered(state: AnsweringState, fetched: bool) -> None:
    state.store_message(message("m1"))
    task = taken(state)
    if fetched:
        assert len(state.get_messages_legacy(is_reply=False)) == 1
    assert state.get_messages_legacy(is_reply=True) == []
    state.finish_task(task, SubStatus.FAILED, "/home/firm/secret")
    (reply,) = state.get_messages_legacy(is_reply=True)
    assert reply.metadata.reply_to_message_id == "m1"
    assert reply.error.code == ErrorCode.CLIENT_APP_CRASHED
    assert "secret" not in reply.error.reason


def test_a_task_that_ended_well_is_not(state: AnsweringState) -> None:
    state.store_message(message("m1"))
    task = taken(state)
    assert state.activate_task(task)
    state.finish_task(task, SubStatus.COMPLETED, "")
    assert state.get_messages_legacy(is_reply=True) == []


def test_tasks_that_are_over_do_not_pile_up(state: AnsweringState) -> None:
    for _ in range(200):
        state.finish_task(taken(state), SubStatus.FAILED, "")
    assert len(state.task_store) < 80
    open_task = taken(state)
    assert open_task in state.task_store


def test_who_asks_for_a_task_waits_until_there_is_one(state: AnsweringState) -> None:
    asked = list[str]()

    async def inner(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        asked.append(scope["path"])

    async def none() -> MutableMapping[str, Any]:
        return {}

    async def send(message: MutableMapping[str, Any]) -> None: ...

    async def story() -> None:
        patient = Patient(inner, state.has_work, within_s=30.0)
        waiting = asyncio.create_task(patient({"type": "http", "path": "/v1/runtime/acquire-task"}, none, send))
        await patient({"type": "http", "path": "/v1/runtime/push-messages"}, none, send)
        assert asked == ["/v1/runtime/push-messages"]
        state.create_task(task_type=TaskType.CLIENT_APP, run_id=RUN, fab_hash="f" * 64)
        await asyncio.wait_for(waiting, 20)

    asyncio.run(story())
    assert asked[-1] == "/v1/runtime/acquire-task"
