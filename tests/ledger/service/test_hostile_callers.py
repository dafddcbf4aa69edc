"""What one caller sends stops nobody else's service."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from consortium_simulator import ORIGIN
from service_world import Service, served

from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.errors import NoSuchEntry
from ledger.service import ledger_pb2 as pb
from ledger.service.access import method_name
from ledger.service.client import LedgerClient, Unreachable
from ledger.service.tokens import Identity


def test_a_number_that_no_database_takes_does_not_stop_the_sequencer() -> None:
    with served() as service:
        client, made = service.client("firm-0"), service.made
        body = SignedCheckpoint.parse(client.checkpoint()).body
        name, key = witness_name(ORIGIN, "firm-0"), made.keys["firm-0"]
        line = cosign(body, name=name, key=key, timestamp_s=int(made.clock()))
        for size in (made.log.size + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            with pytest.raises(NoSuchEntry, match="no checkpoint"):
                client.cosign([line], size)
        assert not client.cosign([line], made.log.size)
        assert service.server.failure is None


def test_a_token_shown_to_another_server_makes_no_other_call() -> None:
    with served() as service, grpc.insecure_channel(service.server.address) as channel:
        made = service.made
        shown = Identity("firm-0", made.keys["firm-0"], ORIGIN).authorization(method_name("Members"), made.clock())
        delete: Any = channel.unary_unary(
            method_name("DeleteBody"),
            request_serializer=pb.DeleteBodyRequest.SerializeToString,
            response_deserializer=pb.DeleteBodyReply.FromString,
        )
        with pytest.raises(grpc.RpcError, match="for a call of") as error:
            delete(pb.DeleteBodyRequest(digest=bytes(32)), metadata=[("authorization", shown)], timeout=30)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_who_may_not_call_is_refused_before_its_message_is_read() -> None:
    with served() as service, grpc.insecure_channel(service.server.address) as channel:
        unsent, end = threading.Event(), time.monotonic() + 20

        def messages() -> Iterator[bytes]:
            unsent.wait(20)
            yield b""

        submit: Any = channel.stream_unary(method_name("Submit"))
        with pytest.raises(grpc.RpcError, match="base64url"):
            submit(messages(), metadata=[("authorization", "nobody")], timeout=10)
        unsent.set()
        assert time.monotonic() < end - 15


@contextlib.contextmanager
def blocked(service: Service) -> Iterator[None]:
    """The sequencer does nothing while the block runs."""
    release = threading.Event()
    held = service.server._sequencer.ask(lambda _: release.wait(20))
    try:
        yield
    finally:
        release.set()
        held.result(10)


def abandon(client: LedgerClient) -> None:
    with pytest.raises(Unreachable, match="in time"):
        client.consistency(1, 2)


def test_calls_that_are_given_up_keep_their_places() -> None:
    with served(max_calls_each=3, answer_s=0.1) as service:
        greedy, other = service.client("firm-0"), service.client("firm-1")
        with blocked(service):
            for _ in range(3):
                abandon(greedy)
            for _ in range(3):
                with pytest.raises(Unreachable, match="too many calls that wait"):
                    greedy.consistency(1, 2)
            abandon(other)
        assert greedy.consistency(1, 2)


def test_outsiders_take_no_members_seats() -> None:
    with served(max_calls_outside=2) as service:
        made, outsider = service.made, service.client(None)
        lines = [(name, made.witness(name).follow(made.log)) for name in made.members]
        streams = [outsider.news(0) for _ in range(2)]
        for stream in streams:
            next(stream)
        with pytest.raises(Unreachable, match="too many calls"):
            outsider.checkpoint()
        final = [service.client(name).cosign([line], made.log.size) for name, line in lines]
        assert final[-1]
        streams[0].close()
        end_s = time.monotonic() + 60
        while True:
            try:
                assert outsider.checkpoint()
                break
            except Unreachable:  # the service has not yet heard that the stream is over
                assert time.monotonic() < end_s
