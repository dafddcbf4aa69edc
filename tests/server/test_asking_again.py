"""A question finds its nodes when they are back, and ends in any case."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import message as flower_message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.server.superlink.linkstate import sql_linkstate, utils
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager

from server.asking_again import Question, Waiting
from server.round_journal import RoundJournal

TIMEOUT_S = 600.0


class Post:
    """A grid that takes messages for connected nodes only, which answer at once; time passes in pauses."""

    def __init__(self, connects_s: dict[int, float]) -> None:
        self.connects_s = connects_s
        self.now_s = 0.0
        self.asked: list[int] = []
        self.ends_s: list[float] = []

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s

    def get_node_ids(self) -> Iterable[int]:
        return [node for node, at_s in self.connects_s.items() if at_s <= self.now_s]

    def push_messages(self, messages: Iterable[Any]) -> list[str | None]:
        there, nodes = set(self.get_node_ids()), [one.metadata.dst_node_id for one in messages]
        self.asked += [node for node in nodes if node in there]
        return [str(node) if node in there else None for node in nodes]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Any]:
        return [_reply(int(one)) for one in message_ids]

    def ask(self) -> tuple[list[int], dict[int, str]]:
        """Who answered, and who is silent at the end."""
        names = {node: f"firm-{node}" for node in self.connects_s}
        waiting, journal = Waiting(lambda: self.now_s, self.sleep), RoundJournal(None, "credit", lambda: 0.0)
        question = Question(self, "train.update", names, TIMEOUT_S, journal, waiting)  # type: ignore[arg-type]
        return [reply.metadata.src_node_id for reply in question.ask(self.messages)], question.silent

    def messages(self, nodes: Collection[int], life_s: float) -> Iterator[Any]:
        self.ends_s += [self.now_s + life_s] * len(nodes)
        to = (SimpleNamespace(dst_node_id=node) for node in nodes)
        return (SimpleNamespace(metadata=metadata, has_error=lambda: True) for metadata in to)


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


class Busy(Post):
    """One of its nodes, 11, answers after 60 s; of the first message to the other, 12, something else is said."""

    def __init__(self, said: Callable[[str], Any]) -> None:
        super().__init__({11: 0.0, 12: 0.0})
        self.said, self.answered_s = said, dict[int, float]()

    def pull_messages(self, message_ids: Iterable[str]) -> list[Any]:
        found = []
        for one in message_ids:
            if one == "12" and self.asked.count(12) == 1:
                found.append(self.said(one))
            elif one == "12" or self.now_s >= 60:
                self.answered_s.setdefault(int(one), self.now_s)
                found.append(_reply(int(one)))
        return found


def _error(node: int, message: str, code: int) -> Any:
    metadata = SimpleNamespace(src_node_id=node, reply_to_message_id=message)
    return SimpleNamespace(metadata=metadata, error=SimpleNamespace(code=code), has_error=lambda: True)


@pytest.mark.parametrize(
    "said",
    [
        lambda one: _error(12, one, ErrorCode.CLIENT_APP_CRASHED),
        lambda one: _error(SUPERLINK_NODE_ID, one, ErrorCode.MESSAGE_UNAVAILABLE),
    ],
)
def test_who_went_away_is_asked_again_while_others_are_waited_for(said: Callable[[str], Any]) -> None:
    post = Busy(said)
    answered, silent = post.ask()
    assert (sorted(answered), silent) == ([11, 12], {})
    assert post.asked == [11, 12, 12]
    assert post.answered_s[12] < 5 < 60 <= post.answered_s[11]


def test_a_message_ends_with_its_question_and_a_little_later() -> None:
    post = Post({1: 0.0, 2: 30.0, 3: 400.0})
    post.ask()
    assert len(post.ends_s) == 4  # node 3 is not there in time
    assert all(TIMEOUT_S < end_s <= TIMEOUT_S + 35 for end_s in post.ends_s)


class SuperLink:
    """SuperLink's own state as a grid, with one node that is connected and asks for nothing until it is told to."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        began, self.now_s = datetime.now(UTC), 0.0
        for module in (flower_message, sql_linkstate, utils):
            patch.setattr(module, "now", lambda: began + timedelta(seconds=self.now_s))
        nodes = NoOpFederationManager()
        self.state = SqlLinkState(str(folder / "state.db"), nodes, ObjectStoreFactory().store())
        nodes.linkstate = self.state
        self.state.initialize()
        self.node = self.state.create_node("firm", "firm", b"key", 1e6)
        self.state.acknowledge_node_heartbeat(self.node, 1e6)
        self.run = self.state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, "", "serverapp")
        identity = {"_task_id": 1, "_run_id": self.run, "_node_id": SUPERLINK_NODE_ID}
        for name, value in identity.items():
            patch.setattr(TaskIdentity, name, value)
        self.heard: list[Message] = []

    def sleep(self, pause_s: float) -> None:
        self.now_s += max(pause_s, 20.0)

    def get_node_ids(self) -> Iterable[int]:
        return [self.node]

    def push_messages(self, messages: Iterable[Message]) -> list[str | None]:
        pushed = []
        for one in messages:
            one.metadata.__dict__["_run_id"] = self.run
            one.metadata.__dict__["_message_id"] = one.object_id
            pushed.append(self.state.store_message_ins(one))
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self.heard += (found := self.state.get_message_res(set(message_ids), self.run))
        return found

    def ask(self, shorter_by_s: float = 0.0) -> tuple[list[int], dict[int, str]]:
        def messages(nodes: Collection[int], life_s: float) -> Iterator[Message]:
            content = RecordDict({"m": ConfigRecord({"at": self.now_s})})
            return (Message(content, node, "train.update", ttl=life_s - shorter_by_s) for node in nodes)

        waiting, journal = Waiting(lambda: self.now_s, self.sleep), RoundJournal(None, "credit", lambda: 0.0)
        names = {self.node: "firm-1"}
        question = Question(self, "train.update", names, TIMEOUT_S, journal, waiting)  # type: ignore[arg-type]
        return [reply.metadata.src_node_id for reply in question.ask(messages)], question.silent


@pytest.fixture
def superlink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    return SuperLink(tmp_path, monkeypatch)


def test_a_node_that_comes_after_the_question_is_over_is_handed_nothing(superlink: SuperLink) -> None:
    assert superlink.ask() == ([], {superlink.node: "firm-1"})
    assert TIMEOUT_S <= superlink.now_s < TIMEOUT_S + 20
    superlink.now_s = TIMEOUT_S + 35
    assert superlink.state.get_message_ins(superlink.node, None) == []


def test_a_node_that_comes_in_time_is_handed_its_message(superlink: SuperLink) -> None:
    superlink.push_messages([Message(RecordDict(), superlink.node, "train.update", ttl=TIMEOUT_S)])
    superlink.now_s = TIMEOUT_S - 1
    assert len(superlink.state.get_message_ins(superlink.node, None)) == 1


def test_what_superlink_says_of_a_message_that_has_ended_is_no_answer(superlink: SuperLink) -> None:
    assert superlink.ask(shorter_by_s=TIMEOUT_S) == ([], {superlink.node: "firm-1"})
    assert {one.error.code for one in superlink.heard} == {ErrorCode.MESSAGE_UNAVAILABLE}
    assert {one.metadata.src_node_id for one in superlink.heard} == {SUPERLINK_NODE_ID}
