"""`artesian coordinator status` where there is nothing yet, and beside parts that cannot be asked."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from federation_world import federation
from join_world import JoinWorld
from runner_world import World

from artesian import app
from ledger.homes import SETTINGS, Settings
from server.coordinator import Coordinator
from server.engines.control import Node
from server.round_journal import RoundJournal
from server.run_orders import RunOrders, new_ticket
from server.status_facts import Looking, NotKnown
from server.words import unknown_node


def test_a_coordinator_that_was_never_up(tmp_path: Path) -> None:
    (tmp_path / "coordinator.toml").write_text('cid = "bread"\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["coordinator", "status", "--home", str(tmp_path)])
    assert done.exit_code == 3
    assert "  The coordinator was never up: start artesian coordinator up.\n" in done.stdout
    document = json.loads(CliRunner().invoke(app, ["coordinator", "status", "--home", str(tmp_path), "--json"]).stdout)
    assert (document["ok"], [one["code"] for one in document["findings"]]) == (False, ["down"])
    refused = CliRunner().invoke(app, ["coordinator", "status", "--home", str(tmp_path), "--json", "--watch"])
    assert (refused.exit_code, json.loads(refused.stdout)["ok"]) == (2, False)


class TwoThere(World):
    def nodes(self) -> list[Node]:
        self._reach()
        seen = {"firm-1": self.now_s, "firm-2": self.now_s - 600, "stranger": self.now_s}
        return [Node(name, 1, name != "firm-2", at_s) for name, at_s in seen.items()]


def test_members_are_the_ledgers_and_seen_by_the_superlink(tmp_path: Path) -> None:
    built, world = federation(tmp_path / "f", 3), TwoThere()
    (built.coordinator / SETTINGS).write_text(Settings(founding="f" * 64).toml(), encoding="utf-8")
    with Coordinator(built.coordinator) as coordinator:
        RunOrders(coordinator.store, new_ticket).order("credit", world.now_s)
        looking = Looking(coordinator, world, world.clock)
        facts = looking.look()
        assert not isinstance(facts.members, NotKnown)
        assert [(one.member, one.online, one.last_seen_s) for one in facts.members] == [
            ("firm-1", True, world.now_s),
            ("firm-2", False, world.now_s - 600),
            ("firm-3", False, None),
        ]
        (task,) = facts.tasks
        assert task.order is not None
        assert (task.name, task.order.phase, task.progress, task.next_s) == ("credit", "waiting", None, None)
        assert isinstance(facts.ledger, NotKnown)  # nobody serves it
        world.reachable = False
        assert looking.look().members == NotKnown("SuperLink does not answer")


def test_before_the_founding_the_founders_are_named(tmp_path: Path) -> None:
    world = JoinWorld(tmp_path)
    with closing(world), Coordinator(world.home) as coordinator:
        looking = Looking(coordinator, TwoThere(), world.clock)
        assert looking.look().awaited == tuple(sorted(world.invites))
        world.found()
        assert looking.look().awaited is None


class Numbered(World):
    def nodes(self) -> list[Node]:
        return [Node("firm-1", 6, True, self.now_s), Node("firm-2", 7, True, self.now_s)]


def test_a_node_that_has_not_said_whose_it_is_has_the_name_of_its_registration(tmp_path: Path) -> None:
    built, world = federation(tmp_path / "f", 3), Numbered()
    (built.coordinator / SETTINGS).write_text(Settings(founding="f" * 64).toml(), encoding="utf-8")
    with Coordinator(built.coordinator) as coordinator:
        journal = RoundJournal(coordinator.store, "credit", world.clock)
        journal.begin(3)
        journal.waits("query.hello", [unknown_node(7), unknown_node(9)], 60.0)
        (task,) = Looking(coordinator, world, world.clock).look().tasks
        assert task.progress is not None
        assert task.progress.waiting is not None
        assert task.progress.waiting.members == ("firm-2", "node 9")


@pytest.mark.parametrize("words", [["status"], ["runs"], ["schedule"]])
def test_a_home_that_is_none_is_said(tmp_path: Path, words: list[str]) -> None:
    done = CliRunner().invoke(app, ["coordinator", *words, "--home", str(tmp_path)])
    assert done.exit_code == 2
    assert "coordinator.toml: cannot be read" in done.stderr
