"""An answer together with its question and its proof: kept in one file, checked later without any network."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import cbor2

from clients.errors import ClientError
from clients.scoring.answer import Answer, BadAnswer, OtherKey, open_answer, read_answer
from clients.scoring.query import BadQuery, Query
from ledger.encoding import EncodingError, decode_item
from ledger.errors import LedgerError
from ledger.homes import POLICIES
from ledger.keys import PublicKey
from ledger.policies import Policies, policy_files
from ledger.policy import Policy
from ledger.receipt import VerifiedReceipt

POLICY_FILE = "policy.txt"
SCORER_KEY_FILE = "scorer.pub"


class UnprovenAnswer(ClientError):
    """An answer that does not prove what it says. Do not use its score."""

    exit_code = 1


class AnswerFileError(ClientError):
    """A file that checking needs cannot be read, or an answer cannot be kept."""

    exit_code = 2


def check_can_keep(path: Path) -> None:
    """Check before asking that an answer could be kept in `path`; leaves nothing behind.

    Raises:
        AnswerFileError: the file exists, or nothing can be written into its folder.
    """
    if os.path.lexists(path):
        raise AnswerFileError(f"{path}: exists already, and a kept answer is never overwritten; name another file")
    try:
        with _beside(path):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def _beside(path: Path) -> Iterator[tuple[int, str]]:
    """A new temporary file (descriptor, name; mode 0600) in the folder of `path`; gone afterwards unless renamed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(name)


def _cannot_write(path: Path, error: OSError) -> AnswerFileError:
    return AnswerFileError(f"{path}: cannot write the answer: {error.strerror}")


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer with its question and its proof: everything that a later check needs.

    Attributes:
        query: what was asked.
        signed: the signed answer (COSE_Sign1).
        receipt: receipt of the release's publish statement.
        publish_statement: that statement (COSE_Sign1).
        latency_ms: from asking to having the answer; None when it was read from a file.
    """

    query: Query
    signed: bytes
    receipt: bytes
    publish_statement: bytes
    latency_ms: float | None = field(default=None, compare=False)

    @cached_property
    def answer(self) -> Answer:
        """What the answer says. Reading does not verify: call `verify_answer`."""
        try:
            return read_answer(self.signed)
        except BadAnswer as error:
            raise UnprovenAnswer(str(error)) from error

    def to_bytes(self) -> bytes:
        """Deterministic CBOR; holds the applicant's features in the clear."""
        query = {**vars(self.query), "features": dict(self.query.features)}
        proof = {"signed": self.signed, "receipt": self.receipt, "statement": self.publish_statement}
        return cbor2.dumps({"v": 1, "query": query, **proof}, canonical=True)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read what `to_bytes` wrote; verifies nothing.

        Raises:
            UnprovenAnswer: the bytes are damaged or not an answer file.
        """
        try:
            match decode_item(raw, what="the answer file"):
                case {
                    "v": 1,
                    "query": {
                        "id": bytes(id_),
                        "task": str(task),
                        "features": dict(features),
                        "purpose": str(purpose),
                        "subject_commitment": bytes(subject),
                    } as query,
                    "signed": bytes(signed),
                    "receipt": bytes(receipt),
                    "statement": bytes(statement),
                } as whole if len(query) == len(whole) == 5 and all(isinstance(n, str) for n in features):
                    return cls(Query(id_, task, features, purpose, subject), signed, receipt, statement)
        except (EncodingError, BadQuery) as error:
            raise UnprovenAnswer(f"not a saved answer: {error}") from error
        raise UnprovenAnswer("not a saved answer: version, query, signed, receipt and statement are expected")

    def save(self, path: Path) -> None:
        """Write to `path` with mode 0600: it holds an applicant's features. What is there is never overwritten.

        Raises:
            AnswerFileError: the file exists or cannot be written.
        """
        try:
            with _beside(path) as (descriptor, name):
                with os.fdopen(descriptor, "wb", closefd=False) as file:
                    file.write(self.to_bytes())
                    file.flush()
                    os.fsync(descriptor)
                # Taking the name first, and only if it is free, keeps the rename from replacing another's file.
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                os.replace(name, path)
        except OSError as error:
            raise _cannot_write(path, error) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises AnswerFileError when `path` cannot be read, UnprovenAnswer when it holds no answer."""
        try:
            return cls.from_bytes(path.read_bytes())
        except OSError as error:
            raise AnswerFileError(f"{path}: cannot read the answer: {error.strerror}") from error


@dataclass(frozen=True)
class VerifiedAnswer:
    """What holds: the answer, what the ledger proves about its model, and both in words."""

    answer: Answer
    receipt: VerifiedReceipt
    words: list[str]


class AnswerVerifier:
    """Checks answers under a policy, or each under that of its time; a release that many share is checked once."""

    def __init__(self, policy: Policy | Policies, scorer_key: PublicKey, key_file: Path | None = None) -> None:
        """`key_file`: where the scorer's key would stand, if `scorer_key` is the log's for want of it."""
        self._policies = policy if isinstance(policy, Policies) else Policies({POLICY_FILE: policy})
        self._scorer_key, self._key_file = scorer_key, key_file
        self._releases: dict[tuple[bytes, bytes], VerifiedReceipt] = {}

    @classmethod
    def from_home(cls, home: Path, policy: Path | None = None) -> Self:
        """Trust what `home` holds: policy.txt with those before it in `policies/` (or `policy`, a file, a folder of
        policies or a home), and scorer.pub (64 hex digits) if it is there, or beside `policy`.

        Without scorer.pub the scorer's key is that of the policy's log: a coordinator with one key signs both.

        Raises:
            AnswerFileError: a file is missing or holds no key.
            LedgerError: the policy cannot be used.
        """
        path = policy or (home if (home / POLICIES).is_dir() else home / POLICY_FILE)
        key_path = home / SCORER_KEY_FILE
        if policy is not None and not key_path.exists():
            key_path = (policy if policy.is_dir() else policy.parent) / SCORER_KEY_FILE
        try:
            known = {str(file): Policy.parse(file.read_text("utf-8")) for file in policy_files(path)}
            key = bytes.fromhex(key_path.read_text("ascii")) if key_path.exists() else None
        except OSError as error:
            raise AnswerFileError(
                f"{error.filename}: {error.strerror}; answers cannot be checked: give --home of a bank that has "
                "joined, or --policy"
            ) from error
        except ValueError as error:
            raise AnswerFileError(f"{path} or {key_path}: not text of the form expected ({error})") from error
        if not known:
            raise AnswerFileError(f"{path}: holds no policy; give its file, or a folder of policies (*.txt)")
        logs = {log.key.raw for trusted in known.values() for log in trusted.logs}
        if key is None and len(logs) != 1:
            raise AnswerFileError(f"{path} names {len(logs)} keys of logs; put the scorer's key into {key_path}")
        if key is None:
            return cls(Policies(known), PublicKey(logs.pop()), key_path)
        return cls(Policies(known), PublicKey(key))

    def verify(self, scored: ScoredAnswer) -> VerifiedAnswer:
        """Check everything. It needs no network, no service and no clock.

        Raises:
            UnprovenAnswer: the signature, the question, the receipt or the model does not fit; says which.
            AnswerFileError: the scorer's key is not known, and the answer is not signed with the log's.
        """
        try:
            answer = open_answer(scored.signed, self._scorer_key)
        except OtherKey as error:
            if self._key_file is None:
                raise UnprovenAnswer(str(error)) from error
            raise AnswerFileError(
                f"{self._key_file}: no such file, so the scorer's key is not known here, and the answer is not signed "
                "with the policy's log key; give --home of a bank that has joined, or put the key there (64 hex digits)"
            ) from error
        except BadAnswer as error:
            raise UnprovenAnswer(str(error)) from error
        if answer.query != scored.query.digest() or answer.id != scored.query.id:
            raise UnprovenAnswer("the answer is to another question than this one")
        receipt = self._release(scored, answer)
        words = [
            f"{answer.bank} asked {answer.cid} on {answer.task}: score {answer.score}, pd {answer.pd:.4f}.",
            f"The answer is signed, is for exactly this question, and is by model {answer.model.hex()}.",
            *receipt.words,
        ]
        return VerifiedAnswer(answer, receipt, words)

    def _release(self, scored: ScoredAnswer, answer: Answer) -> VerifiedReceipt:
        """The proof beside the answer is the one it was signed with, holds, and names the same model."""
        hashes = (hashlib.sha256(scored.receipt).digest(), hashlib.sha256(scored.publish_statement).digest())
        if hashes != (answer.receipt, answer.statement):
            raise UnprovenAnswer("the release proof beside the answer is not the one that the answer names")
        if hashes not in self._releases:
            try:
                self._releases[hashes] = self._policies.verify(scored.receipt, scored.publish_statement)[1]
            except LedgerError as error:
                raise UnprovenAnswer(f"the release proof does not hold: {error}") from error
        verified = self._releases[hashes]
        record = verified.statement.payload
        if record.get("t") != "publish" or record.get("cid") != answer.cid:
            raise UnprovenAnswer(f"the ledger entry is no publication of a model of {answer.cid}")
        if record.get("model") != answer.model:
            raise UnprovenAnswer("the answer is by another model than the one that was published")
        return verified


def verify_answer(scored: ScoredAnswer, policy: Policy, scorer_key: PublicKey) -> VerifiedAnswer:
    """Check one answer offline; raises UnprovenAnswer as `AnswerVerifier.verify`."""
    return AnswerVerifier(policy, scorer_key).verify(scored)
