"""A vote: signed, bounded in what one unit can do to it, and with noise for exactly that."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from consortium_world import a_plan
from federation_world import spec, tables
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.masking import wire
from clients.masking.errors import MalformedMessage
from clients.noise import RandomStream
from clients.plan import MICRO, Plan
from clients.tasks.task import task_for
from clients.vote import STEPS, Vote, groups_hash, scores_of, sigma_of
from ledger.keys import SigningKey

TASK = task_for(spec())
EXAMPLES = TASK.examples(tables(1, 40)[0])
SIZE = TASK.architecture.size


def plan(**changes: Any) -> Plan:
    fields = {"dimension": SIZE, "groups": 3, "combine": "mean", "held_out_micro": MICRO // 5, "vote_clip_micro": 10**5}
    return a_plan(**{**fields, **changes})


def bare(**changes: Any) -> Plan:
    return plan(privacy="none", noise_micro=0, **changes)


def scores(examples: Any, terms: Plan, gradients: Any, seed: int = 1) -> tuple[int, ...]:
    stream = RandomStream.seeded(seed)
    return scores_of(TASK.architecture, np.zeros(SIZE), gradients, examples, terms, stream)


def test_a_vote_is_read_back_under_its_firms_key_only() -> None:
    key, other = SigningKey.from_seed(bytes(32)), SigningKey.from_seed(bytes(31) + b"1")
    vote = Vote("c", bytes(16), "firm-1", bytes(32), (5, -(1 << 40), 0))
    raw = vote.sign(key)
    assert Vote.read(raw, key.public.ed25519.raw) == vote
    with pytest.raises(MalformedMessage, match="not by the firm's key"):
        Vote.read(raw, other.public.ed25519.raw)
    fields = wire.decode(raw, {"body": bytes, "signature": bytes}, "vote")
    body = fields["body"].replace(b"firm-1", b"firm-2")
    with pytest.raises(MalformedMessage):
        Vote.read(wire.encode({"body": body, "signature": fields["signature"]}), key.public.ed25519.raw)
    for wrong in (1 << 63, 1.5, True):
        with pytest.raises(MalformedMessage):
            Vote.read(Vote("c", bytes(16), "firm-1", bytes(32), (wrong,)).sign(key), key.public.ed25519.raw)  # type: ignore[arg-type]  # what a liar sends


def test_what_is_voted_on_has_one_name() -> None:
    assert len({groups_hash(one) for one in ([b"a", b"b"], [b"b", b"a"], [b"ab"], [b"a"], [])}) == 5


def test_a_step_that_helps_is_voted_for_and_one_that_hurts_against() -> None:
    slope = TASK.architecture.loss.slope(np.zeros((EXAMPLES.units, 1)), EXAMPLES.targets)
    gradient = np.asarray(EXAMPLES.inputs.T @ slope).ravel() / EXAMPLES.units
    ahead, back, stay = scores(EXAMPLES, bare(), [gradient, -gradient, np.zeros(SIZE)])
    assert ahead > 0 > back
    assert stay == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, EXAMPLES.units - 1), st.integers(0, 10**6), st.sampled_from([0.01, 1.0, 1e6, 1e200]))
def test_one_unit_moves_a_vote_by_no_more_than_its_noise_is_for(unit: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    gradients = [scale * rng.normal(size=SIZE) for _ in range(3)]
    others = EXAMPLES.sample(np.arange(EXAMPLES.units) != unit)
    moved = np.subtract(scores(EXAMPLES, bare(), gradients), scores(others, bare(), gradients))
    assert np.sqrt((moved**2).sum()) <= math.sqrt(3) * (STEPS + 1.5)


def test_the_noise_is_the_plans_over_what_one_unit_can_do() -> None:
    assert sigma_of(bare()) == 0
    terms = plan(noise_micro=2 * MICRO)
    assert sigma_of(terms) == math.ceil(2 * math.sqrt(3) * (STEPS + 1.5))
    nothing = EXAMPLES.sample(np.zeros(EXAMPLES.units, dtype=bool))
    drawn = [one for seed in range(400) for one in scores(nothing, terms, [np.zeros(SIZE)] * 3, seed)]
    assert np.std(drawn) == pytest.approx(sigma_of(terms), rel=0.1)
    assert scores(nothing, bare(), [np.zeros(SIZE)] * 3) == (0, 0, 0)


def test_an_overflow_says_nothing_about_the_unit_it_was_made_for() -> None:
    assert all(abs(one) <= EXAMPLES.units * STEPS for one in scores(EXAMPLES, bare(), [np.full(SIZE, 1e308)] * 3))
