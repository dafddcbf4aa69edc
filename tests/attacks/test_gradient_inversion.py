"""Gradient inversion: a record is read from a firm's plain contribution, and not from the masked one.

The batch of one record is the attacker's best case. A scorecard's gradient is (p - y) x, and x has one active bin a
feature: the bins are where the gradient is not zero, and the label is its sign (Zhu et al. 2019, in closed form).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from numpy.typing import NDArray
from task_world import credit_spec, credit_table

from clients.masking.plain import expose
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.noise import RandomStream
from clients.tasks.task import task_for
from clients.training import Protection, bounded_gradient_sum
from experiments.benchmarks.masked_cohort import Cohort, set_up_cohort

SPEC = credit_spec()
TASK = task_for(SPEC)
RECORDS = 150
VICTIM = "firm-3"
ROUND_NUMBERS = count(1)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return set_up_cohort(5)


@pytest.fixture(scope="module")
def table() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The truth: the active column of every feature, int64[rows, features], and the labels."""
    rows = credit_table(SPEC, RECORDS, seed=3)
    return TASK.encoder.encode(rows).astype(np.int64), TASK.targets(rows)


def _session(cohort: Cohort) -> Session:
    return cohort.session(dimension=TASK.architecture.size, round_number=next(ROUND_NUMBERS), bound=1.0)


def _update_of_one(session: Session, record: int) -> Integers:
    """What a firm with this one record puts on the grid, without noise."""
    examples = TASK.examples(credit_table(SPEC, RECORDS, seed=3))
    chosen = np.arange(RECORDS) == record
    parameters = np.linspace(-0.5, 0.5, TASK.architecture.size)
    protection, stream = Protection(clip=1.0, box=1.0, sampling_rate=1.0), RandomStream.secure()
    gradient = bounded_gradient_sum(TASK.architecture, parameters, examples.sample(chosen), protection, stream)
    return session.quantiser.quantise(gradient)


def invert(vector: Integers) -> tuple[NDArray[np.int64], float]:
    """The attack: the active column of every feature and the label, from one firm's vector int64[size]."""
    weights = np.abs(vector)
    columns = [group.start + int(np.argmax(weights[group.start : group.start + group.width])) for group in GROUPS]
    return np.array(columns), float(vector[columns].sum() < 0)  # slope is p - y: negative for y = 1


GROUPS = TASK.encoder.groups
CHANCE = float(np.mean([1 / group.width for group in GROUPS]))


def test_a_record_is_read_from_a_plain_contribution(
    cohort: Cohort, table: tuple[NDArray[np.int64], NDArray[np.float64]]
) -> None:
    for record in range(0, RECORDS, 10):
        session = replace(_session(cohort), protection="plain")
        sent = expose(session, VICTIM, _update_of_one(session, record))
        seen = session.ring.centre(session.ring.unpack(sent.masked, session.dimension).copy())
        columns, label = invert(seen)
        assert np.array_equal(columns, table[0][record])
        assert label == table[1][record]


def test_nothing_of_a_record_is_read_from_a_masked_contribution(
    cohort: Cohort, table: tuple[NDArray[np.int64], NDArray[np.float64]]
) -> None:
    """Bins and labels are guessed as well as by chance, and the vector does not correlate with the gradient."""
    hits, labels, pairs = [], [], []
    for record in range(RECORDS):
        session = _session(cohort)
        update = _update_of_one(session, record)
        sent = cohort.firms[VICTIM].contribute(session, update)
        seen = session.ring.centre(session.ring.unpack(sent.masked, session.dimension).copy())
        columns, label = invert(seen)
        hits.append(float(np.mean(columns == table[0][record])))
        labels.append(label == table[1][record])
        pairs.append((seen, update))
    tries = RECORDS * len(GROUPS)
    assert abs(np.mean(hits) - CHANCE) < 5 * 0.5 / np.sqrt(tries)
    assert abs(np.mean(labels) - 0.5) < 5 * 0.5 / np.sqrt(RECORDS)
    seen_all, true_all = (np.concatenate(column).astype(np.float64) for column in zip(*pairs, strict=True))
    assert abs(np.corrcoef(seen_all, true_all)[0, 1]) < 5 / np.sqrt(len(true_all))
