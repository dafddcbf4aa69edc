"""The gate: the firm's own app or a refusal, never the server's code, and nothing that was raised gets out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, Metadata, RecordDict
from flwr.app.message import make_message

from clients.disclosure import refuse
from clients.enrolment.consortium import ConsortiumApp, ConsortiumPolicy
from clients.flower.approvals import Approvals
from clients.flower.bundle import installed_bundle
from clients.flower.gate import Gate
from clients.messages import REPLIES, TRAIN, Refusal, unpack
from clients.refusal_log import RefusalLog

SECRET = "applicant 4711 owes 12,000"


def message() -> Message:
    asked = Metadata(1, "m", 1, 2, "", "", time.time(), 1000.0, TRAIN)
    return make_message(asked, content=RecordDict({"c": ConfigRecord({})}))


def context() -> Context:
    run_config: dict[str, bool | int | float | str] = {"home": "/of/somebody/else"}
    return Context(1, 1, {"home": "/of/somebody/else"}, RecordDict(), run_config)


class World:
    def __init__(self, home: Path, error: BaseException | None = None) -> None:
        self.home, self.error = home, error
        self.seen = list[Context]()
        self.gate = Gate(home, self._app, refuse, Approvals(home))

    def _app(self, asked: Message, given: Context) -> Message:
        self.seen.append(given)
        if self.error is not None:
            raise self.error
        return Message(RecordDict({}), reply_to=asked)

    def refusal(self) -> Refusal:
        """What the coordinator is told."""
        with pytest.raises(Refusal) as refused:
            unpack(self.gate(message(), context()).content, REPLIES[TRAIN], TRAIN)
        return refused.value


def test_the_installed_bundle_is_answered_by_the_firms_own_app(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.gate.examine(installed_bundle().content)
    assert not world.gate(message(), context()).has_error()
    assert len(world.seen) == 1


def test_no_run_can_name_another_home(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.gate.examine(installed_bundle().content)
    world.gate(message(), context())
    assert dict(world.seen[0].node_config) == {"home": str(tmp_path)}
    assert dict(world.seen[0].run_config) == {}


def test_another_bundle_is_refused_to_both_sides_and_runs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    changed = bytearray(installed_bundle().content)
    changed[1000] ^= 1
    world.gate.examine(bytes(changed))
    assert world.refusal().code == "AppNotApproved"
    assert world.seen == []
    (kept,) = RefusalLog(tmp_path).latest(5)
    assert (kept.code, kept.asked) == ("AppNotApproved", TRAIN)
    assert len(Approvals(tmp_path).asked()) == 1


def test_a_bundle_that_the_policy_does_not_name_is_refused_to_both_sides(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy = ConsortiumPolicy(cid="grain", name="Grain", app=(ConsortiumApp(sha256="b" * 64),))
    (tmp_path / "consortium.toml").write_text(policy.text())
    world.gate.examine(installed_bundle().content)
    assert world.refusal().code == "AppNotInPolicy"
    assert world.seen == []
    (kept,) = RefusalLog(tmp_path).latest(5)
    assert (kept.code, kept.asked) == ("AppNotInPolicy", TRAIN)
    assert set(Approvals(tmp_path).asked()) == {installed_bundle().sha256}


def test_a_policy_that_cannot_be_read_is_said_to_nobody_outside(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "consortium.toml").write_text("cid = ")
    world.gate.examine(installed_bundle().content)
    assert world.refusal().code == "Unready"
    assert world.seen == []


@pytest.mark.parametrize("file", ["approved-apps.json", "refused-apps.json", ".refused-apps.json.lock"])
def test_a_home_that_is_in_disorder_is_said_to_nobody_outside(tmp_path: Path, file: str) -> None:
    world = World(tmp_path)
    (tmp_path / file).mkdir()
    world.gate.examine(b"anything")
    refusal = world.refusal()
    assert refusal.code == ("Unready" if file == "approved-apps.json" else "AppNotApproved")
    assert str(tmp_path) not in str(refusal)
    assert world.seen == []


def test_a_bundle_that_the_operator_approved_is_answered_by_the_same_app(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.gate.examine(b"anything")
    (sha256,) = Approvals(tmp_path).asked()
    Approvals(tmp_path).approve(sha256)
    world.gate.examine(b"anything")
    assert not world.gate(message(), context()).has_error()
    assert len(world.seen) == 1


def test_without_a_bundle_nothing_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.refusal().code == "AppNotApproved"
    assert world.seen == []


@pytest.mark.parametrize("error", [ValueError(SECRET), KeyError(SECRET), SystemExit(SECRET), MemoryError(SECRET)])
def test_nothing_that_is_raised_gets_out(tmp_path: Path, error: BaseException) -> None:
    world = World(tmp_path, error)
    world.gate.examine(installed_bundle().content)
    refusal = world.refusal()
    assert refusal.code == "Unready"
    assert "4711" not in str(refusal)
