"""Encrypted sums by parameters: what a firm, the server, a checking firm and the key holder spend, and what travels.

One process, no network. The masked sum of the same cohort, and fp32 as it is, run beside it in the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np

from clients.encryption.contexts import KeyPair, public_context, secret_context
from clients.encryption.vectors import EncryptedPiece, blocks_of, decrypt_sum, encrypt, pieces_of
from clients.masking.ring import Integers
from clients.masking.session import RosterEntry, Session
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.masked_cohort import Cohort, MaskedRound, draw_updates, set_up_cohort
from experiments.errors import ExperimentError

COMMAND = "artesian bench encrypted_scale"
FIRMS = 10
SIZES = (100_000, 1_000_000)
T = TypeVar("T")


def run(runs: int = 5, sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    """Medians over `runs` rounds of each size.

    Raises:
        ExperimentError: a sum does not open to the exact one.
    """
    cohort = set_up_cohort(FIRMS)
    return [figure for dimension in sizes for figure in _of(cohort, dimension, runs)]


def _of(cohort: Cohort, dimension: int, runs: int) -> list[Figure]:
    times: dict[str, list[float]] = {}
    upload = {}
    for number in range(1, runs + 1):
        values = draw_updates(cohort.session(dimension=dimension, round_number=number), seed=number)
        upload = _encrypted(cohort, dimension, values, times)
        masked = cohort.session(dimension=dimension, round_number=dimension + number)
        one = MaskedRound(cohort, masked, {})
        member = masked.members[0]
        spent, contribution = _timed(lambda: cohort.firms[member].contribute(masked, values[member]))  # noqa: B023
        times.setdefault("masked firm", []).append(spent)
        spent, _ = _timed(lambda: one.aggregator.add(member, contribution, contribution.commit))  # noqa: B023
        times.setdefault("masked add", []).append(spent)
        upload["masked, 24 ring bits"] = float(len(contribution.masked))
        spent, _ = _timed(lambda: hashlib.sha256(values[member].astype(np.float32).tobytes()))  # noqa: B023
        times.setdefault("fp32", []).append(spent)
    at = {name: median(found) for name, found in times.items()}
    where, ciphertext = f"{dimension:,} parameters", upload.pop("encrypted")
    beside = {
        "its processor time": at["firm's processor"],
        "masked, first trip": at["masked firm"],
        "fp32 with a hash": at["fp32"],
    }
    return [
        Figure(f"a firm encrypts and serialises, {where}", at["firm"], "ms", beside, runs, COMMAND),
        Figure(f"upload of a firm, {where}", ciphertext, "bytes", {**upload, "fp32": 4.0 * dimension}, runs, COMMAND),
        Figure(f"the server adds one firm, {where}", at["add"], "ms", {"masked": at["masked add"]}, runs, COMMAND),
        Figure(
            f"the key holder decrypts and checks, {where}", at["holder"], "ms", {"a firm": at["firm"]}, runs, COMMAND
        ),
        Figure(
            f"a firm computes the sum of {FIRMS} firms, {where}",
            at["sum"],
            "ms",
            {"a firm encrypts": at["firm"]},
            runs,
            COMMAND,
        ),
    ]


def _encrypted(
    cohort: Cohort, dimension: int, values: dict[str, Integers], times: dict[str, list[float]]
) -> dict[str, float]:
    """One encrypted sum; returns what a firm sends, in bytes."""

    def note(name: str, spent: float) -> None:
        times.setdefault(name, []).append(spent)

    pair = KeyPair.generate()
    context = public_context(pair.public)
    roster = tuple(RosterEntry(entry.member, bytes(32)) for entry in cohort.roster)
    terms = (dimension, 24, 3, 4.0)
    session = Session("bench", 1, bytes(16), roster, bytes(32), *terms, "encrypted", "holder", context.hash)
    sent = []
    for one in values.values():
        began = process_time()
        spent, vector = _timed(lambda: encrypt(context, session, one))  # noqa: B023  # called here only
        note("firm", spent)
        note("firm's processor", 1e3 * (process_time() - began))
        sent.append(vector)
    total = [EncryptedPiece(context, session, number) for number in range(len(blocks_of(dimension)))]

    def add(vector: bytes) -> None:
        for part, piece in zip(total, pieces_of(session, vector, "a vector"), strict=True):
            part.add(piece, "a vector")

    whole = 0.0
    for vector in sent:
        spent, _ = _timed(lambda: add(vector))  # noqa: B023
        note("add", spent)
        whole += spent
    spent, pieces = _timed(lambda: [part.to_bytes() for part in total])
    note("sum", whole + spent)
    spent, opened = _timed(lambda: decrypt_sum(secret_context(pair.secret), session, pieces, len(sent)))
    note("holder", spent)
    if not np.array_equal(opened, np.sum(list(values.values()), axis=0)):
        raise ExperimentError("encrypted sum: it does not open to the exact one")
    return {"encrypted": float(median(len(vector) for vector in sent))}


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = perf_counter()
    result = work()
    return 1e3 * (perf_counter() - began), result
