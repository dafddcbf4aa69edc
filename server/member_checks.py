"""What the coordinator's doctor finds about members: SuperNodes that SuperLink does not take, and other releases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clients.doctor.check import Check, Finding, ok
from clients.plain_text import one_line
from clients.supervision.status import read_status
from clients.versions import SOFTWARE, misfit
from server.enrolment.book import ENROLMENT, EnrolmentBook, NodeKey
from server.heard import heard
from server.store import StateStore


def member_checks(home: Path, ours: str = SOFTWARE) -> list[Check]:
    """Of those who have joined this coordinator; none where nobody was ever invited."""
    if not (home / ENROLMENT).is_file():
        return []
    return [Check("nodes", lambda: _nodes(home)), Check("releases", lambda: _releases(home, ours))]


def nodes_of(home: Path) -> list[NodeKey]:
    """The members' SuperNodes, by the join desk's book; none where there is no book.

    Raises:
        StateUnusable: it cannot be read.
    """
    if not (home / ENROLMENT).is_file():
        return []
    with EnrolmentBook(home) as book:
        return book.nodes()


def _nodes(home: Path) -> Iterator[Finding]:
    nodes, status = nodes_of(home), read_status(home)
    runs = status is not None and status.alive
    for one in nodes:
        if one.refused:
            what = f"SuperLink does not take the SuperNode of {one.member}: {one_line(one.refused)}"
            mend = f"invite {one.member} anew; it moves node.key away and gives: artesian firm join FILE --again"
            if not one.wanted:
                mend = f"restart SuperLink: {one.member} was suspended, and its key must not stay registered"
            yield Finding("fail", what, mend)
        elif not one.applied and runs:
            that = "may connect" if one.wanted else "is to stay out"
            what = f"SuperLink has not been told that the SuperNode of {one.member} {that}"
            yield Finding("warn", what, f"the join desk does so within a minute; if not: see {home / 'logs'}")
    there = [one.member for one in nodes if one.wanted and one.applied]
    if there:
        yield ok(f"SuperLink knows the SuperNodes of {', '.join(there)}")


def _releases(home: Path, ours: str) -> Iterator[Finding]:
    with StateStore.of_home(home) as store:
        known = heard(store)
    for one in known.values():
        apart = misfit(one.member, one.release, "the coordinator", ours)
        if apart:
            what, _, mend = apart.partition("; ")
            yield Finding("fail", what, f"{mend}; releases one minor version apart work together")
    if known:
        yield ok(f"here artesian {ours}; " + ", ".join(f"{one.member} {one.release}" for one in known.values()))
    else:
        yield ok(f"here artesian {ours}; no member has said yet which release it runs")
