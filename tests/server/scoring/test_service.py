"""The service as any gRPC client sees it: who gets in, health, reflection, limits, and what fails closed."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from score_world import ToyScorer, World, query

from artesian import app
from clients.bank import BankClient, Declined, ScoredAnswer, ServiceUnreachable, TurnedAway, UnprovenAnswer
from clients.certificates import facts_of
from clients.scoring import scores_pb2 as pb
from clients.scoring.scores_pb2_grpc import ScoresStub
from clients.scoring.wire import query_to_message
from clients.tasks.scorecard import Score
from ledger.errors import Damaged
from ledger.service.peers import PeerCheck
from ledger.service.served import Stale
from server.scoring.desk import Desk, PublishedScorer
from server.scoring.recording import NotRecorded, QueryRecord
from server.scoring.service import SERVICE, CannotServe, Tls, serving


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    with world.service() as address:
        yield address


@pytest.fixture
def channel(world: World, address: str) -> Iterator[Any]:
    home = world.home("bank-1")
    parts = [(home / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")]
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(*parts)) as channel:
        yield channel


def test_health_and_reflection(channel: Any) -> None:
    check = health_pb2_grpc.HealthStub(channel).Check
    for name in ("", SERVICE):
        answer = check(health_pb2.HealthCheckRequest(service=name), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    (reply,) = stub.ServerReflectionInfo(asked, timeout=30)
    assert SERVICE in {service.name for service in reply.list_services_response.service}


@pytest.mark.parametrize("secured", [False, True])
def test_without_a_certificate_there_is_no_conversation(world: World, address: str, secured: bool) -> None:
    trusted = grpc.ssl_channel_credentials(world.authority.certificate_pem)
    channel = grpc.secure_channel(address, trusted) if secured else grpc.insecure_channel(address)
    world.records.clear()
    with channel, pytest.raises(grpc.RpcError) as error:
        ScoresStub(channel).Score(query_to_message(query()), timeout=30)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert not world.records


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: m.features["debt"].ClearField("number"), "feature 'debt' has no value"),
        (lambda m: m.ClearField("request_id"), "request id has 0 bytes"),
        (lambda m: m.features["debt"].__setattr__("number", float("nan")), "finite"),
    ],
)
def test_what_no_client_of_ours_would_send(channel: Any, spoil: Any, words: str) -> None:
    message = query_to_message(query(debt=0.1))
    spoil(message)
    with pytest.raises(grpc.RpcError, match=words) as error:
        ScoresStub(channel).Score(message, timeout=30)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_beyond_the_limit_is_not_read(channel: Any) -> None:
    message = pb.ScoreRequest(purpose="x" * (1 << 20))
    with pytest.raises(grpc.RpcError) as error:
        ScoresStub(channel).Score(message, timeout=30)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_no_answer_without_a_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def record(self: World, record: QueryRecord) -> None:
        raise NotRecorded("the disk is full")

    monkeypatch.setattr(World, "record", record)
    with (
        world.service() as address,
        BankClient(world.home("bank-1"), address) as bank,
        pytest.raises(ServiceUnreachable, match="could not be put on record") as error,
    ):
        bank.score(query())
    assert error.value.exit_code == 3


def test_a_record_that_is_stale_answers_nobody(world: World) -> None:
    """Who is enrolled now is not known then: a bank that was suspended since must not go on."""

    def stale(member: str, kind: str) -> bool:
        raise Stale("the ledger at localhost:8445 was not heard for 121 s")

    world.records.clear()
    with (
        world.service(replace(world.desk(), is_enrolled=stale)) as address,
        BankClient(world.home("bank-1"), address) as bank,
        pytest.raises(ServiceUnreachable, match="ask again later") as error,
    ):
        bank.score(query())
    assert "8445" not in str(error.value)
    assert not world.records


def test_a_record_that_can_never_be_read_again_ends_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor starts another one, which reads all of it anew."""

    def broken() -> None:
        raise Damaged("mirrors/ledger-0.db: entry 7 is not what was written")

    desk = replace(world.desk(), require_sound=broken)
    monkeypatch.setattr("server.coordinator_commands.open_desk", lambda *_: nullcontext(desk))
    home = str(world.home("coordinator"))
    done = CliRunner().invoke(app, ["coordinator", "scores", "--home", home, "--port", "0"])
    assert (done.exit_code, "entry 7 is not what was written" in done.stderr) == (1, True)


@pytest.mark.parametrize("score", [Score(600, 1.5, ()), Score(600.5, 0.1, ())])  # type: ignore[arg-type]
def test_a_scorer_that_fails_gives_no_score_and_no_details(world: World, score: Score) -> None:
    class Broken(ToyScorer):
        def score(self, features: Any) -> Score:
            if features["debt"] == 1.0:
                raise RuntimeError("secret of the applicant")
            return score

    published = PublishedScorer(
        Broken(), world.published.model_hash, world.published.receipt, world.published.publish_statement
    )
    world.scorers["broken"] = published
    world.records.clear()
    with world.service() as address, BankClient(world.home("bank-1"), address) as bank:
        for debt in (1.0, 0.5):
            with pytest.raises(ServiceUnreachable) as error:
                bank.score(query(task="broken", debt=debt))
            assert "failed on this question" in str(error.value)
            assert "secret" not in str(error.value)
    assert not world.records


def test_a_service_that_shows_other_than_it_signed_is_caught(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Desk.answer

    async def lying(self: Desk, context: Any, message: pb.ScoreRequest) -> pb.ScoreAnswer:
        answer = await honest(self, context, message)
        answer.score += 1
        return answer

    monkeypatch.setattr(Desk, "answer", lying)
    with (
        world.service() as address,
        BankClient(world.home("bank-1"), address) as bank,
        pytest.raises(UnprovenAnswer, match="something else than what is signed"),
    ):
        bank.score(query())


def test_an_answer_to_another_question_is_caught(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Desk.answer

    async def absent_minded(self: Desk, context: Any, message: pb.ScoreRequest) -> pb.ScoreAnswer:
        message.features["debt"].number = 0.0
        return await honest(self, context, message)

    monkeypatch.setattr(Desk, "answer", absent_minded)
    with (
        world.service() as address,
        BankClient(world.home("bank-1"), address) as bank,
        pytest.raises(UnprovenAnswer, match="another question"),
    ):
        bank.score(query())


def test_a_new_release_answers_from_the_next_question_on(world: World, address: str) -> None:
    old = world.scorers["credit"]
    with BankClient(world.home("bank-1"), address) as bank:
        assert bank.score(query()).answer.model == old.model_hash
        world.scorers["credit"] = PublishedScorer(old.scorer, b"n" * 32, old.receipt, old.publish_statement)
        try:
            results = list(bank.score_many([query(), query()]))
        finally:
            world.scorers["credit"] = old
    assert [r.answer.model for r in results if isinstance(r, ScoredAnswer)] == [b"n" * 32] * 2


def test_a_revoked_certificate_gets_no_answer(world: World, tmp_path: Path) -> None:
    """Also while its bank is enrolled; and nobody gets one while the list cannot be read."""
    path, serial = tmp_path / "revoked.json", facts_of((world.home("bank-1") / "tls.crt").read_bytes()).serial
    path.write_text('{"version": 1, "since": {}}')
    with (
        world.service(replace(world.desk(), peers=PeerCheck(path))) as address,
        BankClient(world.home("bank-1"), address) as bank,
    ):
        assert bank.score(query()).answer.score
        path.write_text(f'{{"version": 1, "since": {{"{serial:x}": 1}}}}')
        with pytest.raises(TurnedAway, match="was revoked"):
            bank.score(query())
        path.write_text("")
        with pytest.raises(TurnedAway, match="cannot be told here"):
            bank.score(query())


def test_leaving_a_stream_early_harms_nobody(world: World, address: str) -> None:
    with BankClient(world.home("bank-1"), address) as bank:
        results = bank.score_many(query() for _ in range(2000))
        assert not isinstance(next(results), Declined)
        results.close()  # type: ignore[attr-defined]
        assert bank.score(query()).answer.score == 550


def test_a_taken_port_and_a_home_without_certificates(world: World, address: str, tmp_path: Path) -> None:
    tls = Tls.from_home(world.home("coordinator"))
    port = int(address.rpartition(":")[2])
    with pytest.raises(CannotServe, match="taken"), serving(world.desk(), tls, port=port):
        pass
    with pytest.raises(CannotServe, match=r"tls\.key: No such file") as error:
        Tls.from_home(tmp_path)
    assert error.value.exit_code == 2


def test_a_service_stops_and_frees_its_port(world: World) -> None:
    with world.service() as first:
        port = int(first.rpartition(":")[2])
    tls = Tls.from_home(world.home("coordinator"))
    with serving(world.desk(), tls, port=port) as again:
        assert again == first
