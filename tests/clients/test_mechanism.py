"""Mechanisms: whole numbers in range, and the RDP of what they say."""

from __future__ import annotations

import pytest

from clients.mechanism import MICRO, Mechanism
from clients.privacy import PrivacyError, gaussian_rdp


def test_its_rdp_is_that_of_its_steps() -> None:
    assert Mechanism(1_500_000, 43_000, 400).rdp() == gaussian_rdp(1.5, 0.043, 400)
    assert Mechanism(2 * MICRO).times(3).rdp() == gaussian_rdp(2.0, 1.0, 3)


@pytest.mark.parametrize(
    "numbers", [(0, MICRO, 1), (MICRO, 0, 1), (MICRO, MICRO + 1, 1), (MICRO, MICRO, 0), (1.5, 1, 1)]
)
def test_numbers_out_of_range_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(PrivacyError, match="it must be a whole number from 1 to"):
        Mechanism(*numbers)
