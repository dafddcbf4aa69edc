"""Which SuperNodes' keys Flower should know: kept in the book, told to a running SuperLink when there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.engines import EngineError, EngineUnreachable
from server.engines.control import Control
from server.enrolment.book import EnrolmentBook, NodeKey

COMPARE_S = 600.0
"""How often the book is compared with what SuperLink says itself."""


@dataclass(frozen=True)
class Registered:
    """What came of telling SuperLink.

    Attributes:
        told: the members that it was told of, those to be shut out first.
        refused: what it said against a member's node, by member; that node stays out and the others go on.
    """

    told: list[str]
    refused: dict[str, str]


def pending(book: EnrolmentBook) -> bool:
    """Whether there is something that SuperLink has not been told, and has not refused."""
    return any(not node.applied and not node.refused for node in book.nodes())


def apply_registrations(book: EnrolmentBook, control: Control) -> Registered:
    """Compare the book with what SuperLink knows, and tell it what it lacks. It may be repeated.

    SuperLink may have lost its database since the book noted that it was told, or have an older copy of it, with keys
    that were shut out since, or never have been told.

    Raises:
        EngineUnreachable: it does not answer; what was told before stays told.
    """
    known = dict[str, list[bytes]]()
    for there in control.nodes():
        known.setdefault(there.name, []).append(_bare(there.public_key))
    told, refused = [], {}
    # Who is shut out comes first: a key that SuperLink does not take must not keep a suspended member in.
    for node in sorted(book.nodes(), key=lambda node: (node.wanted, node.member)):
        if node.applied and known.get(node.member, []) == ([_bare(node.public_key)] if node.wanted else []):
            continue
        try:
            _tell(node, control)
        except EngineUnreachable:
            raise
        except EngineError as error:
            refused[node.member] = str(error)
            book.node_applied(node, applied=False, refused=str(error))
            continue
        book.node_applied(node)
        told.append(node.member)
    return Registered(told, refused)


def _bare(public_key: bytes) -> bytes:
    """An OpenSSH public key without its comment."""
    return b" ".join(public_key.split()[:2])


def _tell(node: NodeKey, control: Control) -> None:
    if node.wanted:
        control.register(node.member, node.public_key)
    else:
        control.unregister(node.member)


class Comparing:
    """When SuperLink is told: what is new at once; all of it when SuperLink, or its database, is new, and now and then.

    Telling takes a process that is slow to start, so it is not done for nothing.
    """

    def __init__(self, database: Path) -> None:
        """Watch SuperLink's database (`flower/state.db`)."""
        self._database = database
        self._compared: tuple[int, int] | None = None
        self._due_s = 0.0

    def due(self, book: EnrolmentBook, *, listens: bool, now_s: float) -> bool:
        """Whether to tell SuperLink now; what it answers is given to `done`.

        Args:
            listens: whether SuperLink does.
            now_s: of a monotonic clock.
        """
        if not listens:
            self._compared = None  # it is another one when it is there again
            return False
        return pending(book) or self._compared != self._mark() or now_s >= self._due_s

    def done(self, now_s: float) -> None:
        """All was compared and told, or refused."""
        self._compared, self._due_s = self._mark(), now_s + COMPARE_S

    def _mark(self) -> tuple[int, int]:
        try:
            status = self._database.stat()
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)
