"""Send messages to nodes and take the answers as they come: few of either are in memory at once.

Flower's own `Grid.send_and_receive` gives all answers together, after looking for them every three seconds. Here one
answer can be dealt with, and let go, while others are still under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from flwr.app import Message
from flwr.serverapp import Grid

AT_ONCE = 32
"""How many messages are pushed, and how many answers pulled, together."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


def answers(
    grid: Grid,
    messages: Iterable[Message],
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Message]:
    """Push messages and yield their replies, in no promised order; errors are replies too.

    Args:
        grid: where the nodes are.
        messages: taken from the iterable as they are pushed.
        timeout_s: counted from the last push. What is there by then is still taken, however long the caller needs
            for each reply; what comes later is left.
        clock: seconds, monotonic.
        sleep: waits so many seconds.
    """
    rest, waiting = iter(messages), dict[str, None]()
    while pushed := list(islice(rest, AT_ONCE)):
        sent = [one for one in grid.push_messages(pushed) if one]  # Flower names what it could not push None
        del pushed  # a message may be large, and the next ones are made before these would be let go
        waiting |= dict.fromkeys(sent)
        yield from _ready(grid, waiting, sent)
    until_s, pause_s = clock() + timeout_s, _FIRST_PAUSE_S
    while waiting:
        left_s, before = until_s - clock(), len(waiting)
        yield from _ready(grid, waiting, list(waiting))
        if left_s <= 0:
            return
        pause_s = _FIRST_PAUSE_S if len(waiting) < before else min(2 * pause_s, _LONGEST_PAUSE_S)
        if waiting:
            sleep(min(pause_s, left_s))


def _ready(grid: Grid, waiting: dict[str, None], wanted: Sequence[str]) -> Iterator[Message]:
    """Pull what is there of the replies to `wanted`, and take them off what is waited for."""
    for start in range(0, len(wanted), AT_ONCE):
        for reply in grid.pull_messages(wanted[start : start + AT_ONCE]):
            waiting.pop(reply.metadata.reply_to_message_id, None)
            yield reply
