"""Runs schedules by their numbers, and says how to run one again."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from unittest.mock import patch

import ledger.divergence
import ledger.founding
import ledger.intake
import ledger.log
import ledger.mirrored
import ledger.replay
from ledger.checkpoint import SignedCheckpoint
from ledger.keys import BadSignature, PublicKey
from ledger.log import Log
from ledger.note import SignatureLine
from ledger.statement import decode_statement
from ledger.witness import Witness

from . import history
from .consortium import Consortium, founded_history, tolerated
from .honest import HonestSchedule
from .malicious import MaliciousSchedule
from .observer import Observer
from .storage import InMemory, Storage

SCHEDULES = int(os.environ.get("ARTESIAN_SCHEDULES", "10000"))
"""How many schedules the tests run: half with an honest log, half with a malicious one."""
ONLY = os.environ.get("ARTESIAN_SCHEDULE")
"""The number of the one schedule to run, with its trace."""
_CHUNK = 250
_DECODING = (ledger.divergence, ledger.founding, ledger.intake, ledger.log, ledger.mirrored, ledger.replay, history)
_SIZES = (1, 2, 3, 4, 4, 4, 5, 5, 6, 6, 7)


@dataclass
class Cast:
    """Whose code is on trial; other classes than the ledger's own are broken on purpose."""

    log: type[Log] = Log
    witness: type[Witness] = Witness


def run(
    number: int, cast: Cast | None = None, *, storage: Storage | None = None, trace: list[str] | None = None
) -> Counter[str]:
    """One schedule: even numbers have an honest log, odd ones a malicious one. Returns what happened how often.

    Args:
        trace: events are appended to it as they happen.

    Raises:
        Violation: a promise of the ledger does not hold.
    """
    random, cast, storage = Random(number), cast or Cast(), storage or InMemory()
    members = random.choice(_SIZES)
    with simulated(storage):
        observer = Observer(founded_history(members))
        if trace is not None:
            observer.trace = trace.append
        consortium = Consortium(random, members, random.randint(0, tolerated(members)), observer, storage, cast.witness)
        if number % 2:
            MaliciousSchedule(random, consortium).run(random.randint(8, 30))
        else:
            HonestSchedule(random, consortium, cast.log).run(random.randint(8, 30))
    return observer.reached


def check(numbers: Iterable[int]) -> Counter[str]:
    """Run schedules; the first that fails is named, with the command that runs it again."""
    reached: Counter[str] = Counter()
    for number in numbers:
        trace: list[str] = []
        try:
            reached += run(number, trace=trace if ONLY else None)
        except Exception as error:
            failed = f"schedule {number}: {error!r}; run it again with its trace: {command(number)}"
            raise AssertionError(failed) from error
        finally:
            if trace:
                print(*trace, sep="\n")
    return reached


def command(number: int) -> str:
    """What runs one schedule again."""
    kind = "malicious" if number % 2 else "honest"
    return f"ARTESIAN_SCHEDULE={number} .venv/bin/python -m pytest -s tests/ledger/test_schedules_{kind}.py"


def chunks(parity: int) -> list[range]:
    """The numbers to run of one kind of log, as one test takes them."""
    if ONLY is not None:
        return [range(int(ONLY), int(ONLY) + 1)] if int(ONLY) % 2 == parity else []
    return [range(start + parity, min(start + 2 * _CHUNK, SCHEDULES), 2) for start in range(0, SCHEDULES, 2 * _CHUNK)]


@contextmanager
def simulated(storage: Storage) -> Iterator[None]:
    """Within it logs and witnesses keep their bytes on simulated disks, and nothing is verified or decoded twice.

    The remembered functions are pure and what they return is immutable: each signature, statement, note and line
    still goes through the real code once.
    """
    with ExitStack() as stack:
        stack.enter_context(patch.object(PublicKey, "verify", _verify))
        stack.enter_context(patch.object(SignedCheckpoint, "parse", _parse_note))
        stack.enter_context(patch.object(SignatureLine, "parse", _parse_line))
        for module in _DECODING:
            stack.enter_context(patch.object(module, "decode_statement", _decode))
        for module in (ledger.log, ledger.mirrored):
            stack.enter_context(patch.object(module, "Store", storage.store))
        yield


_really_verify = PublicKey.verify
_decode = lru_cache(5_000)(decode_statement)
_parse_note = lru_cache(5_000)(SignedCheckpoint.parse)
_parse_line = lru_cache(20_000)(SignatureLine.parse)


def _verify(key: PublicKey, signature: bytes, message: bytes) -> None:
    if not _fits(key, signature, message):
        raise BadSignature(f"the signature does not fit the key {key.kid.hex()[:16]}")


@lru_cache(20_000)
def _fits(key: PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        _really_verify(key, signature, message)
    except BadSignature:
        return False
    return True
