"""Answers are taken as they come: few messages are under way at once, and nothing waits longer than it must."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from server.engines import asking
from server.engines.asking import AT_ONCE, answers


class Content:
    """Stands for a message or reply that holds a value of bytes."""

    def __init__(self, value: bytes = b"", *, cyclic: bool = False) -> None:
        self.config_records = {"record": {"value": value}}
        self.me = self if cyclic else None


class Post:
    """A grid whose nodes answer at given seconds; `None` never answers."""

    def __init__(
        self,
        ready_s: Iterable[float | None],
        *,
        lost: frozenset[int] = frozenset(),
        value: Callable[[], bytes] = bytes,
        reply: bytes = b"",
        cyclic: bool = False,
    ) -> None:
        self.ready_s = list(ready_s)
        self.lost = lost
        self.value, self.reply, self.cyclic = value, reply, cyclic
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.pushed: list[int] = []
        self.pulls: list[int] = []
        self.sent: list[weakref.ref[Content]] = []
        self.answered: list[weakref.ref[Content]] = []
        self.most_alive = 0

    def messages(self) -> Iterator[Any]:
        for node in range(len(self.ready_s)):
            content = Content(self.value(), cyclic=self.cyclic)
            self.sent.append(weakref.ref(content))
            metadata = SimpleNamespace(dst_node_id=node)
            yield SimpleNamespace(metadata=metadata, content=content, has_error=lambda: False)
            del content

    def push_messages(self, messages: list[Any]) -> list[str | None]:
        self.pushed.append(len(messages))
        self._count()
        return [None if one.metadata.dst_node_id in self.lost else str(one.metadata.dst_node_id) for one in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Any]:
        wanted, replies = list(message_ids), []
        self.pulls.append(len(wanted))
        for one in wanted:
            ready_s = self.ready_s[int(one)]
            if ready_s is not None and ready_s <= self.now_s:
                content = Content(self.reply, cyclic=self.cyclic)
                self.answered.append(weakref.ref(content))
                metadata = SimpleNamespace(reply_to_message_id=one, src_node_id=int(one))
                replies.append(SimpleNamespace(metadata=metadata, content=content, has_error=lambda: False))
        self._count()
        return replies

    def _count(self) -> None:
        if not self.cyclic:
            gc.collect()
        alive = sum(ref() is not None for refs in (self.sent, self.answered) for ref in refs)
        self.most_alive = max(self.most_alive, alive)

    def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now_s += pause_s

    def ask(self, timeout_s: float) -> list[tuple[str, float]]:
        """Which message was answered when."""
        taken = []
        replies = answers(
            self,  # type: ignore[arg-type]
            self.messages(),
            timeout_s,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )
        for reply in replies:
            taken.append((reply.metadata.reply_to_message_id, self.now_s))
            del reply
        return taken


@pytest.fixture(autouse=True)
def _collected_at_little_cost() -> Iterator[None]:
    """What other tests and libraries have left is not gone through again at every collection."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_who_answers_at_once_is_not_waited_for() -> None:
    post = Post([0.0] * 5)
    assert [one for one, _ in post.ask(10)] == ["0", "1", "2", "3", "4"]
    assert post.pauses == []


def test_each_answer_is_taken_soon_after_it_comes() -> None:
    post = Post([0.0, 0.3, 5.0, 0.1])
    taken = dict(post.ask(60))
    assert taken["0"] == 0.0
    for one, ready_s in (("1", 0.3), ("2", 5.0), ("3", 0.1)):
        assert ready_s <= taken[one] <= ready_s + 1.0
    assert max(post.pauses) <= 1.0
    assert len(post.pauses) < 30


def test_who_does_not_answer_in_time_is_left() -> None:
    post = Post([0.0, None, 3.0, 99.0])
    assert [one for one, _ in post.ask(4)] == ["0", "2"]
    assert abs(post.now_s - 4) < 1e-9


def test_what_is_there_when_time_is_up_is_still_taken() -> None:
    """The caller may have needed all of the time for the answers before."""
    post = Post([0.0, 1.0])
    taken = []
    for reply in answers(post, post.messages(), 2, clock=lambda: post.now_s, sleep=post.sleep):  # type: ignore[arg-type]
        taken.append(reply.metadata.reply_to_message_id)
        post.now_s += 50
    assert taken == ["0", "1"]


def test_what_cannot_be_pushed_is_not_waited_for() -> None:
    post = Post([0.0, 0.0, 0.0], lost=frozenset({1}))
    assert [one for one, _ in post.ask(10)] == ["0", "2"]
    assert post.pauses == []


def test_nobody_asked_is_nobody_waited_for() -> None:
    post = Post([])
    assert post.ask(10) == []
    assert (post.pushed, post.pauses) == ([], [])


def test_few_messages_and_answers_are_in_memory_at_once() -> None:
    post = Post([0.0] * (AT_ONCE * 6 + 1))
    assert len(post.ask(10)) == AT_ONCE * 6 + 1
    assert max(post.pushed) == max(post.pulls) == AT_ONCE
    assert post.most_alive <= 2 * AT_ONCE + 2
    late = Post([0.5] * (AT_ONCE * 6))
    assert len(late.ask(10)) == AT_ONCE * 6
    assert late.most_alive <= 2 * AT_ONCE + 2


def test_of_large_messages_and_answers_fewer_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BYTES_AT_ONCE", 1000)
    count = 5 * AT_ONCE
    requests = Post([0.0] * count, value=lambda: bytes(bytearray(250)))
    assert len(requests.ask(10)) == count
    assert max(requests.pushed) == 4
    replies = Post([0.0] * count, reply=bytes(200))
    assert len(replies.ask(10)) == count
    assert (max(replies.pushed), max(replies.pulls)) == (AT_ONCE, 5)
    larger_than_all = Post([0.0] * 3, value=lambda: bytes(bytearray(2000)), reply=bytes(2000))
    assert len(larger_than_all.ask(10)) == 3
    assert larger_than_all.pushed == [1, 1, 1]
    shared = bytes(bytearray(900))
    same = Post([0.0] * count, value=lambda: shared)
    assert len(same.ask(10)) == count
    assert max(same.pushed) == AT_ONCE


def test_messages_that_refer_to_themselves_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Flower's records do: without a collection in time, the memory of a round grows with its firms."""
    monkeypatch.setattr(asking, "BYTES_AT_ONCE", 1000)
    post = Post([0.0] * (5 * AT_ONCE), value=lambda: bytes(bytearray(250)), reply=bytes(200), cyclic=True)
    gc.collect()
    gc.disable()
    try:
        assert len(post.ask(10)) == 5 * AT_ONCE
    finally:
        gc.enable()
    assert post.most_alive <= 16
