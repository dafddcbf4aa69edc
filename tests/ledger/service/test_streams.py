"""News as they come, resumable, for any number of readers at any pace, without anything piling up."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from consortium_simulator import ORIGIN, Consortium
from service_world import Service, served

from ledger.checkpoint import SignedCheckpoint, is_final
from ledger.errors import NoSuchEntry
from ledger.merkle import leaf_hash, verify_consistency
from ledger.service import ledger_pb2 as pb
from ledger.service.access import SERVICE, NotAllowed, method_name
from ledger.service.board import Board, View
from ledger.service.client import LedgerClient, Unreachable
from ledger.service.errors import BadRequest
from ledger.service.following import News, follow
from ledger.service.tokens import Identity

WAIT_S = 20


@pytest.fixture
def service() -> Iterator[Service]:
    with served(heartbeat_s=0.2) as service:
        yield service


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


class Reader:
    """Follows in a thread of its own until it is told to stop."""

    def __init__(self, client: LedgerClient, start: int = 0, **options: Any) -> None:
        self.news: list[News] = []
        self.error: Exception | None = None
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(client, start, options))
        self._thread.start()

    def _read(self, client: LedgerClient, start: int, options: dict[str, Any]) -> None:
        try:
            for news in follow(client, start, stop=self.stop, for_s=WAIT_S, **options):
                self.news.append(news)
        except Exception as error:
            self.error = error

    def end(self) -> list[News]:
        self.stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return self.news

    @property
    def told(self) -> list[News]:
        """Without the signs of life."""
        return [news for news in self.news if news.checkpoint or news.final]


def test_entries_checkpoints_and_finality_as_they_come(service: Service) -> None:
    made = service.made
    reader = Reader(service.client("bank-0"))
    until(lambda: len(reader.told) == 1)
    raws = [service.attest() for _ in range(3)]
    service.put(*raws)
    until(lambda: len(reader.told) == 2)
    assert service.cosign()
    until(lambda: len(reader.told) == 3)
    first, second, third = reader.told
    reader.end()
    assert [len(first.entries), len(second.entries), len(third.entries)] == [6, 3, 0]
    assert (first.start, second.start, third.start) == (0, 6, 9)
    assert [*first.entries, *second.entries] == made.log.entries(0, 9)
    old, new = (SignedCheckpoint.parse(news.checkpoint).checkpoint for news in (first, second))
    verify_consistency(old.size, new.size, second.consistency, old.root, new.root)
    assert is_final(third.final, made.log.policy)


def test_a_follower_takes_up_where_it_was(service: Service) -> None:
    service.put(*(service.attest() for _ in range(4)))
    assert service.cosign()
    for start in (0, 7, 10):
        news = iter(follow(service.client(), start))
        piece = next(news)
        size = SignedCheckpoint.parse(piece.checkpoint).checkpoint.size
        assert (list(piece.entries), size) == (service.made.log.entries(start, 10), 10)
        assert is_final(next(news).final, service.made.log.policy)
    assert not any(piece.final for piece in follow(service.client(), 10, final_size=10, for_s=0.5))
    with pytest.raises(NoSuchEntry):
        next(follow(service.client(), 11))


def test_a_quiet_service_says_that_it_is_alive(service: Service) -> None:
    began_s = time.monotonic()
    pieces = list(follow(service.client(), 6, for_s=0.9))
    assert time.monotonic() - began_s < 5
    assert sum(not piece.checkpoint and not piece.final for piece in pieces) >= 2


def test_a_stream_that_ends_goes_on_in_another() -> None:
    with served(stream_s=0.2, heartbeat_s=0.1) as service:
        reader = Reader(service.client())
        service.put(service.attest())
        until(lambda: bool(reader.told) and SignedCheckpoint.parse(reader.told[-1].checkpoint).checkpoint.size == 7)
        time.sleep(0.6)  # several streams long
        service.put(service.attest())
        until(lambda: SignedCheckpoint.parse(reader.told[-1].checkpoint).checkpoint.size == 8)
        entries = [raw for news in reader.end() for raw in news.entries]
        assert entries == service.made.log.entries(0, 8)


def test_an_outsider_follows_hashes(service: Service) -> None:
    raw = service.attest(acl="public")
    service.put(raw)
    outsider = service.client(None)
    piece = next(outsider.news(0))
    shown = [entry.leaf_hash or entry.statement for entry in piece.entries]
    assert shown == [*(leaf_hash(raw) for raw in service.made.log.entries(0, 6)), raw]
    with pytest.raises(NotAllowed):
        next(follow(outsider, 0))


def test_a_member_that_is_suspended_is_cut_off(service: Service) -> None:
    reader = Reader(service.client("firm-1"))
    until(lambda: bool(reader.told))
    names = ["firm-0", "firm-2", "firm-3", "bank-0"]
    suspend = service.made.approved(names, "suspend", member="firm-1", reason="left")
    service.put(suspend)
    until(lambda: reader.error is not None)
    assert isinstance(reader.error, NotAllowed)
    service.put(service.attest())
    assert SignedCheckpoint.parse(reader.told[-1].checkpoint).checkpoint.size == 7  # that it is, is told
    reader.end()


def test_large_news_come_in_pieces_of_bounded_size() -> None:
    with served(reply_bytes=2000) as service:
        made = service.made
        service.put(*(service.attest() for _ in range(150)))
        pieces: list[pb.News] = []
        for piece in service.client().news(0):
            pieces.append(piece)
            if piece.checkpoint:
                break
        assert max(piece.ByteSize() for piece in pieces) < 4000
        assert [entry.statement for piece in pieces for entry in piece.entries] == made.log.entries(0, made.log.size)
        assert service.client().entries(0, made.log.size) == made.log.entries(0, made.log.size)


def test_one_reader_takes_no_seat_from_another() -> None:
    with served(max_followers=5, max_followers_each=2, heartbeat_s=0.1) as service:
        held = [service.client("firm-0").news(0) for _ in range(2)]
        for stream in held:
            next(stream)
        with pytest.raises(Unreachable, match="too many streams"):
            next(service.client("firm-0").news(0))
        more = [service.client(name).news(0) for name in ("firm-1", "firm-1", None)]
        for stream in more:
            next(stream)
        with pytest.raises(Unreachable, match="too many streams"):
            next(service.client("firm-2").news(0))
        held[0].close()
        until(lambda: _opens(service, "firm-2"))


def _opens(service: Service, name: str) -> bool:
    try:
        return next(service.client(name).news(0)) is not None
    except Unreachable:
        return False


def test_a_reader_that_takes_nothing_is_ended_and_costs_nothing() -> None:
    """Its stream holds one message; the log is read no further until the reader takes it."""
    with served(stall_s=0.5, reply_bytes=256 << 10) as service:
        made = service.made
        text = "x" * 1000
        for _ in range(20):
            raws = [made.statement("attest", "firm-0", subject=text, artifact=made.hash()) for _ in range(200)]
            service.put(*raws)
        reads: list[int] = []
        entries = made.log.entries
        made.log.entries = lambda start, end: reads.append(start) or entries(start, end)  # type: ignore[method-assign]
        token = Identity("firm-0", made.keys["firm-0"], ORIGIN).authorization(method_name("Follow"), made.clock())
        options = [("grpc.http2.lookahead_bytes", 0), ("grpc.http2.bdp_probe", 0)]
        with grpc.insecure_channel(service.server.address, options) as channel:
            method: Any = channel.unary_stream(
                f"/{SERVICE}/Follow",
                request_serializer=pb.FollowRequest.SerializeToString,
                response_deserializer=pb.News.FromString,
            )
            stream = method(pb.FollowRequest(), metadata=[("authorization", token)])
            next(stream)
            time.sleep(2)
            with pytest.raises(grpc.RpcError) as error:
                list(stream)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert max(reads) < made.log.size - 200
        assert service.client().entries(0, 10)  # and the others are served


def test_entries_are_asked_for_in_portions() -> None:
    with served(max_entries=5) as service:
        with pytest.raises(BadRequest, match="at most 5"):
            service.client().entries(0, 6)
        assert len(service.client().entries(0, 5)) == 5
        assert service.client().entries(3, 3) == []
        with pytest.raises(NoSuchEntry):
            service.client().entries(0, 7)


def test_a_service_that_stops_ends_its_streams_at_once() -> None:
    made = Consortium()
    with served(made, heartbeat_s=30, grace_s=10) as service:
        identity = Identity("firm-0", made.keys["firm-0"], ORIGIN)
        client = LedgerClient(service.server.address, identity=identity, clock=made.clock)
        stream = client.news(0)
        next(stream)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5
    assert list(stream) == []
    client.close()


def test_a_board_keeps_the_latest_only() -> None:
    async def run() -> None:
        state = Consortium().log.state
        views = [View(state, str(number), number) for number in range(4)]
        board = Board(views[0])
        assert await board.change(views[0], 0.01) is views[0]
        waiting = asyncio.create_task(board.change(views[0], 5))
        await asyncio.sleep(0)
        for view in views[1:]:
            board.post(view)
        assert await waiting is views[3]
        assert await board.change(views[0], 5) is views[3]
        waiting = asyncio.create_task(board.change(views[3], 5))
        await asyncio.sleep(0)
        board.close()
        assert await waiting is views[3]
        assert await board.change(views[3], 5) is views[3]

    asyncio.run(run())
