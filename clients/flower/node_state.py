"""A SuperNode's state that forgets nobody who waits: a message whose task has failed is answered, and at once.

Flower's own answers such a message only if its task's process had come to fetch it, and only when its heartbeat has
been missing for a minute; it keeps every task that it ever handed out.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from flwr.app import Message
from flwr.common.constant import Status, SubStatus
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStore, ObjectStoreFactory
from flwr.supernode.nodestate import NodeState, NodeStateFactory
from flwr.supernode.nodestate.in_memory_nodestate import CLIENT_APP_CRASHED_ERROR, InMemoryNodeState

from clients.flower.kept_answer import Application, Receive, Scope, Send, asked, says_not_yet, whole_body

_TASKS_KEPT = 64
_ACQUIRE, _PULL_OBJECT = "/v1/runtime/acquire-task", "/v1/runtime/pull-object"
_LOOK_EVERY_S = 0.02


class AnsweringState(InMemoryNodeState):
    """Flower's state in memory, which answers for tasks that fail."""

    def __init__(self, object_store: ObjectStore) -> None:
        super().__init__(object_store)
        self._connected: Callable[[int], None] = lambda _: None

    def on_connected(self, told: Callable[[int], None]) -> None:
        """Call `told` with the node's id whenever the coordinator has let it in."""
        self._connected = told

    def set_node_id(self, node_id: int | None) -> None:
        """As in Flower, which does so when it is let in."""
        super().set_node_id(node_id)
        if node_id is not None:
            self._connected(node_id)

    def has_work(self) -> bool:
        """Whether a task waits for an executor."""
        with self.lock_task_store:
            return any(task.status.status == Status.PENDING for task in self.task_store.values())

    def get_messages_legacy(self, *, is_reply: bool | None = None, **named: Any) -> Sequence[Message]:
        """As in Flower, without answers to a message that was let go: its run was over before it had come whole.

        Flower's loop would take such an answer for the next message's, and from then on ask for another message while
        it has one in hand: each would count as lost.
        """
        if is_reply:
            with self.lock_msg_store:
                answered = {one: entry.message.metadata.reply_to_message_id for one, entry in self.msg_store.items()}
                late = [one for one, asked in answered.items() if asked and asked not in self.msg_store]
                self.delete_messages(message_ids=late)
            for one in late:
                self.object_store.delete(one)
        return super().get_messages_legacy(is_reply=is_reply, **named)

    def create_task(self, *arguments: object, **named: object) -> int | None:
        """As in Flower; the oldest of the tasks that are over are let go."""
        made: int | None = super().create_task(*arguments, **named)  # type: ignore[arg-type]
        with self.lock_task_store:
            over = [one for one, task in self.task_store.items() if task.status.status == Status.FINISHED]
            for one in over[:-_TASKS_KEPT]:
                del self.task_store[one]
        return made

    def finish_task(self, task_id: int, sub_status: str, details: str) -> bool:
        """As in Flower; whoever waits for the answer of a task that failed gets one, which says no more than that."""
        finished = bool(super().finish_task(task_id, sub_status, details))
        if finished and sub_status == SubStatus.FAILED:
            tasks = self.get_tasks(task_ids=[task_id])
            self._answer_for({task.run_id for task in tasks if task.type == TaskType.CLIENT_APP})
        return finished

    def _on_task_tokens_expired(self, tasks: list[Task]) -> None:
        self._answer_for({task.run_id for task in tasks if task.type == TaskType.CLIENT_APP})
        super()._on_task_tokens_expired(tasks)

    def _answer_for(self, run_ids: set[int]) -> None:
        """Answer the messages of runs that have no answer: a SuperNode deals with one message at a time."""
        if not run_ids:
            return
        with self.lock_msg_store:
            for entry in self.msg_store.values():
                metadata = entry.message.metadata
                if metadata.run_id in run_ids and not metadata.reply_to_message_id:
                    entry.is_retrieved = True  # or Flower takes it that somebody will still fetch it
            self._store_error_replies(run_ids, CLIENT_APP_CRASHED_ERROR)


class AnsweringStates(NodeStateFactory):
    """Makes one `AnsweringState`."""

    def __init__(self) -> None:
        super().__init__(objectstore_factory=ObjectStoreFactory())
        self._once = threading.Lock()
        self._made: AnsweringState | None = None

    def state(self) -> NodeState:
        """The state, made when first asked for."""
        with self._once:
            if self._made is None:
                self._made = AnsweringState(self.objectstore_factory.store())
            return self._made


class Patient:
    """An ASGI application that keeps who asks for a task, or for a piece of a message, waiting until it is there.

    So an executor has each task at once, and asks seldom; and a task may begin while its message is still under way.

    Args:
        within_s: how long at most.
    """

    def __init__(self, inner: Application, has_work: Callable[[], bool], within_s: float = 2.0) -> None:
        self._inner, self._has_work, self._within_s = inner, has_work, within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, and hand on."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path == _PULL_OBJECT:
            await self._piece(scope, receive, send)
            return
        if path == _ACQUIRE:
            until_s = asyncio.get_running_loop().time() + self._within_s
            while not self._has_work() and asyncio.get_running_loop().time() < until_s:
                await asyncio.sleep(_LOOK_EVERY_S)
        await self._inner(scope, receive, send)

    async def _piece(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(receive)
        if body is None:
            return
        until_s = asyncio.get_running_loop().time() + self._within_s
        answer = await asked(self._inner, scope, receive, body)
        while says_not_yet(answer) and asyncio.get_running_loop().time() < until_s:
            await asyncio.sleep(_LOOK_EVERY_S)
            answer = await asked(self._inner, scope, receive, body)
        await answer.give(send)
