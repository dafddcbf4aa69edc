"""What is said to Flower without Flower: the same messages, headers and signature, one connection, errors told."""

import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from flwr.proto import control_pb2, fab_pb2, node_pb2, run_pb2, runtime_pb2, task_pb2, transport_pb2
from flwr.supercore.auth import derive_auth_secret, verify_superexec_request
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufRequestContext
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from httpx import Request, Response

from clients.flower import flower_api_pb2 as pb
from clients.flower import generate
from clients.flower.flower_api import FlowerApi, FlowerRefused, FlowerUnreachable, over_socket
from clients.flower.own_socket import listen_at
from clients.flower.runtime_source import ACQUIRE, RuntimeSource, signature_headers

OURS = [one for name, one in sorted(pb.DESCRIPTOR.message_types_by_name.items())]
FLOWERS = {
    name: one
    for module in (control_pb2, runtime_pb2, node_pb2, run_pb2, fab_pb2, task_pb2, transport_pb2)
    for name, one in module.DESCRIPTOR.message_types_by_name.items()
}
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    generate.generate(tmp_path)
    for name in generate.GENERATED:
        committed = generate.ROOT / "clients" / "flower" / name
        assert (tmp_path / "clients" / "flower" / name).read_text() == committed.read_text(), (
            f"{name} is old: run python -m clients.flower.generate"
        )


@pytest.mark.parametrize("ours", OURS, ids=lambda one: str(one.name))
def test_every_field_is_one_of_flowers(ours: Descriptor) -> None:
    same_fields(ours, FLOWERS[ours.name])


def same_fields(ours: Descriptor, flowers: Descriptor) -> None:
    theirs = {field.number: field for field in flowers.fields}
    for field in ours.fields:
        other = theirs[field.number]
        assert shape(field) == shape(other)
        if field.message_type is not None:
            assert field.message_type.name == other.message_type.name
            if field.message_type.GetOptions().map_entry:
                same_fields(field.message_type, other.message_type)


def shape(field: FieldDescriptor) -> tuple[object, ...]:
    oneof = None if field.containing_oneof is None else field.containing_oneof.name
    return field.name, field.type, field.label, field.has_presence, oneof


def test_flower_believes_the_signature_of_who_has_the_secret() -> None:
    request = runtime_pb2.AcquireTaskRequest(supported_task_types=["flwr-clientapp"])
    body = request.SerializeToString(deterministic=True)

    class Once:
        def reserve_nonce(self, namespace: str, nonce: str, expires_at: float) -> bool:
            return len(nonce) == 32

    def believed(secret: bytes, headers: dict[str, str]) -> bool:
        return verify_superexec_request(
            request=request,
            method=ACQUIRE,
            auth_secret=derive_auth_secret(secret),
            timestamp_raw=headers["flwr-superexec-ts"],
            nonce=headers["flwr-superexec-nonce"],
            body_sha256_header=headers["flwr-superexec-body-sha256"],
            signature=headers["flwr-superexec-signature"],
            nonce_store=Once(),
        )

    headers = signature_headers(bytes(32), ACQUIRE, body)
    assert believed(bytes(32), headers)
    assert not believed(b"\1" * 32, headers)
    assert not believed(bytes(32), signature_headers(bytes(32), ACQUIRE, body, now=lambda: 1.0))
    assert not believed(bytes(32), signature_headers(bytes(32), "/flwr.proto.Runtime/PushLogs", body))


class Peer:
    """Gives each of its connections the next of its answers to every request, or ends it."""

    def __init__(self, path: Path, connections: Sequence[Sequence[bytes]]) -> None:
        self.requests = list[dict[str, str]]()
        self._listener, self._connections = listen_at(path), connections
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.ended = threading.Semaphore(0)

    def __enter__(self) -> "Peer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        for answers in self._connections:
            one, _ = self._listener.accept()
            with one:
                for answer in answers:
                    self.requests.append(_headers(one))
                    one.sendall(answer)
            self.ended.release()


def _headers(one: socket.socket) -> dict[str, str]:
    said = b""
    while b"\r\n\r\n" not in said:
        said += one.recv(65536)
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {"": first, **dict(line.lower().split(": ", 1) for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += one.recv(65536)
    return headers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "flower"
    folder.mkdir(mode=0o700)
    return folder / "peer.socket"


def test_a_connection_is_kept_and_another_one_opened_when_it_has_ended(path: Path) -> None:
    with Peer(path, [[EMPTY, EMPTY], [EMPTY]]) as peer:
        api = FlowerApi(over_socket(path, 5.0), "SuperExec", {"a": "b"})
        for number in range(3):
            assert number < 2 or peer.ended.acquire(timeout=60)
            api.ask(f"/{number}", b"x", pb.PushTaskOutputResponse)
        api.close()
    assert [one[""] for one in peer.requests] == [f"POST /{number} HTTP/1.1" for number in range(3)]


def test_the_headers_are_flowers(path: Path) -> None:
    with Peer(path, [[EMPTY]]) as peer:
        RuntimeSource(over_socket(path, 5.0), "it", bytes(32), "type").fail("token", "why")
    (said,) = peer.requests
    expected = Request("POST", "http://supernode")
    context = ProtobufRequestContext("", runtime_pb2.PushTaskOutputRequest(), expected)
    for intercept in (RuntimeVersionHttpInterceptor(component_name="SuperExec"), RuntimeTokenHttpInterceptor("token")):
        intercept.intercept(context, lambda _: Response(200))
    flowers = {name: value for name, value in expected.headers.items() if name.startswith("flwr-")}
    assert {name: value for name, value in said.items() if name.startswith("flwr-")} == {
        name: value.lower() for name, value in flowers.items()
    }
    assert said["content-type"] == said["accept"] == "application/protobuf"


def test_an_error_is_told_in_flowers_words(path: Path) -> None:
    body = json.dumps(FlowerError(ApiErrorCode.NODE_NOT_FOUND, "internal", "here").to_json("Not there.")).encode()
    answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with Peer(path, [[answer]]), pytest.raises(FlowerRefused, match=r"HTTP 404: here") as refused:
        FlowerApi(over_socket(path, 5.0), "flwr CLI").ask("/", b"", pb.ListNodesResponse)
    assert refused.value.code == 24


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"code": "24", "detail": "x"}', b'{"detail": "x"}'])
def test_an_error_of_somebody_elses_has_no_code(body: bytes) -> None:
    assert (FlowerRefused(502, body).code, str(FlowerRefused(502, body))) == (None, "HTTP 502")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff"])
def test_who_does_not_speak_protobuf_is_not_there(path: Path, answer: bytes) -> None:
    with Peer(path, [[answer]]), pytest.raises(FlowerUnreachable):
        FlowerApi(over_socket(path, 5.0), "flwr CLI").ask("/", b"", pb.ListNodesResponse)
