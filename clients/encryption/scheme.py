"""The numbers of the scheme, and the proof that a decrypted sum rounds to the exact one.

CKKS (Cheon, Kim, Kim, Song 2017) at ring degree N = 4096 with a 54-bit modulus q, and a second prime of 54 bits that
only takes noise off a fresh ciphertext: 108 bits, where 109 are 128-bit secure (Homomorphic Encryption Standard 2018,
table 1). There is room for additions and nothing else.

*No sum wraps.* A plaintext's coefficients are at most scale times its largest slot. Sums stay below 2^(bits-1), so with
scale = 2^(53-bits) coefficients stay below 2^52, and q / 2 > 2^52.99 leaves more than 2^51 for noise.

*Every sum rounds to the exact one.* A fresh ciphertext's error is that of three roundings, one of them times the
ternary secret: a variance of (1 + 1 + 2N/3) / 12 in a coefficient, so a deviation of sqrt(N/2 * 228) = 683 over the
scale in a slot's real and imaginary part (690 measured; `SLOT_DEVIATION` rounds up). That is the mean over slots: in
one slot it goes with the size of the secret there, whose square is as good as exponentially distributed, so that an
error has the tail of a Laplace distribution, exp(-sqrt(2) x). Errors of n firms add up as their squares. `tolerance` is
`DEVIATIONS` of that, a probability below 1e-29 a slot, and a plan with more than `MOST_ERROR` of a step is refused.

*Nothing of the error is published.* Decryptions of CKKS carry the error with them, which gives the key away to whoever
knows the plaintext (Li and Micciancio, EUROCRYPT 2021). Here only rounded sums leave the holder. They are the exact
integers, a function of the plaintexts alone, and so say of the key what those say: nothing.
"""

from __future__ import annotations

import math

from clients.masking.errors import PlanRefused

RING_DEGREE = 4096
MODULUS_BITS = (54, 54)
SLOTS = RING_DEGREE // 2
SLOT_DEVIATION = 720.0  # of one fresh ciphertext's error, real or imaginary part, times the scale
DEVIATIONS = 48.0
MOST_ERROR = 1 / 4  # of a grid step; rounding is exact up to 1/2
MOST_VALUES = 1 << 23  # in a sum, which travels to its holder as one message, some 31 bytes a value
_SUM_BITS = 53


def scale_of(ring_bits: int) -> float:
    """By what slots are multiplied before they are rounded: 2^29 for sums of 24 bits, 2^21 for sums of 32."""
    return math.ldexp(1.0, _SUM_BITS - ring_bits)


def require_room(firms: int, ring_bits: int, values: int) -> None:
    """Accepts sums of `values` values over `firms` firms that round to the exact one and fit into a message.

    Raises:
        PlanRefused: they need not, or do not.
    """
    tolerance(firms, ring_bits)
    if values > MOST_VALUES:
        raise PlanRefused(f"encrypted sum: {values} values, at most {MOST_VALUES} fit into a message; use masked sums")


def tolerance(firms: int, ring_bits: int) -> float:
    """How far a slot of a sum over at most `firms` well-made ciphertexts can lie from its whole number, in grid steps.

    Raises:
        PlanRefused: so far that rounding need not give the exact sum.
    """
    error = DEVIATIONS * SLOT_DEVIATION * math.sqrt(firms) / scale_of(ring_bits)
    if error > MOST_ERROR:
        raise PlanRefused(
            f"encrypted sum: the error of {firms} firms reaches {error:.2g} of a step with {ring_bits} ring bits, "
            f"over {MOST_ERROR}; use 24 ring bits or fewer firms"
        )
    return error
