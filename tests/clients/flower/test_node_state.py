"""A SuperNode's state: a message whose task has failed is answered, fetched or not; and tasks do not pile up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run, RunNotRunningException

from clients.flower.node_state import AnsweringState, AnsweringStates, Patient
from clients.flower.supernode import fetched_or_failed

RUN = 7
loop: Any = import_module("flwr.supernode.start_client_internal")


@pytest.fixture
def state() -> AnsweringState:
    made = AnsweringStates().state()
    assert isinstance(made, AnsweringState)
    return made


def message(number: str) -> Message:
    asked = Metadata(RUN, number, 1, 2, "", "", time.time(), 1000.0, "query.hello")
    return make_message(asked, content=RecordDict({"c": ConfigRecord({})}))


def answer(number: str, to: str) -> Message:
    said = Metadata(RUN, number, 2, 1, to, "", time.time(), 1000.0, "query.hello")
    return make_message(said, content=RecordDict({"c": ConfigRecord({})}))


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


@pytest.mark.parametrize("fetches", [False, True])
def test_nothing_is_left_of_a_message_whose_run_ends_while_it_is_fetched(state: AnsweringState, fetches: bool) -> None:
    fetch = fetched_or_failed(loop._pull_and_store_message)
    state.store_run(replace(Run.create_empty(RUN), fab_hash="f" * 64))
    asked = message("m1")
    pieces = {name: one.deflate() for name, one in get_all_nested_objects(asked).items()}

    def is_over(*_: object) -> bytes:
        raise RunNotRunningException

    fetched = fetch(
        state=state,
        object_store=ObjectStoreFactory().store(),
        node_config={},
        receive=lambda: (asked, get_object_tree(asked)),
        get_run=Run.create_empty,
        get_fab=is_over,
        pull_object=(lambda _, name: pieces[name]) if fetches else is_over,
        confirm_message_received=is_over,
        trusted_entities=None,
    )
    assert fetched is None
    assert not state.has_work(), "an executor would take it, and wait for the message for ever"
    assert state.get_messages_legacy(is_reply=False) == []
    assert state.get_messages_legacy(is_reply=True) == []


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_to_a_message_that_was_let_go_is_not_taken_for_the_next_ones(
    state: AnsweringState, late: bool
) -> None:
    """As when a coordinator comes back and ends the run, while the SuperNode still tries to confirm the message."""
    first, second = message("m1"), message("m2")
    state.store_message(first)
    if not late:
        state.store_message(answer("r1", "m1"))
    state.object_store.preregister(RUN, get_object_tree(first))
    state.delete_messages(message_ids=["m1"])  # it could not be confirmed: its run is over
    if late:
        state.store_message(answer("r1", "m1"))
    state.store_message(second)
    assert state.get_messages_legacy(is_reply=True) == []
    state.store_message(answer("r2", "m2"))
    (reply,) = state.get_messages_legacy(is_reply=True)
    assert reply.metadata.reply_to_message_id == "m2"
    assert state.msg_store.keys() == {"m2", "r2"}


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


@pytest.mark.parametrize("comes", [True, False])
def test_who_asks_for_a_piece_of_a_message_waits_until_it_is_there(state: AnsweringState, comes: bool) -> None:
    asked = list[int]()
    sent = list[MutableMapping[str, Any]]()

    async def inner(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"which"
        asked.append(len(asked))
        content = b"content" if comes and len(asked) == 3 else b""
        said = PullObjectResponse(object_found=True, object_available=bool(content), object_content=content)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": said.SerializeToString()})

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"which", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def story() -> None:
        patient = Patient(inner, state.has_work, within_s=15.0 if comes else 0.05)
        await patient({"type": "http", "path": "/v1/runtime/pull-object"}, receive, send)

    asyncio.run(asyncio.wait_for(story(), 20))
    assert PullObjectResponse.FromString(sent[-1]["body"]).object_content == (b"content" if comes else b"")
    assert len(sent) == 2
