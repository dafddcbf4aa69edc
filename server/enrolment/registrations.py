"""Which SuperNodes' keys Flower should know: kept in the book, told to a running SuperLink when there is one."""

from __future__ import annotations

from server.engines.control import Control
from server.enrolment.book import EnrolmentBook


def pending(book: EnrolmentBook) -> bool:
    """Whether there is something that SuperLink has not been told."""
    return any(not node.applied for node in book.nodes())


def apply_registrations(book: EnrolmentBook, control: Control) -> list[str]:
    """Tell SuperLink what it has not been told; returns the members concerned. It may be repeated.

    Raises:
        EngineUnreachable: it does not answer; what was told before stays told.
    """
    told = []
    for node in book.nodes():
        if node.applied:
            continue
        if node.wanted:
            control.register(node.member, node.public_key)
        else:
            control.unregister(node.member)
        book.node_applied(node)
        told.append(node.member)
    return told
