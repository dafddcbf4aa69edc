import pytest
from encrypted_world import keys, public

from clients.encryption.scheme import (
    MODULUS_BITS,
    MOST_ERROR,
    MOST_VALUES,
    RING_DEGREE,
    require_room,
    scale_of,
    tolerance,
)
from clients.masking.errors import PlanRefused
from clients.masking.ring import RING_BITS


@pytest.mark.parametrize("ring_bits", RING_BITS)
def test_no_sum_comes_near_the_modulus(ring_bits: int) -> None:
    """A coefficient is at most scale times the largest slot; ciphertexts live modulo the first prime."""
    from tenseal import sealapi as _  # noqa: F401

    prime = public().native.seal_context().data.first_context_data().parms().coeff_modulus()[0].value()
    assert scale_of(ring_bits) * 2 ** (ring_bits - 1) <= prime // 2 - 2**51
    assert prime.bit_length() == MODULUS_BITS[0]


def test_the_modulus_is_within_the_standards_table() -> None:
    assert (RING_DEGREE, sum(MODULUS_BITS) <= 109) == (4096, True)
    assert len(keys().public) < 130_000


def test_a_sum_that_does_not_fit_into_a_message_is_refused() -> None:
    require_room(5, 24, MOST_VALUES)
    with pytest.raises(PlanRefused, match="fit into a message"):
        require_room(5, 24, MOST_VALUES + 1)


def test_a_cohort_whose_error_could_round_wrong_is_refused() -> None:
    assert tolerance(230, 32) <= MOST_ERROR < 1 / 2
    with pytest.raises(PlanRefused, match="use 24 ring bits"):
        tolerance(231, 32)
    assert tolerance(10_000, 24) < 0.01
