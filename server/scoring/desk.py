"""How one question is answered: by whom, for whom, and in which order.

Who asks is read from the certificate of the connection, never from the request. A question is counted
against the bank's quota, checked, scored, signed and put on record; only then does the answer leave. Whatever
fails on that way, no score leaves.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import grpc

from clients.errors import ClientError
from clients.scoring import scores_pb2 as pb
from clients.scoring.answer import BadAnswer, Release, answer_query, sign_answer
from clients.scoring.wire import answer_to_message, query_from_message
from clients.tasks.scorecard import Scorer
from ledger.keys import SigningKey
from ledger.service.access import NotAllowed
from ledger.service.errors import Unreachable
from ledger.service.peers import PeerCheck
from server.certificates import BadCertificate, identity_of
from server.errors import ServerError
from server.scoring.quota import OverQuota, Quota
from server.scoring.recording import NotRecorded, QueryRecord, Recorder

logger = logging.getLogger(__name__)

_identity_of = lru_cache(maxsize=1024)(identity_of)


@dataclass(frozen=True)
class PublishedScorer:
    """A released model that answers for a task, with the proof that it was published.

    Attributes:
        scorer: the model.
        model_hash: its hash, as the publish statement names it (32 bytes).
        receipt: receipt bundle of the publish statement.
        publish_statement: the signed statement itself (COSE_Sign1).
    """

    scorer: Scorer
    model_hash: bytes
    receipt: bytes
    publish_statement: bytes

    @cached_property
    def release(self) -> Release:
        digests = [hashlib.sha256(part).digest() for part in (self.receipt, self.publish_statement)]
        return Release(self.model_hash, *digests)

    @cached_property
    def proof(self) -> pb.Release:
        return pb.Release(receipt=self.receipt, publish_statement=self.publish_statement)


class Refused(ServerError):
    """The service does not answer; `status` is the gRPC status it says so with."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Desk:
    """All that answering needs.

    Attributes:
        cid: the consortium; a certificate of another is refused.
        issuer: in whose name answers are signed, usually `coordinator`.
        key: the key they are signed with.
        scorers: by task. Looked up for each question, so a new release can be put in while serving.
        is_enrolled: `(member, kind) -> bool`, asked with kind `bank` for each question.
        quota: how often each bank may ask.
        record: puts an answered question on record.
        now_ms: Unix time, milliseconds.
        peers: which certificates are revoked; None where nobody keeps a list.
        require_sound: raises what keeps this desk from ever answering again; another process has to take its place.
    """

    cid: str
    issuer: str
    key: SigningKey
    scorers: Mapping[str, PublishedScorer]
    is_enrolled: Callable[[str, str], bool]
    quota: Quota
    record: Recorder
    now_ms: Callable[[], int]
    peers: PeerCheck | None = None
    require_sound: Callable[[], None] = lambda: None

    def admit(self, context: Any) -> str:
        """Return the bank on the other end of a connection.

        Raises:
            Refused: no certificate of this consortium, a revoked one, or its holder is not an enrolled bank.
        """
        certificates = context.auth_context().get("x509_pem_cert", ())
        if len(certificates) != 1:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "show a certificate of the consortium")
        try:
            identity = _identity_of(certificates[0])
        except BadCertificate as error:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, str(error)) from error
        if identity.cid != self.cid:
            message = f"the certificate is of consortium {identity.cid}, this is {self.cid}"
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, message)
        if not self.is_enrolled(identity.member, "bank"):
            message = f"{identity.member} is not an enrolled bank of {self.cid}"
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, message)
        if self.peers is not None:
            try:
                self.peers.require_certificate(certificates[0])
            except NotAllowed as error:
                raise Refused(grpc.StatusCode.PERMISSION_DENIED, str(error)) from error
        return identity.member

    async def answer(self, context: Any, message: pb.ScoreRequest) -> pb.ScoreAnswer:
        """Answer one question of the bank at the other end of `context`, once it is on record.

        Raises:
            Refused: with the status and the one line that the bank is to see.
        """
        try:
            bank = self.admit(context)
            self.quota.take(bank)
            query = query_from_message(message)
            published = self.scorers.get(query.task)
            if published is None:
                raise Refused(grpc.StatusCode.NOT_FOUND, _not_released(query.task, self.scorers))
            score = published.scorer.score(query.features)
            answer = answer_query(query, score, published.release, cid=self.cid, bank=bank, ts=self.now_ms())
            signed = sign_answer(answer, self.issuer, self.key)
            digest = hashlib.sha256(signed).digest()
            await self.record(QueryRecord(bank, query.purpose, query.subject_commitment, digest, published.model_hash))
        except BadAnswer as error:  # the scorer is at fault, not the bank
            raise _failed(message.task) from error
        except ClientError as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        except OverQuota as error:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error
        except (NotRecorded, Unreachable) as error:  # or who is enrolled now is not known
            logger.error("%s", error)
            message_ = "the question could not be put on record, so it is not answered; ask again later"
            raise Refused(grpc.StatusCode.ABORTED, message_) from error
        except Refused:
            raise
        except Exception as error:
            raise _failed(message.task) from error
        return answer_to_message(answer, signed, published.proof)


def _not_released(task: str, released: Iterable[str]) -> str:
    known = ", ".join(sorted(released))
    if known:
        return f"no released model for {task} (released: {known})"
    return (
        "nothing has been released yet: ask again when the first run of a credit task is over and its model published"
    )


def _failed(task: str) -> Refused:
    """What went wrong inside stays inside, in the log: it may quote the applicant or the model."""
    logger.exception("the scorer of %r failed", task)
    return Refused(grpc.StatusCode.INTERNAL, "the service failed on this question")
