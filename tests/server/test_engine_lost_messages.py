"""What a node has lost, whoever waits for its answer is told of when the node asks for messages again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Metadata, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.server.superlink.linkstate.linkstate_factory import LinkStateFactory
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager

from server.engines.lost_messages import tell_of_lost_messages


class Link:
    """A SuperLink's state, with one run and one node that is connected."""

    def __init__(self, folder: Path) -> None:
        federation = NoOpFederationManager()
        factory = LinkStateFactory(str(folder / "state.db"), federation, ObjectStoreFactory(str(folder / "state.db")))
        self.state: Any = factory.state()
        self.node = self.state.create_node("aid", "name", b"key", 30.0)
        assert self.state.activate_node(self.node, 30.0)
        app, name = TaskType.SERVER_APP, NOOP_FEDERATION_ID
        self.run = self.state.create_run("fab", "1", "f" * 64, {}, name, None, "aid", app)

    def push(
        self, content: str, reply_to: str = "", pieces: int | None = None, before: Callable[[], object] = lambda: None
    ) -> str:
        """Store a message, or a reply to one; of its pieces only so many, `before` that something. Returns its id."""
        source, to = (self.node, SUPERLINK_NODE_ID) if reply_to else (SUPERLINK_NODE_ID, self.node)
        about = Metadata(
            self.run, "", source, to, reply_to, "", time.time(), 10.0 if reply_to else 1000.0, "query.hello"
        )
        message = make_message(about, content=RecordDict({"c": ConfigRecord({"said": content})}))
        message.metadata.__dict__["_message_id"] = message.object_id
        session = self.state.start_session(self.run)
        whole, tree = get_all_nested_objects(message), get_object_tree(message)
        stored, missing = self.state.store_message_and_object_tree(remove_content_from_message(message), tree, session)
        assert stored
        before()
        for name in missing[:pieces]:
            assert self.state.store_object(self.run, session, name, whole[name].deflate())
        return str(message.metadata.message_id)

    def pull(self) -> list[str]:
        """Ids of the messages that the node gets."""
        return [one.metadata.message_id for one in self.state.get_message_ins(node_id=self.node, limit=1)]

    def replies(self, *ids: str) -> list[int | None]:
        """What the ServerApp gets for its messages: their errors' codes, None for replies."""
        found = self.state.get_message_res(message_ids=set(ids), run_id=self.run)
        return [one.error.code if one.has_error() else None for one in found]


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Link:
    for name in ("get_message_ins", "store_message_and_object_tree"):
        monkeypatch.setattr(SqlLinkState, name, vars(SqlLinkState)[name])
    tell_of_lost_messages()
    return Link(tmp_path)


def test_a_message_that_was_taken_and_not_answered_is_lost_when_its_node_asks_again(link: Link) -> None:
    message = link.push("hello")
    assert link.pull() == [message]
    assert link.replies(message) == []
    assert link.pull() == []
    assert link.replies(message) == [ErrorCode.MESSAGE_UNAVAILABLE]


def test_one_that_is_lost_while_it_is_pushed_does_not_trouble_its_sender(link: Link) -> None:
    message = link.push("hello", before=lambda: (link.pull(), link.pull()))
    assert link.replies(message) == [ErrorCode.MESSAGE_UNAVAILABLE]


def test_one_that_nobody_has_taken_is_kept(link: Link) -> None:
    first = link.push("first")
    second = link.push("second")
    assert link.pull() == [first]
    link.push("answer", reply_to=first)
    assert link.pull() == [second]
    assert link.replies(first, second) == [None]


def test_a_reply_that_is_whole_is_kept(link: Link) -> None:
    message = link.push("hello")
    assert link.pull() == [message]
    reply = link.push("answer", reply_to=message)
    assert link.pull() == []
    assert link.replies(message) == [None]
    assert link.state.get_object(link.run, reply)


@pytest.mark.parametrize("told_before", [False, True])
def test_a_reply_of_which_pieces_are_missing_is_lost(link: Link, told_before: bool) -> None:
    message = link.push("hello")
    assert link.pull() == [message]
    reply = link.push("answer", reply_to=message, pieces=1)
    if told_before:  # the ServerApp knows that there is one, and asks for its pieces
        assert link.replies(message) == [None]
        link.state.delete_messages({message})
    assert link.pull() == []
    assert link.state.get_object(link.run, reply) is None
    if not told_before:
        assert link.replies(message) == [ErrorCode.MESSAGE_UNAVAILABLE]


def test_what_another_node_has_taken_is_its_own_affair(link: Link) -> None:
    message = link.push("hello")
    assert link.pull() == [message]
    other = link.state.create_node("aid", "name", b"another key", 30.0)
    link.state.activate_node(other, 30.0)
    assert link.state.get_message_ins(node_id=other, limit=1) == []
    assert link.state.get_message_ins(node_id=SUPERLINK_NODE_ID, limit=None, run_id=link.run) == []
    assert link.replies(message) == []
