"""Costs: exact sums in integers, and mechanisms that cover what they are said to cost."""

from __future__ import annotations

import math

import pytest
from consortium_world import a_plan
from hypothesis import given
from hypothesis import strategies as st
from wallet_world import a_wallet

from clients.composition import MU_SQUARED_BITS, mu_squared
from clients.cost import Cost, Total, as_cost
from clients.mechanism import MICRO, Mechanism
from clients.privacy import NOTHING, PrivacyError, add, epsilon, epsilon_under_cap, gaussian_rdp

full_batch = st.builds(Mechanism, st.integers(100_000, 50 * MICRO), st.just(MICRO), st.integers(1, 100))
costs = st.one_of(full_batch.map(Cost.of), full_batch.map(lambda one: Cost(one.rdp())))


@given(st.lists(costs, max_size=12), st.randoms(use_true_random=False))
def test_totals_add_up_exactly_in_any_order_and_give_back(parts: list[Cost], random: object) -> None:
    total = Total.of(parts)
    shuffled = sorted(parts, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert Total.of(shuffled) == total
    assert total.nano_rdp == add(one.nano_rdp for one in parts)
    named = [mechanism for one in parts for mechanism in one.mechanisms]
    assert mu_squared(total.mechanisms) == sum(mu_squared([one]) for one in named)
    assert sum(m.steps for m in total.mechanisms) == sum(m.steps for m in named)
    assert total.full_batch == all(one.mechanisms for one in parts)
    for one in shuffled:
        total.take(one)
    assert total == Total()


def test_full_batch_is_what_samples_nothing() -> None:
    assert Total.of([Cost.of(Mechanism(MICRO), Mechanism(2 * MICRO))]).full_batch
    assert not Total().with_(Cost.of(Mechanism(MICRO)), Cost(NOTHING, (Mechanism(MICRO, 10_000),))).full_batch


def test_a_cap_holds_where_later_releases_are_chosen_by_earlier_results() -> None:
    """Of several kinds with samples among them one order counts, whatever it is that would let them through."""
    first = Mechanism(5 * MICRO)
    branches = [
        Mechanism(5_604_000),
        Mechanism(434_000, 1_000),
    ]  # either alone keeps to epsilon 1; who picks by results, not
    for second in branches:
        assert Total.of([Cost.of(first, second)]).epsilon(1e-5) <= 1.0
    assert [Total.of([Cost.of(first, second)]).within(1.0, 1e-5) for second in branches] == [True, False]


def test_an_account_of_one_kind_or_of_full_batches_is_capped_by_what_is_told_of_it() -> None:
    for parts in ([Mechanism(1_500_000, 43_000, 400)], [Mechanism(30 * MICRO), Mechanism(20 * MICRO)]):
        total = Total.of([Cost.of(*parts)])
        assert total.capped_epsilon(8.0, 1e-5) == total.epsilon(1e-5) < epsilon(total.nano_rdp, 1e-5)
    mixed = Total.of([Cost.of(Mechanism(1_500_000, 43_000, 400), Mechanism(30 * MICRO))])
    assert mixed.capped_epsilon(8.0, 1e-5) == epsilon_under_cap(mixed.nano_rdp, 8.0, 1e-5) > mixed.epsilon(1e-5)
    assert mixed.within(mixed.capped_epsilon(4.0, 1e-5), 1e-5)
    assert not mixed.within(mixed.epsilon(1e-5), 1e-5)


def test_a_cost_of_nothing_says_what_was_released() -> None:
    assert Cost(NOTHING).named
    assert not Total.of([Cost(NOTHING)]).unnamed


def test_mechanisms_that_cost_less_than_is_said_are_refused() -> None:
    more = gaussian_rdp(2.0, 1.0, 3)
    with pytest.raises(PrivacyError, match="cost less"):
        Cost(more, (Mechanism(2 * MICRO, steps=2),)).require_sound()
    assert Cost(more, (Mechanism(2 * MICRO, steps=3),)).require_sound().nano_rdp == more
    with a_wallet() as wallet, pytest.raises(PrivacyError, match="cost less"):
        wallet.reserve("row", "credit", "round", Cost(more, (Mechanism(2 * MICRO, steps=2),)))
    assert as_cost(more) == Cost(more)


@given(st.integers(2, 40), st.integers(0, 38), st.integers(300_000, 90 * MICRO), st.sampled_from([MICRO, MICRO // 10]))
def test_what_an_opening_releases_covers_what_it_costs(threshold: int, fewer: int, noise: int, rate: int) -> None:
    colluders = min(fewer, threshold - 1)
    plan = a_plan(threshold=threshold, colluders=colluders, noise_micro=noise, sampling_micro=rate)
    cost = plan.opening_cost(40).require_sound()
    assert cost.nano_rdp == plan.opening_rdp(40)
    if not any(cost.nano_rdp):
        assert (threshold - colluders, rate) == (1, MICRO)
        return
    shown = math.sqrt(threshold - colluders) / plan.noise_multiplier  # what the firm's share alone says, as mu
    paid = plan.noise_multiplier**-2 if rate == MICRO else 0.0
    released = mu_squared(cost.mechanisms) / (1 << MU_SQUARED_BITS)
    assert shown**2 - paid <= released
    assert released == pytest.approx(shown**2 - paid, rel=1e-4)


def test_local_noise_opens_at_no_cost() -> None:
    assert a_plan(privacy="local").opening_cost(8) == Cost(NOTHING)
