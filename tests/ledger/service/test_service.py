"""The service as its clients see it: places, promises, receipts, proofs, and who may ask for what."""

import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from consortium_simulator import ORIGIN, Consortium, key_of
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from service_world import Service, placed, served

from ledger.checkpoint import CheckpointError, NotFinal, SignedCheckpoint, cosign, witness_name
from ledger.errors import Damaged, NoSuchEntry, StoreError, StoreFull
from ledger.kept_bodies import BodyState
from ledger.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from ledger.note import Vkey
from ledger.receipt import verify_receipt
from ledger.rules import Refused, commitment
from ledger.service import ledger_pb2 as pb
from ledger.service.access import SERVICE, NotAllowed, method_name
from ledger.service.bodies import About, commit_to_body, open_body, seal_body
from ledger.service.client import LedgerClient, Placed, Unreachable
from ledger.service.encryption_key import EncryptionKey
from ledger.service.errors import BadRequest, NoBody
from ledger.service.promise import Promise, open_promise
from ledger.service.server import serving
from ledger.service.statuses import error_of, status_of, told
from ledger.service.tokens import Identity
from ledger.statement import decode_statement


@pytest.fixture
def service() -> Iterator[Service]:
    with served(inclusion_s=90) as service:
        yield service


def test_health_and_reflection(service: Service) -> None:
    with grpc.insecure_channel(service.server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for name in ("", SERVICE):
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (reply,) = stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=30
        )
        assert SERVICE in {found.name for found in reply.list_services_response.service}


def test_a_statement_gets_its_place_a_promise_and_then_a_receipt(service: Service) -> None:
    client, made, raw = service.client(), service.made, service.attest()
    size = made.log.size
    [first] = placed(client.submit([raw]))
    assert (first.index, first.receipt) == (size, None)
    assert first.promise is not None
    promise = open_promise(first.promise, made.keys["coordinator"].public)
    accepted_s = int(made.clock())
    assert promise == Promise(ORIGIN, decode_statement(raw).digest, size, accepted_s, accepted_s + 90)
    made.clock.now_s += 5
    assert client.submit([raw]) == [first]  # the same answer, whenever it is asked for
    with pytest.raises(NotFinal):
        client.receipt(index=size)
    assert service.cosign()
    [final] = placed(client.submit([raw]))
    assert (final.index, final.promise) == (size, None)
    assert final.receipt is not None
    for asked in ({"index": size}, {"digest": decode_statement(raw).digest}):
        assert service.client(None).receipt(**asked) == (size, final.receipt)
    assert verify_receipt(final.receipt, raw, made.log.policy).index == size


def test_a_bad_statement_is_refused_alone_and_by_name(service: Service) -> None:
    good, client = [service.attest(), service.attest("firm-1")], service.client()
    forged = service.made.sign(
        service.made.payload("attest", subject="s", artifact=bytes(32)), "firm-1", key=key_of("mallory")
    )
    size = service.made.log.size
    outcomes = client.submit([good[0], forged, b"no statement", good[1], good[0]])
    assert [outcome.index for outcome in outcomes if isinstance(outcome, Placed)] == [size, size + 1, size]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert [(r.rule, r.index) for r in refused] == [("signature", size + 1), ("statement", size)]
    assert "names key" in refused[0].detail
    assert refused[0].exit_code == 1
    assert service.made.log.size == size + 2


def test_submit_may_wait_for_finality(service: Service) -> None:
    client = service.client()
    waiting: list[Any] = []
    thread = threading.Thread(target=lambda: waiting.extend(client.submit([service.attest()], wait_s=20)))
    size = service.made.log.size
    thread.start()
    while service.made.log.size == size:
        pass
    while SignedCheckpoint.parse(client.checkpoint()).checkpoint.size == size:
        pass
    assert service.cosign()
    thread.join(20)
    assert placed(waiting)[0].receipt is not None
    [late] = placed(client.submit([service.attest()], wait_s=0.05))
    assert late.promise is not None


def test_an_answer_comes_before_the_callers_deadline(service: Service) -> None:
    with grpc.insecure_channel(service.server.address) as channel:
        submit: Any = channel.unary_unary(
            f"/{SERVICE}/Submit",
            request_serializer=pb.SubmitRequest.SerializeToString,
            response_deserializer=pb.SubmitReply.FromString,
        )
        token = Identity("firm-0", service.made.keys["firm-0"], ORIGIN).authorization(
            method_name("Submit"), service.made.clock()
        )
        request = pb.SubmitRequest(submissions=[pb.Submission(statement=service.attest())], wait_s=50)
        [result] = submit(request, metadata=[("authorization", token)], timeout=3).results
    assert result.placed.promise


def test_the_log_changes_its_key_while_it_is_served() -> None:
    following, last = key_of("the log's second key"), key_of("the log's third key")
    made = Consortium(founded=False)
    made.log.append(made.genesis(next_log=commitment(following.public)))
    first = made.keys["coordinator"]
    with serving(made.log, first, clock=made.clock, next_key=following) as server:
        service = Service(made, server)
        client = service.client()
        [before] = placed(client.submit([service.attest()]))
        fields = {"member": "log", "key": following.public.raw, "next_log": commitment(last.public), "approvals": []}
        rotate = made.statement("rotate", parent=made.log.state.membership_digest, **fields)
        [place] = placed(client.submit([rotate]))
        assert before.promise is not None
        assert open_promise(before.promise, first.public).index == place.index - 1
        assert place.promise is not None
        assert open_promise(place.promise, following.public).index == place.index
        service.settle()
        note = SignedCheckpoint.parse(client.checkpoint())
        note.verify_log(Vkey.of_log(ORIGIN, following.public))
        for name in made.members:
            assert client.cosign([cosigned(made, name, note)], note.checkpoint.size) in (True, False)
        assert placed(client.submit([rotate]))[0].receipt is not None


def test_without_the_logs_next_key_the_service_stops() -> None:
    following = key_of("the log's second key")
    made = Consortium(founded=False)
    made.log.append(made.genesis(next_log=commitment(following.public)))
    with serving(made.log, made.keys["coordinator"], clock=made.clock) as server:
        service = Service(made, server)
        fields = {"member": "log", "key": following.public.raw, "next_log": None, "approvals": []}
        rotate = made.statement("rotate", parent=made.log.state.membership_digest, **fields)
        placed(service.client().submit([rotate]))
        end_s = time.monotonic() + 20
        while server.failure is None:
            assert time.monotonic() < end_s
            time.sleep(0.01)
        assert "give the present one" in str(server.failure)
        with pytest.raises(Unreachable, match="stopped"):
            service.client(None).consistency(1, 2)


def test_a_full_disk_is_told_apart_and_survived(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    append, raw, client = service.made.log.append, service.attest(), service.client()

    def full(_: Any) -> None:
        raise StoreFull("the disk is full; make room")

    monkeypatch.setattr(service.made.log, "append", full)
    with pytest.raises(Unreachable, match="the ledger has no room left; its operator") as error:
        client.submit([raw])
    assert error.value.exit_code == 3
    assert status_of(StoreFull("full")) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status_of(StoreError("locked")) is grpc.StatusCode.UNAVAILABLE
    monkeypatch.setattr(service.made.log, "append", append)
    assert placed(client.submit([raw]))


def cosigned(made: Consortium, name: str, note: SignedCheckpoint) -> str:
    key_name, now_s = witness_name(ORIGIN, name), int(made.clock())
    return cosign(note.body, name=key_name, key=made.keys[name], timestamp_s=now_s)


def test_proofs_hold(service: Service) -> None:
    made, client = service.made, service.client(None)
    old = SignedCheckpoint.parse(client.checkpoint()).checkpoint
    raws = [service.attest() for _ in range(9)]
    service.put(*raws)
    new = SignedCheckpoint.parse(client.checkpoint()).checkpoint
    assert new.size == old.size + 9
    verify_consistency(old.size, new.size, client.consistency(old.size, new.size), old.root, new.root)
    leaf = leaf_hash(raws[3])
    verify_inclusion(leaf, old.size + 3, new.size, client.inclusion(old.size + 3, new.size), new.root)
    for wrong in (
        lambda: client.consistency(old.size, new.size + 1),
        lambda: client.inclusion(new.size, new.size),
        lambda: client.leaves(0, new.size + 1),
        lambda: client.receipt(index=new.size),
        lambda: client.receipt(digest=bytes(32)),
    ):
        with pytest.raises(NoSuchEntry):
            wrong()
    assert made.log.size == new.size


def test_an_outsider_reads_what_is_public_and_can_check_the_rest(service: Service) -> None:
    client = service.client()
    public, private = service.attest(acl="public"), service.attest()
    placed(client.submit([public, private]))
    outsider, size = service.client(None), service.made.log.size
    assert outsider.entries(size - 2, size - 1) == [public]
    with pytest.raises(NotAllowed, match="for members"):
        outsider.entries(size - 1, size)
    assert client.entries(size - 2, size) == [public, private]
    frontier = Frontier()
    for leaf in outsider.leaves(0, size):
        frontier, _ = frontier.append(leaf)
    assert frontier.root() == SignedCheckpoint.parse(outsider.checkpoint()).checkpoint.root
    for asked in (
        lambda: outsider.submit([private]),
        lambda: outsider.members(),
        lambda: outsider.body(bytes(32)),
        lambda: outsider.delete_body(bytes(32)),
    ):
        with pytest.raises(NotAllowed, match="is for members"):
            asked()


def test_members_and_their_keys(service: Service) -> None:
    key = EncryptionKey.generate()
    client = service.client("bank-0")
    placed(client.submit([service.made.statement("encryption_key", "bank-0", key=key.public)]))
    facts = {facts.member: facts for facts in client.members()}
    assert set(facts) == set(service.made.members)
    assert facts["bank-0"].encryption_key == key.public
    assert (facts["firm-0"].key, facts["firm-0"].active) == (service.made.keys["firm-0"].public.raw, True)
    assert facts["firm-0"].encryption_key is None


def test_who_is_suspended_or_changed_its_key_is_out(service: Service) -> None:
    made, client = service.made, service.client("firm-1")
    client.members()
    suspend = made.approved(["firm-0", "firm-2", "firm-3", "bank-0"], "suspend", member="firm-1", reason="left")
    placed(service.client().submit([suspend]))
    with pytest.raises(NotAllowed, match="not an active member"):
        client.members()
    old, made.keys["firm-2"] = made.keys["firm-2"], key_of("firm-2 again")
    approvals = {name: made.keys[name] for name in ("firm-0", "firm-3", "bank-0")}
    rotate = made.approved(list(approvals), "rotate", member="firm-2", key=made.keys["firm-2"].public.raw)
    placed(service.client().submit([rotate]))
    with pytest.raises(NotAllowed, match="another key"):
        service.client("firm-2", key=old).members()
    assert service.client("firm-2").members()


def test_a_body_is_for_its_parties_and_can_be_deleted(service: Service) -> None:
    made, body = service.made, b"invoice 17: 900 planks"
    keys = {name: EncryptionKey.generate() for name in ("firm-0", "bank-0")}
    for name, key in keys.items():
        placed(service.client(name).submit([made.statement("encryption_key", name, key=key.public)]))
    salt, commitment = commit_to_body(body)
    record = made.payload("attest", subject="s", artifact=made.hash(), acl="parties", body_sha256=commitment)
    raw = made.sign(record, "firm-0")
    about = About("c-1", record["id"], commitment)
    envelope = seal_body(body, salt, about, {name: key.public for name, key in keys.items()})
    digest = decode_statement(raw).digest
    issuer, party, other = service.client("firm-0"), service.client("bank-0"), service.client("firm-1")

    [taken] = other.submit([raw], bodies={0: envelope})
    assert isinstance(taken, Refused)
    assert (taken.rule, "taken from nobody else" in taken.detail) == ("body", True)
    [place] = placed(issuer.submit([raw], bodies={0: envelope}))
    for client, name in ((issuer, "firm-0"), (party, "bank-0")):
        assert open_body(client.body(digest), about, name, keys[name]) == body
    with pytest.raises(NotAllowed, match="no party"):
        other.body(digest)
    assert other.entries(place.index, place.index + 1) == [raw]
    assert service.cosign()
    for stranger in (other, party):
        with pytest.raises(NotAllowed, match="only 'firm-0'"):
            stranger.delete_body(digest)
    with pytest.raises(NoSuchEntry):
        issuer.delete_body(bytes(32))
    assert service.client("coordinator").delete_body(digest) is BodyState.KEPT
    assert issuer.delete_body(digest) is BodyState.ERASED
    with pytest.raises(NoBody, match=r"erased here by 'coordinator'.* ask 'firm-0'"):
        party.body(digest)
    [again] = placed(issuer.submit([raw], bodies={0: envelope}))
    assert (again.index, again.body) == (place.index, BodyState.ERASED)
    assert made.log.body(digest) is None
    _, receipt = party.receipt(digest=digest)
    assert verify_receipt(receipt, raw, made.log.policy).index == place.index


def test_a_members_bodies_have_a_quota_and_only_its_own() -> None:
    with served(max_stored_bytes=40_000) as service:
        made, key = service.made, EncryptionKey.generate()

        def sealed(member: str) -> tuple[bytes, bytes]:
            salt, commitment = commit_to_body(bytes(10_000))
            fields = {"subject": "s", "artifact": made.hash(), "acl": "parties", "body_sha256": commitment}
            record = made.payload("attest", **fields)
            about = About("c-1", record["id"], commitment)
            return made.sign(record, member), seal_body(bytes(10_000), salt, about, {member: key.public})

        client = service.client("firm-0")
        raws, bodies = map(list, zip(*(sealed("firm-0") for _ in range(5)), strict=True))
        outcomes = client.submit(raws, bodies=dict(enumerate(bodies)))
        assert [isinstance(outcome, Placed) for outcome in outcomes] == [True, True, True, False, False]
        assert isinstance(outcomes[4], Refused)
        assert (outcomes[4].rule, "40000 bytes" in outcomes[4].detail) == ("quota", True)
        placed(client.submit(raws[:3], bodies=dict(enumerate(bodies[:3]))))  # safe to repeat
        assert isinstance(client.submit(raws[3:4], bodies={0: bodies[3]})[0], Refused)
        raw, body = sealed("firm-1")
        placed(service.client("firm-1").submit([raw], bodies={0: body}))
        client.delete_body(decode_statement(raws[0]).digest)
        placed(client.submit(raws[3:4], bodies={0: bodies[3]}))
        assert isinstance(client.submit(raws[4:], bodies={0: bodies[4]})[0], Refused)


def test_only_a_record_for_parties_has_a_body(service: Service) -> None:
    [refused] = service.client().submit([service.attest()], bodies={0: b"x"})
    assert isinstance(refused, Refused)
    assert "acl 'parties'" in refused.detail
    raw = service.attest(acl="parties", body_sha256=hashlib.sha256(b"").digest())
    [refused] = service.client().submit([raw], bodies={0: b"no envelope"})
    assert isinstance(refused, Refused)
    assert refused.rule == "body"


def test_bad_cosignatures_are_refused(service: Service) -> None:
    client, made = service.client("firm-0"), service.made
    line = made.witness("firm-0").follow(client)
    size = made.witness("firm-0").size
    with pytest.raises(NoSuchEntry):
        client.cosign([line], size + 1)
    with pytest.raises(CheckpointError):
        client.cosign([line.replace("firm-0", "firm-1")], size)
    for lines in ([], ["x"], ["x" * 10_000], [line] * 300):
        with pytest.raises(BadRequest):
            client.cosign(lines, size)
    assert not client.cosign([line], size)
    assert not service.client(None).cosign([line], size)  # it says itself whose it is


def test_limits_are_told(service: Service) -> None:
    client = service.client()
    with grpc.insecure_channel(service.server.address) as channel:
        submit: Any = channel.unary_unary(
            f"/{SERVICE}/Submit",
            request_serializer=pb.SubmitRequest.SerializeToString,
            response_deserializer=pb.SubmitReply.FromString,
        )
        token = Identity("firm-0", service.made.keys["firm-0"], ORIGIN)
        for request, words in (
            (pb.SubmitRequest(), "0 statements"),
            (pb.SubmitRequest(submissions=[pb.Submission()] * 257), "257 statements"),
            (pb.SubmitRequest(submissions=[pb.Submission()], wait_s=-1), "wait"),
            (pb.SubmitRequest(submissions=[pb.Submission()], wait_s=float("nan")), "wait"),
        ):
            with pytest.raises(grpc.RpcError, match=words) as error:
                submit(
                    request,
                    metadata=[("authorization", token.authorization(method_name("Submit"), service.made.clock()))],
                    timeout=30,
                )
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError, match="larger than max"):
            submit(pb.SubmitRequest(submissions=[pb.Submission(statement=bytes(5 << 20))]), timeout=30)
    assert len(placed(client.submit([service.attest() for _ in range(300)]))) == 300
    size = service.made.log.size
    with pytest.raises(BadRequest, match="one call carries at most"):
        client.submit([*(service.attest() for _ in range(300)), bytes(5 << 20)])
    assert service.made.log.size == size  # what comes before the one that is too large is not sent either
    with pytest.raises(BadRequest, match="32"):
        client.body(b"short")


def test_nobody_there() -> None:
    with (
        LedgerClient("127.0.0.1:1", timeout_s=2) as client,
        pytest.raises(Unreachable, match=r"127\.0\.0\.1:1") as error,
    ):
        client.checkpoint()
    assert error.value.exit_code == 3
    with pytest.raises(Unreachable, match="closed"):
        client.checkpoint()


def test_a_service_without_a_founded_log_answers_too() -> None:
    made = Consortium(founded=False)
    with served(made) as service:
        with pytest.raises(CheckpointError, match="no checkpoint yet"):
            service.client(None).checkpoint()
        assert service.client(None).final() is None
        with pytest.raises(NotAllowed, match="no coordinator yet"):
            service.client("coordinator").submit(made.genesis())


def test_a_caller_that_asks_too_much_at_once_stops_only_itself() -> None:
    with served(max_calls_outside=2, answer_s=0.5) as service:
        release = threading.Event()
        blocked = service.server._sequencer.ask(lambda _: release.wait(20))
        client, errors = service.client(None), list[str]()

        def ask() -> None:
            try:
                client.consistency(1, 2)
            except Unreachable as error:
                errors.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted("too many calls" in error for error in errors) == [False, False, True, True]
        assert sum("not answered in time" in error for error in errors) == 2
        release.set()
        blocked.result(10)
        assert client.consistency(1, 2)
        assert service.client().members()


def test_served_from_a_database(location: Any) -> None:
    with served(Consortium(location=location)) as service:
        raw = service.attest()
        [place] = service.put(raw)
        assert service.cosign()
        [final] = placed(service.client().submit([raw]))
        assert final.receipt is not None
        assert verify_receipt(final.receipt, raw, service.made.log.policy).index == place.index


def test_a_caller_is_not_told_where_the_services_files_are(caplog: pytest.LogCaptureFixture) -> None:
    for error in (
        StoreError("/srv/ledger.db: locked"),
        StoreFull("/srv/ledger.db: full"),
        Damaged("/srv/ledger.db: 3"),
    ):
        words = told(error)
        assert "/srv" not in words
        assert "its operator finds more in the log" in words
    assert caplog.text.count("/srv/ledger.db") == 3
    assert told(NoSuchEntry("no entry 7")) == "no entry 7"


def test_why_no_connection_came_about_is_said_without_what_grpc_says_around_it() -> None:
    said = (
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
        "Failed to connect to remote host: Connection refused"
    )
    refused = str(error_of(grpc.StatusCode.UNAVAILABLE, said, "localhost:1"))
    assert (
        refused == "the ledger at localhost:1 cannot answer: Connection refused; check the address, the network and TLS"
    )
    assert "the store is full" in str(error_of(grpc.StatusCode.UNAVAILABLE, "the store is full", "localhost:1"))
