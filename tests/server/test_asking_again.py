"""A question finds its nodes when they are back, and ends in any case."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from server.asking_again import Question, Waiting
from server.round_journal import RoundJournal

TIMEOUT_S = 600.0


class Post:
    """A grid that takes messages for connected nodes only, which answer at once; time passes in pauses."""

    def __init__(self, connects_s: dict[int, float]) -> None:
        self.connects_s = connects_s
        self.now_s = 0.0
        self.asked: list[int] = []

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s

    def get_node_ids(self) -> Iterable[int]:
        return [node for node, at_s in self.connects_s.items() if at_s <= self.now_s]

    def push_messages(self, messages: Iterable[Any]) -> list[str | None]:
        there = set(self.get_node_ids())
        self.asked += (taken := [one.node for one in messages if one.node in there])
        return [str(node) for node in taken] + [None]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Any]:
        return [_reply(int(one)) for one in message_ids]

    def ask(self) -> tuple[list[int], dict[int, str]]:
        """Who answered, and who is silent at the end."""
        names = {node: f"firm-{node}" for node in self.connects_s}
        waiting, journal = Waiting(lambda: self.now_s, self.sleep), RoundJournal(None, "credit", lambda: 0.0)
        question = Question(self, "train.update", names, TIMEOUT_S, journal, waiting)  # type: ignore[arg-type]
        return [reply.metadata.src_node_id for reply in question.ask(_messages)], question.silent


def _messages(nodes: Collection[int]) -> Iterator[Any]:
    return (SimpleNamespace(node=node, has_error=lambda: True) for node in nodes)


def _reply(node: int) -> Any:
    metadata = SimpleNamespace(src_node_id=node, reply_to_message_id=str(node))
    content = SimpleNamespace(config_records={})
    return SimpleNamespace(metadata=metadata, content=content, has_error=lambda: False)


def test_a_node_that_is_not_connected_when_it_is_asked_is_asked_when_it_is_back() -> None:
    post = Post({1: 0.0, 2: 30.0})
    assert post.ask() == ([1, 2], {})
    assert post.asked == [1, 2]
    assert 30 <= post.now_s < 40


def test_a_node_that_stays_away_is_not_waited_for_to_the_end() -> None:
    post = Post({1: 0.0, 2: 500.0})
    assert post.ask() == ([1], {2: "firm-2"})
    assert 120 <= post.now_s < 130
