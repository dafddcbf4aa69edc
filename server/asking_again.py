"""Asking nodes with patience and to an end: who went away is asked again when it is back, until the time is over.

A firm whose process was ended repeats what it has said before, or says why it cannot; so to ask twice is safe. A
message lives as long as its question: a firm that comes back later is not handed it, and neither trains nor pays for a
round that has gone on without it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

from server.engines.asking import WENT_AWAY, answers
from server.round_journal import RoundJournal

_MOST_TIMES = 4
_PAUSE_S = 2.0
_RETURN_S = 120.0  # a SuperNode that was killed is refused for up to a minute; whoever stays away longer is away

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
        until_s, return_s = began_s + self._timeout_s, began_s + min(self._timeout_s, _RETURN_S)
        asking, times = list(self.silent), Counter[int]()
        away = dict[int, Message | None]()  # with what was said of them; None for those that nothing could be sent to
        while asking or away:
            for reply in self._replies(messages(asking, self._life_s(until_s)) if asking else iter(()), until_s):
                node = reply.metadata.src_node_id
                if node not in self.silent or node in away:
                    continue  # not asked, or a second reply
                times[node] += 1
                if reply.has_error() and reply.error.code in WENT_AWAY and times[node] < _MOST_TIMES:
                    away[node] = reply
                    continue
                del self.silent[node]
                yield reply
            if self._waiting.clock() >= until_s:
                for node, last in away.items():
                    if last is not None:
                        del self.silent[node]
                        yield last
                break
            # The engine takes nothing for a node that is not connected at this moment, and says nothing of it.
            away |= {node: None for node in asking if node in self.silent and node not in away}
            if self._waiting.clock() >= return_s:
                away = {node: last for node, last in away.items() if last is not None}
            asking = self._back(away)
        self._journal.waits_no_more()

    def _life_s(self, until_s: float) -> float:
        """How long a message of now lives: SuperLink drops the reply to one that has ended, so a little longer."""
        left_s = max(0.0, until_s - self._waiting.clock())
        return left_s + _GRACE_S + _GRACE_EACH_S * len(self.silent)

    def _replies(self, messages: Iterator[Message], until_s: float) -> Iterator[Message]:
        left_s = max(0.0, until_s - self._waiting.clock())
        return answers(self._grid, messages, left_s, clock=self._waiting.clock, sleep=self._sleep)

    def _back(self, away: dict[int, Message | None]) -> list[int]:
        """Those that were away and are there again, after a pause."""
        if not away:
            return []
        self._sleep(_PAUSE_S)
        back = sorted(away.keys() & set(self._grid.get_node_ids()))
        for node in back:
            del away[node]
        return back

    def _sleep(self, seconds: float) -> None:
        self._journal.waits(self._kind, self.silent.values(), self._timeout_s)
        self._waiting.sleep(seconds)
