"""A wrapped-around sum: values chosen so that the sum passes half the ring and comes out as another number."""

from __future__ import annotations

import secrets as csprng
from dataclasses import replace

import numpy as np
import pytest
from consortium_world import a_plan

from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import protect
from clients.masking.errors import ValueOutOfBounds
from clients.masking.quantiser import Quantiser, largest_of
from clients.masking.ring import Integers, Ring
from clients.masking.session import Session
from clients.masking.shamir import MAX_SHARES
from clients.plan import Plan, PlanInvalid
from experiments.benchmarks.masked_cohort import LOOSEST, Cohort, MaskedRound, set_up_cohort
from server.aggregation.masked import RoundVoid


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return set_up_cohort(5)


@pytest.mark.parametrize("bits", [24, 32])
def test_no_cohort_can_wrap_a_sum_with_what_firms_accept(bits: int) -> None:
    """All firms at the end of the range, in both directions, for every size of a cohort."""
    ring = Ring(bits)
    for size in range(1, MAX_SHARES + 1):
        largest = Quantiser(1.0, size, bits).largest
        for value in (largest, -largest):
            one, total = ring.from_signed(np.array([value])), ring.zeros(1)
            for _ in range(size):
                ring.add(total, one)
            assert ring.centre(total)[0] == size * value
        # The range is no smaller than it has to be: one step more, and this cohort could wrap, or just not.
        assert size * (largest + 1) >= (1 << (bits - 1)) - 1


@pytest.mark.parametrize("sign", [1, -1])
def test_all_firms_at_the_end_of_the_range(cohort: Cohort, sign: int) -> None:
    session = cohort.session(dimension=3, round_number=1 + (sign > 0))
    values = {m: np.full(3, sign * session.quantiser.largest, dtype=np.int64) for m in session.members}
    this = MaskedRound(cohort, session, values)
    assert this.finish().total.tolist() == [5 * sign * session.quantiser.largest] * 3


def _crafted(session: Session) -> Integers:
    """One firm's value that, with four others at the end of the range, wraps the sum to a small one."""
    return np.array([(1 << session.ring_bits) - 4 * session.quantiser.largest - 1000], dtype=np.int64)


def test_a_firms_own_client_does_not_send_what_wraps(cohort: Cohort) -> None:
    session = cohort.session(dimension=1, round_number=3)
    secrets = cohort.firms["firm-1"].secrets
    for values in (_crafted(session), -_crafted(session), np.array([session.quantiser.largest + 1])):
        with pytest.raises(ValueOutOfBounds, match="the sum could wrap"):
            protect(session, "firm-1", values, secrets, csprng.token_bytes, policy=LOOSEST, book=AnswerBook())


def test_a_firm_that_sends_it_with_a_client_of_its_own_is_noticed_only_beyond_the_range(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Honest firms cannot be wrapped; a dishonest one gains no more by wrapping than by sending another value.

    Where the wrapped sum leaves the range of so many firms, the round is void. Where it does not, it is a sum that the
    firm could have had by a value within its range and the others' sum: masking cannot tell (see robust aggregation).
    """
    monkeypatch.setattr("clients.masking.contribution.check_values", lambda session, values: None)
    session = cohort.session(dimension=1, round_number=4)
    largest = session.quantiser.largest
    honest = {m: np.array([largest], dtype=np.int64) for m in session.members[1:]}
    with pytest.raises(RoundVoid, match="more than 5 firms can send"):
        # 2^24 / 5 * 5 leaves a gap of a few values on either side of half the ring: here the sum falls into it.
        MaskedRound(cohort, session, {"firm-1": np.array([largest + 2]), **honest}).finish()
    session = cohort.session(dimension=1, round_number=5)
    wrapped = MaskedRound(cohort, session, {"firm-1": _crafted(session), **honest}).finish()
    assert wrapped.total.tolist() == [-1000]


@pytest.mark.parametrize("changes", [{"box_micro": 10**15}, {"noise_micro": 10**12}])
def test_a_plan_whose_sums_could_wrap_is_none(changes: dict[str, int]) -> None:
    """Range, noise and cohort give the grid: there is no plan that says otherwise, so none can be shown to a firm."""
    with pytest.raises(PlanInvalid):
        a_plan(**changes).grid(6)


def test_the_grid_of_a_plan_holds_the_bound_and_nine_deviations_of_noise_without_wrapping() -> None:
    for size in (5, 6, 50, 200):
        plan: Plan = replace(a_plan(ring_bits=32), threshold=size)
        grid = plan.grid(size)
        reach = plan.box / grid.step + 9 * grid.sigma
        assert reach <= largest_of(size, 32) + 1
