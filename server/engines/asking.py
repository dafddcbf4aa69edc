"""Send messages to nodes and take the answers as they come: few of either are in memory at once.

Flower's own `Grid.send_and_receive` gives all answers together, after looking for them every three seconds. Here one
answer can be dealt with, and let go, while others are still under way.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

AT_ONCE = 32
"""How many messages are pushed, and how many answers pulled, together."""
BYTES_AT_ONCE = 32 << 20
"""Where they are large, as many as have so many bytes, or one: memory grows with a message, not with the nodes."""

WENT_AWAY = frozenset(
    {
        ErrorCode.MESSAGE_UNAVAILABLE,
        ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
        ErrorCode.NODE_UNAVAILABLE,
        ErrorCode.CLIENT_APP_CRASHED,
    }
)
"""Flower's errors for a node, or a process of it, that was ended. That the app raised is none: it would again."""

_FIRST_PULL = 4  # how large answers are shows when the first ones come
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5  # our SuperLink keeps a question waiting besides

Again = Callable[[Collection[int]], Iterable[Message]]
"""Is told the nodes of whose messages SuperLink has said that they are lost, and gives messages to push as well."""


def answers(
    grid: Grid,
    messages: Iterable[Message],
    timeout_s: float,
    *,
    again: Again = lambda _: (),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Message]:
    """Push messages and yield their replies, in no promised order; errors are replies too.

    Args:
        grid: where the nodes are.
        messages: taken from the iterable as they are pushed.
        timeout_s: counted from the last push. What is there by then is still taken, however long the caller needs
            for each reply; what comes later is left.
        again: what else is pushed while answers are waited for.
        clock: seconds, monotonic.
        sleep: waits so many seconds.
    """
    rest, asked = iter(messages), _Asked(grid)
    while sent := asked.push(rest):
        yield from asked.ready(sent)
    until_s, pause_s = clock() + timeout_s, _FIRST_PAUSE_S
    while asked.waiting:
        left_s, before = until_s - clock(), len(asked.waiting)
        yield from asked.ready(list(asked.waiting))
        if left_s <= 0:
            return
        more = iter(again(asked.take_lost()))
        while sent := asked.push(more):
            yield from asked.ready(sent)
        pause_s = _FIRST_PAUSE_S if len(asked.waiting) < before else min(2 * pause_s, _LONGEST_PAUSE_S)
        if asked.waiting:
            sleep(min(pause_s, left_s))


class _Asked:
    """The messages of one question to many nodes.

    Attributes:
        waiting: ids of the messages that are not answered yet, with their nodes, in the order in which they were
            pushed.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._together = _FIRST_PULL
        self._bytes = 0
        self._lost = set[int]()
        self.waiting = dict[str, int]()

    def push(self, rest: Iterator[Message]) -> list[str]:
        """Push the next messages; returns an id for each, empty where Flower could not push it; none when all are."""
        self._sweep()
        batch, sizes = list[Message](), dict[int, int]()
        for message in rest:
            batch.append(message)
            sizes |= _sizes(message)
            if len(batch) == AT_ONCE or sum(sizes.values()) >= BYTES_AT_ONCE:
                break
        if not batch:
            return []
        self._bytes += sum(sizes.values())
        ids = [one or "" for one in self._grid.push_messages(batch)]  # Flower names what it could not push None
        nodes = [message.metadata.dst_node_id for message in batch]
        self.waiting |= {one: node for one, node in zip(ids, nodes, strict=True) if one}
        return ids

    def take_lost(self) -> set[int]:
        """The nodes whose messages somebody else has answered: SuperLink, which has them no more. Each is told once."""
        lost, self._lost = self._lost, set()
        return lost

    def ready(self, ids: Sequence[str]) -> Iterator[Message]:
        """Pull what is there of the replies to messages, and take them off what is waited for."""
        wanted = [one for one in ids if one]
        while wanted:
            self._sweep()
            pulled, wanted = wanted[: self._together], wanted[self._together :]
            for reply in self._grid.pull_messages(pulled):
                size = sum(_sizes(reply).values())
                self._bytes += size
                self._together = max(1, min(AT_ONCE, BYTES_AT_ONCE // max(1, size)))
                node = self.waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None and reply.metadata.src_node_id != node:
                    self._lost.add(node)
                yield reply

    def _sweep(self) -> None:
        """Let messages go that are done with: Flower's records refer to themselves, so only the collector frees them.

        It counts objects and not their bytes, and would come when hundreds of large messages have been left.
        """
        if self._bytes >= BYTES_AT_ONCE:
            gc.collect()
            self._bytes = 0


def _sizes(message: Message) -> dict[int, int]:
    """How many bytes each large value of a message has, by identity: many messages may share one."""
    if message.has_error():
        return {}
    values = (value for record in message.content.config_records.values() for value in record.values())
    return {id(value): len(value) for value in values if isinstance(value, bytes)}
