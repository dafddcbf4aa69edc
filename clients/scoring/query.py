"""A question to the score service, its limits, and the hash by which an answer is bound to it."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import cbor2

from clients.errors import ClientError

ID_BYTES = 16
DIGEST_BYTES = 32
MAX_FEATURES = 1024
MAX_TEXT_BYTES = 1024

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}\Z")


class BadQuery(ClientError):
    """The question cannot be asked as it stands."""

    exit_code = 2


@dataclass(frozen=True)
class Query:
    """One question.

    Attributes:
        id: 16 random bytes; they also keep the question secret behind its hash.
        task: the task that is asked, such as `credit`.
        features: by name; a number (finite), a text, or None for a value that is missing.
        purpose: why, as a short slug such as `loan-application`: it goes on the ledger, so nothing personal.
        subject_commitment: 32 bytes, the salted SHA-256 of who is asked about.
    """

    id: bytes
    task: str
    features: Mapping[str, float | str | None]
    purpose: str
    subject_commitment: bytes

    def __post_init__(self) -> None:
        """Raises BadQuery when a field is out of its limits."""
        if len(self.id) != ID_BYTES:
            raise BadQuery(f"request id has {len(self.id)} bytes; it must have {ID_BYTES}, random")
        if len(self.subject_commitment) != DIGEST_BYTES:
            raise BadQuery(f"subject commitment has {len(self.subject_commitment)} bytes; it must have 32")
        for what, slug in (("task", self.task), ("purpose", self.purpose)):
            if not _SLUG.match(slug):
                raise BadQuery(f"{what} {slug[:80]!r}: use a short slug of a-z, 0-9, dashes and dots")
        if not 0 < len(self.features) <= MAX_FEATURES:
            raise BadQuery(f"{len(self.features)} features; give 1 to {MAX_FEATURES}")
        for name, value in self.features.items():
            _check_feature(name, value)

    def digest(self) -> bytes:
        """SHA-256 of the question as deterministic CBOR (32 bytes)."""
        features = {n: float(x) if isinstance(x, int) else x for n, x in self.features.items()}
        fields = {
            "v": 1,
            "id": self.id,
            "task": self.task,
            "features": features,
            "purpose": self.purpose,
            "subject": self.subject_commitment,
        }
        return hashlib.sha256(cbor2.dumps(fields, canonical=True)).digest()


def _check_feature(name: str, value: float | str | None) -> None:
    for text in (name, value):
        if isinstance(text, str):
            try:
                size = len(text.encode())
            except UnicodeEncodeError:
                raise BadQuery(f"feature {name!a}: the text is not valid Unicode") from None
            if size > MAX_TEXT_BYTES:
                raise BadQuery(f"feature {name[:40]!r}: a text of {size} bytes; at most {MAX_TEXT_BYTES}")
    if isinstance(value, bool) or not (value is None or isinstance(value, int | float | str)):
        raise BadQuery(f"feature {name!r}: give a number, a text or null, not {type(value).__name__}")
    if isinstance(value, int | float) and not _finite(value):
        raise BadQuery(f"feature {name!r}: the number must be finite")


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond a double
        return False
