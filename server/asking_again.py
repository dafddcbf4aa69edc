"""Asking nodes with patience and to an end: who went away is asked again when it is back, until the time is over.

A firm whose process was ended repeats what it has said before, or says why it cannot; so to ask twice is safe. A
message lives as long as its question: a firm that comes back later is not handed it, and neither trains nor pays for a
round that has gone on without it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

from server.engines.asking import WENT_AWAY, Again, answers
from server.round_journal import RoundJournal

_MOST_TIMES = 4
_PAUSE_S = 2.0
_RETURN_S = 120.0  # a firm's machine may be started anew meanwhile; whoever stays away longer is away

_GRACE_S, _GRACE_EACH_S = 30.0, 0.5  # replies that came in time are taken one after the other, a large one in a moment

Messages = Callable[[Collection[int], float], Iterator[Message]]
"""Makes the messages for these nodes, one at a time, each to live for so many seconds."""


@dataclass(frozen=True)
class Waiting:
    """How time passes for who waits.

    Attributes:
        clock: seconds, monotonic.
        sleep: waits so many seconds.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


REAL_TIME = Waiting()


class _Absent:
    """The nodes of a question that were away when they were last heard of, and what was said of them.

    Args:
        return_s: until when those are waited for that no message could be sent to, or whose message was lost.
    """

    def __init__(self, return_s: float) -> None:
        self._return_s = return_s
        self._looked_s = float("-inf")
        self._nodes = dict[int, Message | None]()

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: int) -> bool:
        return node in self._nodes

    def said(self, node: int, reply: Message) -> None:
        """SuperLink's word that the node went away with its message."""
        self._nodes[node] = reply

    def unreached(self, nodes: Iterable[int]) -> None:
        """No message is under way to these."""
        for node in nodes:
            self._nodes.setdefault(node, None)

    def last_words(self) -> list[tuple[int, Message]]:
        """What was said of those of which something was."""
        return [(node, reply) for node, reply in self._nodes.items() if reply is not None]

    def returned(self, now_s: float, connected: Callable[[], Iterable[int]]) -> list[int]:
        """Those that are there again, who are away no more; it is looked for them every `_PAUSE_S`."""
        if now_s >= self._return_s:
            self._nodes = dict(self.last_words())
        if not self._nodes or now_s < self._looked_s + _PAUSE_S:
            return []
        self._looked_s = now_s
        back = sorted(self._nodes.keys() & set(connected()))
        for node in back:
            del self._nodes[node]
        return back


class Question:
    """One message to each of some nodes.

    Attributes:
        silent: the nodes that have not answered yet, with what they are called.
    """

    def __init__(
        self, grid: Grid, kind: str, names: Mapping[int, str], timeout_s: float, journal: RoundJournal, waiting: Waiting
    ) -> None:
        """Of `kind` to the nodes in `names`; the journal is told for whom there is a wait."""
        self.silent = dict(names)
        self._grid = grid
        self._kind = kind
        self._timeout_s = timeout_s
        self._journal = journal
        self._waiting = waiting

    def ask(self, messages: Messages) -> Iterator[Message]:
        """Push the messages and yield one reply a node, errors too, until all have answered or the time is over."""
        began_s = self._waiting.clock()
        until_s = began_s + self._timeout_s
        asking, times, absent = list(self.silent), Counter[int](), _Absent(began_s + min(self._timeout_s, _RETURN_S))

        def again(lost: Collection[int]) -> Iterator[Message]:
            """Ask who is back, while others are still waited for."""
            absent.unreached(node for node in lost if node in self.silent)
            back = self._back(absent)
            asking.extend(back)
            return messages(back, self._life_s(until_s)) if back else iter(())

        while asking or absent:
            first = messages(tuple(asking), self._life_s(until_s)) if asking else iter(())
            for reply in self._replies(first, until_s, again):
                node = reply.metadata.src_node_id
                if node not in self.silent or node in absent:
                    continue  # not asked, or a second reply
                times[node] += 1
                if reply.has_error() and reply.error.code in WENT_AWAY and times[node] < _MOST_TIMES:
                    absent.said(node, reply)
                    continue
                del self.silent[node]
                yield reply
            if self._waiting.clock() >= until_s:
                for node, last in absent.last_words():
                    del self.silent[node]
                    yield last
                break
            # The engine takes nothing for a node that is not connected at this moment, and says nothing of it.
            absent.unreached(node for node in asking if node in self.silent)
            asking.clear()
            if absent:
                self._sleep(_PAUSE_S)
                asking.extend(self._back(absent))
        self._journal.waits_no_more()

    def _life_s(self, until_s: float) -> float:
        """How long a message of now lives: SuperLink drops the reply to one that has ended, so a little longer."""
        left_s = max(0.0, until_s - self._waiting.clock())
        return left_s + _GRACE_S + _GRACE_EACH_S * len(self.silent)

    def _replies(self, messages: Iterator[Message], until_s: float, again: Again) -> Iterator[Message]:
        left_s = max(0.0, until_s - self._waiting.clock())
        clock = self._waiting.clock
        return answers(self._grid, messages, left_s, again=again, clock=clock, sleep=self._sleep)

    def _back(self, absent: _Absent) -> list[int]:
        """Those that were away and are there again."""
        return absent.returned(self._waiting.clock(), lambda: self._grid.get_node_ids())

    def _sleep(self, seconds: float) -> None:
        self._journal.waits(self._kind, self.silent.values(), self._timeout_s)
        self._waiting.sleep(seconds)
