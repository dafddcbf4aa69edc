"""SuperLink is told of every node, whatever it makes of one of them, and again when it has forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.engines import EngineError, EngineUnreachable
from server.engines.control import Node
from server.enrolment.book import EnrolmentBook
from server.enrolment.registrations import COMPARE_S, Comparing, apply_registrations, pending


class SuperLink:
    """A Control API that keeps what it was told."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.refuses: set[str] = set()
        self.away = False

    def nodes(self) -> list[Node]:
        if self.away:
            raise EngineUnreachable("SuperLink does not answer")
        return [
            Node(name, at, online=False, last_seen_s=None, public_key=key)
            for at, (name, key) in enumerate(self.keys.items())
        ]

    def register(self, name: str, public_key: bytes) -> None:
        if name in self.refuses:
            raise EngineError("SuperLink refused: it has this key already")
        self.keys[name] = public_key

    def unregister(self, name: str) -> None:
        self.keys.pop(name, None)


@pytest.fixture
def book() -> Iterator[EnrolmentBook]:
    with EnrolmentBook(None) as book:
        for member in ("firm-1", "firm-2", "firm-3"):
            book.want_node(member, member.encode())
        yield book


def apply(book: EnrolmentBook, link: SuperLink) -> tuple[list[str], list[str]]:
    done = apply_registrations(book, link)  # type: ignore[arg-type]
    return done.told, sorted(done.refused)


def test_a_node_that_is_refused_keeps_nobody_else_out_or_in(book: EnrolmentBook) -> None:
    link = SuperLink()
    assert apply(book, link) == (["firm-1", "firm-2", "firm-3"], [])
    book.want_node("firm-1", b"another")
    book.want_node("firm-3", None)
    book.want_node("firm-4", b"firm-4")
    link.refuses = {"firm-1"}
    assert apply(book, link) == (["firm-3", "firm-4"], ["firm-1"])
    assert sorted(link.keys) == ["firm-1", "firm-2", "firm-4"]
    assert not pending(book)  # it is not asked again all the time
    assert {node.member: node.refused for node in book.nodes() if node.refused} == {
        "firm-1": "SuperLink refused: it has this key already"
    }
    link.refuses = set()
    assert apply(book, link) == (["firm-1"], [])
    assert not any(node.refused for node in book.nodes())


def test_another_key_is_tried_at_once(book: EnrolmentBook) -> None:
    link = SuperLink()
    link.refuses = {"firm-1"}
    apply(book, link)
    book.want_node("firm-1", b"another")
    assert pending(book)


def test_what_superlink_has_lost_it_is_told_again(book: EnrolmentBook) -> None:
    link = SuperLink()
    apply(book, link)
    book.want_node("firm-2", None)
    apply(book, link)
    assert apply(book, link) == ([], [])
    link.keys = {"firm-2": b"firm-2", "firm-3": b"firm-3"}  # an older copy of its database
    assert apply(book, link) == (["firm-2", "firm-1"], [])
    assert sorted(link.keys) == ["firm-1", "firm-3"]


def test_a_key_that_an_older_copy_brings_back_is_shut_out_again(book: EnrolmentBook) -> None:
    """The member has changed its SuperNode's key since the copy was made."""
    link = SuperLink()
    apply(book, link)
    book.want_node("firm-2", b"type another comment")
    apply(book, link)
    before = {**link.keys, "firm-2": b"firm-2"}
    link.keys = before
    assert apply(book, link) == (["firm-2"], [])
    assert link.keys["firm-2"] == b"type another comment"
    link.keys["firm-2"] = b"type another"  # as SuperLink tells it
    assert apply(book, link) == ([], [])


def test_a_superlink_that_is_away_is_told_later(book: EnrolmentBook) -> None:
    link = SuperLink()
    link.away = True
    with pytest.raises(EngineUnreachable):
        apply(book, link)
    assert pending(book)


def test_it_is_told_when_it_or_its_database_is_new_and_now_and_then(book: EnrolmentBook, tmp_path: Path) -> None:
    database, comparing = tmp_path / "state.db", Comparing(tmp_path / "state.db")
    database.write_bytes(b"1")
    assert not comparing.due(book, listens=False, now_s=0.0)
    apply(book, SuperLink())
    assert comparing.due(book, listens=True, now_s=0.0)
    comparing.done(0.0)
    assert not comparing.due(book, listens=True, now_s=COMPARE_S - 1)
    assert comparing.due(book, listens=True, now_s=COMPARE_S)
    comparing.done(COMPARE_S)
    database.rename(tmp_path / "lost.db")
    database.write_bytes(b"2")
    assert comparing.due(book, listens=True, now_s=COMPARE_S)
    comparing.done(COMPARE_S)
    assert not comparing.due(book, listens=False, now_s=COMPARE_S)
    assert comparing.due(book, listens=True, now_s=COMPARE_S)  # started again
    comparing.done(COMPARE_S)
    book.want_node("firm-2", None)
    assert comparing.due(book, listens=True, now_s=COMPARE_S)
