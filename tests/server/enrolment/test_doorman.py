"""Who has a seat at the desk: nobody takes them all, and nobody keeps one without asking anything."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from join_world import JoinWorld

from clients.enrolment.desk_client import DeskClient
from clients.enrolment.errors import DeskUnreachable
from ledger.keys import SigningKey
from server.enrolment import doorman, service
from server.enrolment.doorman import SEATS_EACH, SEATS_NEAR, Seats, caller, is_near
from server.enrolment.service import BURST, serving

TERMS = "/artesian.enrolment.v1.Enrolment/Terms"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.1.2.3:5000", "10.1.2.3"),
        ("ipv6:[2001:db8:1:2:3::4]:5000", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:ffff::9%5D:5001", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.1.2.3]:5000", "10.1.2.3"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[fe80::1%25eth0]:1", "fe80::/64"),
        ("unix:", "unix:"),
    ],
)
def test_what_stands_for_an_address(peer: str, address: str) -> None:
    assert caller(peer) == address


def test_an_address_has_so_many_seats_and_a_proxy_here_more() -> None:
    seats = Seats()
    with ExitStack() as stack:
        assert all(stack.enter_context(seats.taken("10.0.0.1")) for _ in range(SEATS_EACH))
        assert not stack.enter_context(seats.taken("10.0.0.1"))
        assert stack.enter_context(seats.taken("10.0.0.2"))
        assert all(stack.enter_context(seats.taken("127.0.0.1")) for _ in range(SEATS_NEAR))
        assert not stack.enter_context(seats.taken("127.0.0.1"))
    with seats.taken("10.0.0.1") as seated:
        assert seated
    assert is_near("::1")
    assert not is_near("2001:db8::/64")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JoinWorld]:
    with closing(JoinWorld(tmp_path, ("firm-1",))) as world:
        yield world


def silent_calls(stack: ExitStack, address: str, authority: bytes, count: int) -> list[Any]:
    """Calls of which only the headers are sent."""
    never = threading.Event()
    stack.callback(never.set)

    def nothing() -> Iterator[bytes]:
        never.wait()
        yield from ()

    calls = []
    for _ in range(count):
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = stack.enter_context(grpc.secure_channel(address, grpc.ssl_channel_credentials(authority), options))
        calls.append(channel.stream_unary(TERMS).future(nothing(), timeout=20))
    return calls


def test_calls_without_a_request_end_by_themselves(world: JoinWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman.Doorman.__init__, "__defaults__", (0.3,))
    monkeypatch.setattr(service, "MAX_CALLS", 4)
    with ExitStack() as stack:
        address = stack.enter_context(serving(world.home, now=world.clock))
        invite = replace(world.invites["firm-1"], desk=address)
        calls = silent_calls(stack, address, invite.authority_pem, 4)
        codes = {call.code() for call in calls}
        assert grpc.StatusCode.DEADLINE_EXCEEDED in codes
        assert all("no request came" in call.details() for call in calls)
        with DeskClient(address, invite.authority_pem, now=world.clock) as desk:
            assert desk.terms(invite).policy.cid == "acme"


def test_strangers_do_not_use_up_what_members_may_ask(world: JoinWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RATE_PER_S", 1e-6)
    one, _ = world.ask("firm-1")
    with serving(world.home, now=world.clock) as address:
        invite = replace(world.invites["firm-1"], desk=address)
        with DeskClient(address, invite.authority_pem, now=world.clock) as desk:

            def strangers() -> None:
                for _ in range(BURST + 1):
                    desk.terms(invite)

            with pytest.raises(DeskUnreachable, match="ask again"):
                strangers()
            assert desk.standing("acme", "firm-1", one.key).phase == "asked"
            with pytest.raises(DeskUnreachable, match="ask again"):  # in its name, without its key
                desk.standing("acme", "firm-1", SigningKey.generate())


def test_one_address_does_not_use_up_what_all_strangers_may_ask(
    world: JoinWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    address_of = ["192.0.2.1"]
    monkeypatch.setattr(service, "caller", lambda _peer: address_of[0])
    for name, value in {"RATE_PER_S": 1e-6, "BURST": 4, "EACH_PER_S": 1e-6, "EACH_BURST": 2}.items():
        monkeypatch.setattr(service, name, value)
    with serving(world.home, now=world.clock) as address:
        invite = replace(world.invites["firm-1"], desk=address)
        with DeskClient(address, invite.authority_pem, now=world.clock) as desk:
            for _ in range(2):
                desk.terms(invite)
            for _ in range(8):
                with pytest.raises(DeskUnreachable, match="ask again"):
                    desk.terms(invite)
            address_of[0] = "192.0.2.2"
            assert desk.terms(invite).policy.cid == "acme"


def test_what_is_wrong_at_the_desk_itself_is_for_its_operator(
    world: JoinWorld, caplog: pytest.LogCaptureFixture
) -> None:
    (world.home / "tasks" / "credit.toml").unlink()
    with serving(world.home, now=world.clock) as address:
        invite = replace(world.invites["firm-1"], desk=address)
        with DeskClient(address, invite.authority_pem, now=world.clock) as desk:
            with pytest.raises(
                DeskUnreachable, match="the desk has a fault; its operator finds it in the log"
            ) as error:
                desk.terms(invite)
            assert str(world.home) not in str(error.value)
            assert "FileNotFoundError" not in str(error.value)
            assert "credit.toml" in caplog.text
            (world.home / "consortium.toml").write_text("no policy")
            with pytest.raises(DeskUnreachable, match="has a fault") as error:
                desk.terms(invite)
            assert str(world.home) not in str(error.value)
