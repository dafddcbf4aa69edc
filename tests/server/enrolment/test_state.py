"""What the desk tells members of the coordinator: to active members alone, and to peers of other releases as well."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from join_world import BANK, CID, FIRMS, JoinWorld, Organisation

from clients.enrolment import enrolment_pb2 as pb
from clients.enrolment.desk_client import DeskClient
from clients.enrolment.errors import NotAdmitted, OlderDesk
from clients.enrolment.signed import BadRequest
from clients.enrolment.state import CoordinatorState, TaskState, from_message, to_message
from clients.errors import ClientError
from clients.greeting import RELEASE_NAME
from clients.versions import MESSAGE_VERSIONS, SOFTWARE, Span
from server.enrolment.service import serving
from server.heard import AGAIN_S, Heard, heard
from server.run_orders import RunOrders, new_ticket
from server.store import STATE_FILE, StateStore

SAYS = {"extension": {RELEASE_NAME: "0.3.1"}}


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JoinWorld, dict[str, Organisation]]]:
    with closing(JoinWorld(tmp_path_factory.mktemp("state"))) as world:
        yield world, world.found()
        world.desk.close()


def test_an_active_member_is_told_and_its_release_is_noted(founded: tuple[JoinWorld, dict[str, Organisation]]) -> None:
    world, everyone = founded
    with StateStore(world.home / STATE_FILE) as store:
        RunOrders(store, new_ticket).order("loans", world.clock())
        at = world.desk.state(everyone["firm-1"].sign("State", SAYS))
        assert (at.release, at.messages, at.runner_seen_s) == (SOFTWARE, MESSAGE_VERSIONS, None)
        assert at.tasks is not None
        assert {one.phase for one in at.tasks} <= {"idle", "waits-for-turn"}
        assert heard(store) == {"firm-1": Heard("firm-1", "0.3.1", int(world.clock()))}
        world.clock.now_s += AGAIN_S / 2
        world.desk.state(everyone["firm-1"].sign("State", SAYS))
        assert heard(store)["firm-1"].heard_s == int(world.clock() - AGAIN_S / 2)  # nothing new to write
        world.desk.state(everyone["firm-1"].sign("State", {"extension": {RELEASE_NAME: "0.4.0"}}))
        world.desk.state(everyone[BANK].sign("State", {"extension": {"colour": "green"}}))  # of a later release
        assert heard(store)["firm-1"] == Heard("firm-1", "0.4.0", int(world.clock()))
        assert heard(store)[BANK].release == "of an unknown version"


def test_nobody_else_is_told_anything(founded: tuple[JoinWorld, dict[str, Organisation]]) -> None:
    world, everyone = founded
    one, other = everyone["firm-1"], everyone["firm-2"]
    with pytest.raises(BadRequest, match="not signed"):
        world.desk.state(one.sign("State", SAYS, other.key))
    for wrong in ({"extension": {f"n{k}": 1 for k in range(17)}}, {"extension": {"a": ["b"]}}, {}):
        with pytest.raises(ClientError):
            world.desk.state(one.sign("State", wrong))
    world.invite("firm-9")
    late, _ = world.ask("firm-9")
    with pytest.raises(NotAdmitted, match="no active member"):
        world.desk.state(late.sign("State", SAYS))


def test_it_travels_and_tables_that_cannot_be_read_are_said(
    founded: tuple[JoinWorld, dict[str, Organisation]],
) -> None:
    world, everyone = founded
    one = everyone["firm-3"]
    with serving(world.home, now=world.clock) as address:
        invite = replace(world.invites["firm-3"], desk=address)
        with DeskClient(address, invite.authority_pem, now=world.clock) as desk:
            at = desk.state(CID, "firm-3", one.key)
            assert at.release == SOFTWARE
            assert at.tasks is not None
    config = world.home / "coordinator.toml"
    text = config.read_text("utf-8")
    config.write_text("[[task]]\nname = 1\n", "utf-8")
    assert world.desk.state(one.sign("State", SAYS)).tasks is None
    config.write_text(text, "utf-8")


WHOLE = CoordinatorState(
    "0.2.0",
    Span(2, 3),
    1_790_000_000.0,
    1_789_999_999.0,
    (
        TaskState(
            "credit",
            "runs",
            1_789_999_900.0,
            "ab" * 16,
            3,
            10,
            "collecting contributions",
            "train.update",
            ("firm-2",),
            1_789_999_950.0,
            1_790_000_250.0,
        ),
        TaskState("demand", "waits-for-firms", 1.0, kind="firms", members=FIRMS, waits_since_s=1.0, more=2),
    ),
)


def other_release(change: Any) -> Any:
    """The class `StateReply` of a release whose enrolment.proto is another one."""
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    change({message.name: message for message in file.message_type})
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("artesian.enrolment.v1.StateReply"))


def later(messages: dict[str, Any]) -> None:
    for name in ("StateReply", "TaskState"):
        field = messages[name].field.add(name="mood", number=40, type=9, label=1)
        field.json_name = "mood"


def earlier(messages: dict[str, Any]) -> None:
    """Without what came after the first few fields."""
    for name, keep in (("StateReply", 6), ("TaskState", 3)):
        fields = [one for one in messages[name].field if one.number <= keep]
        del messages[name].field[:]
        messages[name].field.extend(fields)


def test_what_a_later_release_says_more_is_left() -> None:
    newer = other_release(later)
    message = newer.FromString(to_message(WHOLE).SerializeToString())
    message.mood, message.tasks[0].mood, message.tasks[1].phase = "fine", "fair", "meditates"
    read = from_message(pb.StateReply.FromString(message.SerializeToString()))
    assert WHOLE.tasks is not None
    assert read == replace(WHOLE, tasks=(WHOLE.tasks[0], replace(WHOLE.tasks[1], phase="unknown")))


def test_what_an_earlier_release_does_not_say_is_not_known() -> None:
    older = other_release(earlier)
    message = older.FromString(to_message(WHOLE).SerializeToString())
    message.DiscardUnknownFields()
    read = from_message(pb.StateReply.FromString(message.SerializeToString()))
    assert read.tasks == (TaskState("credit", "runs", 1_789_999_900.0), TaskState("demand", "waits-for-firms", 1.0))
    assert (read.release, read.messages) == ("0.2.0", Span(2, 3))
    nothing = from_message(pb.StateReply())
    assert nothing == CoordinatorState("of an unknown version", None, 0.0, None, ())
    assert older.FromString(to_message(WHOLE).SerializeToString()).tasks[0].task == "credit"  # and it reads ours


def test_what_the_desk_says_cannot_move_a_terminal() -> None:
    hostile = pb.TaskState(task="cre\x1b[2Jdit\n", phase="runs", members=["firm\x07"], step="x" * 5000, since_s=1e300)
    (read,) = from_message(pb.StateReply(tasks=[hostile], release="\x1b[31m")).tasks or ()
    assert (read.task, read.members, len(read.step), read.since_s) == ("cre?[2Jdit", ("firm?",), 64, None)


@contextmanager
def desk_of_before(world: JoinWorld) -> Iterator[str]:
    """A desk of the release that did not know the question."""
    server = grpc.server(ThreadPoolExecutor(1))
    key, certificate = ((world.home / name).read_bytes() for name in ("tls.key", "tls.crt"))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()


def test_an_older_desk_is_said_to_be_one(founded: tuple[JoinWorld, dict[str, Organisation]]) -> None:
    world, everyone = founded
    with (
        desk_of_before(world) as address,
        DeskClient(address, world.invites["firm-1"].authority_pem, now=world.clock) as desk,
        pytest.raises(OlderDesk, match="of an older release"),
    ):
        desk.state(CID, "firm-1", everyone["firm-1"].key)
