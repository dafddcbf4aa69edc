"""A Flower `Grid` whose nodes are called directly: no server, no polling, no serialisation.

What differs between engines is only how a node is called (`CallNode`): in this process, or in a Ray
worker. Everything that decides a result is here: ids come from the seed, replies come back in the order
in which the messages were pushed, and a node handles its messages one after the other.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from flwr.app import Context, Message, RecordDict
from flwr.common.constant import NUM_PARTITIONS_KEY, PARTITION_ID_KEY, SUPERLINK_NODE_ID
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from server.engines import EngineError
from server.engines.answering import private_message
from server.engines.control import ConfigValue, RunConfig

NodeConfig = Mapping[str, ConfigValue]

CallNode = Callable[[Message, Context], tuple[Message, Context]]
"""Hand one message to one node; returns its reply (errors are replies) and the node's context after it."""

_ID_BITS = 63  # Flower's ids are unsigned 64-bit; its records are signed


class DirectGrid(Grid):
    """The nodes of one run, in order of their partition ids.

    Args:
        nodes: one node_config a node; `partition-id` and `num-partitions` are filled in where missing.
        run_config: what every app of the run reads as `context.run_config`.
        call_node: see `CallNode`.
        seed: decides run and node ids (ascending with the partition), nothing else: apps draw from a seed of
            their own in `run_config`.
        workers: how many nodes are called at once. Replies keep their order whatever it is.
        clock: seconds, monotonic; only for `timeout`.
    """

    def __init__(
        self,
        nodes: Sequence[NodeConfig],
        run_config: RunConfig,
        call_node: CallNode,
        *,
        seed: int = 0,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not nodes:
            raise EngineError("engine: a run needs at least one node")
        if workers < 1:
            raise EngineError(f"engine: at least one worker must call the nodes, not {workers}")
        source = random.Random(seed)
        run_id = source.getrandbits(_ID_BITS)
        ids = sorted(source.sample(range(SUPERLINK_NODE_ID + 1, 2**_ID_BITS), len(nodes)))
        self._run = Run.create_empty(run_id)
        self._run.override_config = dict(run_config)
        self._contexts = {
            node_id: Context(
                run_id=run_id,
                node_id=node_id,
                node_config={PARTITION_ID_KEY: place, NUM_PARTITIONS_KEY: len(nodes), **node},
                state=RecordDict(),
                run_config=dict(run_config),
            )
            for place, (node_id, node) in enumerate(zip(ids, nodes, strict=True))
        }
        self._call_node, self._workers, self._clock = call_node, workers, clock
        self._waiting: dict[str, Message] = {}
        self._pushed = 0

    @property
    def run(self) -> Run:
        """The run that these nodes belong to."""
        return self._run

    def set_run(self, run: Run) -> None:
        """Refused: a grid of this kind is made for one run."""
        raise EngineError("engine: this grid belongs to one run: start another engine for another run")

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """As in Flower, where it is deprecated: use `Message(...)`."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Node ids, ascending, which is the order of `nodes`."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Stamp the messages and keep them until they are pulled; a private copy is what the node will see.

        Raises:
            EngineError: a message is addressed to no node of this run.
        """
        ids = []
        for message in messages:
            if message.metadata.dst_node_id not in self._contexts:
                raise EngineError(f"engine: this run has no node {message.metadata.dst_node_id}")
            self._pushed += 1
            # Flower's own grids stamp these two through the same door: Metadata has no setters for them.
            message_id = f"{self._run.run_id:016x}-{self._pushed}"
            message.metadata.__dict__.update(_message_id=message_id, _run_id=self._run.run_id)
            self._waiting[message_id] = private_message(message)
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Call the nodes of those messages that still wait, and return their replies, each once."""
        return self._answers(message_ids, None)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Push, call the nodes, and return their replies in the order of `messages`.

        After `timeout` seconds no further node is called; a call that is under way is waited for. What was
        not called gives no reply, as in Flower, and waits for a later pull.
        """
        deadline = None if timeout is None else self._clock() + timeout
        return self._answers(self.push_messages(messages), deadline)

    def _answers(self, message_ids: Iterable[str], deadline: float | None) -> list[Message]:
        wanted = [one for one in dict.fromkeys(message_ids) if one in self._waiting]
        by_node: dict[int, list[str]] = defaultdict(list)
        for message_id in wanted:
            by_node[self._waiting[message_id].metadata.dst_node_id].append(message_id)
        replies: dict[str, Message] = {}

        def call(node_id: int) -> None:
            for message_id in by_node[node_id]:
                if deadline is not None and self._clock() >= deadline:
                    return
                message = self._waiting.pop(message_id)
                reply, self._contexts[node_id] = self._call_node(message, self._contexts[node_id])
                replies[message_id] = private_message(reply)

        with ExitStack() as stack:
            if self._workers == 1:
                for node_id in by_node:
                    call(node_id)
            else:
                pool = stack.enter_context(ThreadPoolExecutor(self._workers))
                for _ in pool.map(call, by_node):
                    pass
        for number, message_id in enumerate(one for one in wanted if one in replies):
            replies[message_id].metadata.__dict__["_message_id"] = f"{message_id}-reply-{number}"
        return [replies[one] for one in wanted if one in replies]


def run_server_app(server_app: ServerApp, grid: DirectGrid, run_config: RunConfig) -> Context:
    """Run the ServerApp to its end on `grid`; returns its context. What it raises goes through."""
    # Message() reads its sender from this process-wide place, which Flower sets in every process of its own.
    # It is left set: another run of this process may still be under way, and each grid stamps its own run id.
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, grid.run.run_id, SUPERLINK_NODE_ID
    context = Context(
        run_id=grid.run.run_id,
        node_id=SUPERLINK_NODE_ID,
        node_config={},
        state=RecordDict(),
        run_config=dict(run_config),
    )
    server_app(grid, context)
    return context
