"""The coordinator's doctor on its members: a SuperNode that is not taken, and a release that does not fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clients.doctor.check import Finding, run_checks
from clients.supervision.marked import started_at
from clients.supervision.status import RUN, SetStatus, write_status
from server.enrolment.book import EnrolmentBook
from server.heard import Heard, hear
from server.member_checks import member_checks
from server.store import StateStore


def found(home: Path, ours: str = "0.2.0") -> list[tuple[str, Finding]]:
    return list(run_checks(member_checks(home, ours)).found)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with EnrolmentBook(tmp_path) as book:
        for member in ("firm-1", "firm-2", "firm-3"):
            book.want_node(member, member.encode())
        one, two, three = book.nodes()
        book.node_applied(one)
        book.node_applied(two, applied=False, refused="it has this\nkey already")
        book.node_applied(three)
        book.want_node("firm-3", None)
    return tmp_path


def test_a_home_without_members_is_not_looked_at(tmp_path: Path) -> None:
    assert member_checks(tmp_path) == []
    assert not any(tmp_path.iterdir())


def test_a_key_that_could_not_be_registered(home: Path) -> None:
    nodes = [one for name, one in found(home) if name == "nodes"]
    assert [one.level for one in nodes] == ["fail", "ok"]
    assert nodes[0].what == "SuperLink does not take the SuperNode of firm-2: it has this key already"
    assert "moves node.key away" in nodes[0].mend
    assert nodes[1].what == "SuperLink knows the SuperNodes of firm-1"


def test_a_suspended_members_key_that_stays_registered(home: Path) -> None:
    (home / RUN).mkdir()
    write_status(home, SetStatus("ready", os.getpid(), started_at(os.getpid()) or 0, "token", 0.0, ()))
    late = [one for name, one in found(home) if name == "nodes" and one.level == "warn"]
    assert [one.what for one in late] == ["SuperLink has not been told that the SuperNode of firm-3 is to stay out"]
    with EnrolmentBook(home) as book:
        book.node_applied(book.nodes()[2], applied=False, refused="no")
    (stays,) = [one for name, one in found(home) if name == "nodes" and "firm-3" in one.what]
    assert (stays.level, "must not stay registered" in stays.mend) == ("fail", True)


def test_releases_that_members_have_said(home: Path) -> None:
    (only,) = [one for name, one in found(home) if name == "releases"]
    assert (only.level, "no member has said yet" in only.what) == ("ok", True)
    with StateStore.of_home(home) as store:
        for member, release in (("firm-1", "0.1.7"), ("firm-2", "0.4.0"), ("firm-3", "of an unknown version")):
            hear(store, Heard(member, release, 1))
    apart, all_of_them = [one for name, one in found(home) if name == "releases"]
    assert (apart.level, apart.what) == ("fail", "firm-2 runs artesian 0.4.0, the coordinator artesian 0.2.0")
    assert apart.mend.startswith("upgrade the coordinator;")
    assert "firm-1 0.1.7, firm-2 0.4.0, firm-3 of an unknown version" in all_of_them.what
