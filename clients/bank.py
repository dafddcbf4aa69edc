"""What a bank does: ask the score service, once or a million times, and trust only what is proved.

The contract that both sides share stands in `clients.scoring`: the generated messages, the form of a
question, of a signed answer, and of its proof. None of what serves is imported here.
"""

import hashlib
import math
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from clients.certificates import finish_coming
from clients.errors import ClientError
from clients.scoring import scores_pb2 as pb
from clients.scoring.proof import AnswerFileError as AnswerFileError
from clients.scoring.proof import AnswerVerifier as AnswerVerifier
from clients.scoring.proof import ScoredAnswer as ScoredAnswer
from clients.scoring.proof import UnprovenAnswer as UnprovenAnswer
from clients.scoring.proof import VerifiedAnswer as VerifiedAnswer
from clients.scoring.proof import check_can_keep as check_can_keep
from clients.scoring.proof import verify_answer as verify_answer
from clients.scoring.query import ID_BYTES, Query
from clients.scoring.scores_pb2_grpc import ScoresStub
from clients.scoring.wire import query_to_message

SALT_BYTES = 32
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class ServiceUnreachable(ClientError):
    """The score service cannot be reached, or cannot answer now."""

    exit_code = 3


class TurnedAway(ClientError):
    """The service turned the bank away: for who it is, or for how often it asks."""

    exit_code = 1


class NotReleased(ClientError):
    """There is no published model to answer with yet: the question may be asked again after a release."""

    exit_code = 1


class BadQuestion(ClientError):
    """The question is wrong, or cannot be asked from here."""

    exit_code = 2


def commit_to_subject(subject: str, salt: bytes) -> bytes:
    """Return a commitment (32 bytes) to who is asked about. Keep the salt; erasing it erases the link.

    Raises:
        BadQuestion: the salt is shorter than 32 bytes: names could be guessed through it.
    """
    if len(salt) < SALT_BYTES:
        raise BadQuestion(f"a salt of {len(salt)} bytes; use at least {SALT_BYTES} random ones")
    prefix = b"artesian subject v1" + len(salt).to_bytes(2, "big")
    return hashlib.sha256(prefix + salt + subject.encode()).digest()


def new_query(
    task: str,
    features: Mapping[str, float | str | None],
    purpose: str,
    subject_commitment: bytes,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Query:
    """Make a question with a fresh random id; raises BadQuery when a field is out of its limits."""
    return Query(randomness(ID_BYTES), task, features, purpose, subject_commitment)


@dataclass(frozen=True)
class Declined:
    """One question of many that got no answer, and the error that asking it alone would have raised."""

    query: Query
    error: ClientError


class BankClient:
    """A connection to the score service as the bank of `home` (tls.key, tls.crt, ca.crt).

    With a `verifier` every answer is checked in full before it is given out; without one, only that it is to
    the question asked and says in the clear what it says under its signature.
    """

    def __init__(
        self, home: Path, address: str, verifier: AnswerVerifier | None = None, timeout_s: float = 10.0
    ) -> None:
        """Open a channel to `address` (HOST:PORT). It connects with the first question.

        Raises:
            BadQuestion: the address, the timeout or a file of `home` cannot be used.
        """
        if not 0 < timeout_s < math.inf:  # NaN is not, either
            raise BadQuestion(f"a timeout of {timeout_s} s; give a number of seconds above 0")
        self._host, self._port = _host_and_port(address)
        self._home = home
        self._verifier = verifier
        self._timeout_s = timeout_s
        finish_coming(home)
        key, certificate, authority = (_read(home / name) for name in ("tls.key", "tls.crt", "ca.crt"))
        credentials = grpc.ssl_channel_credentials(authority, key, certificate)
        # A proxy of the environment has no business on the way to this machine itself.
        options = [("grpc.enable_http_proxy", 0)] if self._host in _LOOPBACK else []
        self._channel = grpc.secure_channel(address, credentials, options)
        self._stub: Any = ScoresStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def score(self, query: Query) -> ScoredAnswer:
        """Ask one question.

        Raises:
            ServiceUnreachable: no service there, or it cannot answer now.
            TurnedAway: our certificate, enrolment or quota does not allow it.
            NotReleased: no model of this task is published.
            BadQuestion: a feature that the model does not take.
            UnprovenAnswer: the answer does not hold.
        """
        started_s = time.perf_counter()
        try:
            message = self._stub.Score(query_to_message(query), timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise self._explain(error) from error
        latency_ms = (time.perf_counter() - started_s) * 1e3
        return self._accept(query, message, message.release, latency_ms)

    def score_many(self, queries: Iterable[Query]) -> Iterator[ScoredAnswer | Declined]:
        """Ask many questions on one stream; results come in order, while `queries` is still being read.

        A latency here counts from the sending of the question, waiting behind others included.

        Raises:
            ServiceUnreachable, TurnedAway: the stream broke. What was given out before holds.
            UnprovenAnswer: an answer does not hold.
        """
        sent: deque[tuple[Query, float]] = deque()
        ours: list[Exception] = []
        releases: dict[bytes, pb.Release] = {}

        def messages() -> Iterator[pb.ScoreRequest]:
            try:
                for query in queries:
                    sent.append((query, time.perf_counter()))
                    yield query_to_message(query)
            except Exception as error:  # gRPC iterates in a thread of its own, and would swallow it
                ours.append(error)
                raise

        stream = self._stub.ScoreMany(messages())
        try:
            for result in stream:
                if not sent:
                    raise UnprovenAnswer("the service sent more results than it was asked questions")
                query, started_s = sent.popleft()
                if result.HasField("refusal"):
                    yield Declined(query, _refusal(result.refusal))
                    continue
                answer = result.answer
                if answer.HasField("release"):
                    releases[answer.model_hash] = answer.release
                release = releases.get(answer.model_hash, answer.release)
                yield self._accept(query, answer, release, (time.perf_counter() - started_s) * 1e3)
        except grpc.RpcError as error:
            raise ours[0] if ours else self._explain(error) from error
        finally:
            stream.cancel()
        if sent:
            raise ServiceUnreachable(f"the score service ended with {len(sent)} questions unanswered; ask again")

    def _accept(self, query: Query, message: pb.ScoreAnswer, release: pb.Release, latency_ms: float) -> ScoredAnswer:
        """What is said in the clear must be what is signed, and about this question."""
        signed = message.signed_answer
        scored = ScoredAnswer(query, signed, release.receipt, release.publish_statement, latency_ms)
        answer = scored.answer
        shown = (message.request_id, message.score, message.pd, message.model_hash, message.answered_at_ms)
        reasons = [(r.code, r.text, r.points) for r in message.reasons]
        if answer.query != query.digest():
            raise UnprovenAnswer("the answer is to another question than this one")
        if shown != (answer.id, answer.score, answer.pd, answer.model, answer.ts) or reasons != [
            (r.code, r.text, r.points) for r in answer.reasons
        ]:
            raise UnprovenAnswer("the answer shows something else than what is signed")
        if self._verifier is not None:
            self._verifier.verify(scored)
        return scored

    def _explain(self, error: Any) -> ClientError:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return self._why_unavailable(error.details())
        return _error(error.code(), error.details())

    def _why_unavailable(self, details: str) -> ClientError:
        """gRPC says only `unavailable`; a handshake of our own says whether somebody is there and objects."""
        where = f"{self._host}:{self._port}"
        files = [self._home / name for name in ("ca.crt", "tls.crt", "tls.key")]
        try:
            context = ssl.create_default_context(cafile=files[0])
            context.load_cert_chain(files[1], files[2])
            context.set_alpn_protocols(["h2"])
            with (
                socket.create_connection((self._host, self._port), self._timeout_s) as plain,
                context.wrap_socket(plain, server_hostname=self._host) as secure,
            ):
                heard = secure.recv(1)
        except ssl.SSLCertVerificationError as error:
            return TurnedAway(f"{where} shows no certificate of this consortium: {error.verify_message}")
        except (ssl.SSLError, ConnectionResetError):
            heard = b""
        except OSError as error:
            return ServiceUnreachable(f"no score service at {where}: {error.strerror or error}")
        if not heard:
            # In TLS 1.3 a server refuses a certificate after the handshake, and gRPC does so by hanging up.
            return TurnedAway(f"{where} refused {files[1]}: not of this consortium, or expired")
        return ServiceUnreachable(f"the score service at {where} broke off: {details}; ask again")


def _error(code: grpc.StatusCode, message: str) -> ClientError:
    match code.name:
        case "PERMISSION_DENIED" | "UNAUTHENTICATED" | "RESOURCE_EXHAUSTED":
            return TurnedAway(message)
        case "NOT_FOUND":
            return NotReleased(message)
        case "INVALID_ARGUMENT" | "UNIMPLEMENTED":
            return BadQuestion(message)
        case "DEADLINE_EXCEEDED":
            return ServiceUnreachable("the score service did not answer in time; ask again")
        case _:
            return ServiceUnreachable(f"the score service could not answer: {message}")


def _refusal(refusal: pb.Refusal) -> ClientError:
    return _error(_CODES.get(refusal.code, grpc.StatusCode.UNKNOWN), refusal.message)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host.strip("[]") or (":" in host and not bracketed) or not (port.isascii() and port.isdecimal()):
        raise BadQuestion(f"address {address!r}: write it as HOST:PORT")
    if len(port) > len("65535") or not 1 <= int(port) <= 65535:
        raise BadQuestion(f"address {address!r}: the port must be from 1 to 65535")
    return host.strip("[]"), int(port)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadQuestion(f"{path}: {error.strerror}; ask the coordinator for a certificate first") from error
