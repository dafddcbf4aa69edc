"""One SecAgg+ round with Flower's own helper functions, in the order of its client mod and workflow.

Stages: keys and their shares, masked vectors, unmasking; full graph, nobody drops. Messages, quantisation and
training are left out, so that it compares with what `clients.masking` does between `protect` and the sum.
"""

from __future__ import annotations

import secrets as csprng
from collections.abc import Sequence
from typing import Any

import numpy as np

from clients.masking.ring import Integers


def secagg_round(updates: Sequence[Integers], threshold: int, ring_bits: int) -> tuple[Integers, int]:
    """Sums updates int64[d] under Flower's masks.

    Returns:
        int64[d] modulo 2^ring_bits, and the bytes of one firm's masked vector as Flower sends it.
    """
    from flwr.common.secure_aggregation import ndarrays_arithmetic as arithmetic
    from flwr.common.secure_aggregation.crypto import shamir, symmetric_encryption
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.supercore.primitives import asymmetric

    size, modulus, shape = len(updates), 1 << ring_bits, [updates[0].shape]
    mask_keys = [asymmetric.generate_key_pairs() for _ in range(size)]
    mail_keys = [asymmetric.generate_key_pairs() for _ in range(size)]
    seeds = [csprng.token_bytes(32) for _ in range(size)]
    share_table = []
    for firm in range(size):
        seed_shares = shamir.create_shares(seeds[firm], threshold, size)
        shamir.create_shares(asymmetric.private_key_to_bytes(mask_keys[firm][0]), threshold, size)
        for peer in range(size):
            if peer != firm:
                key = symmetric_encryption.generate_shared_key(mail_keys[firm][0], mail_keys[peer][1])
                sealed = symmetric_encryption.encrypt(key, seed_shares[peer])
                symmetric_encryption.decrypt(key, sealed)
        share_table.append(seed_shares)

    total: list[Any] = [np.zeros(shape[0], dtype=np.int64)]
    for firm, update in enumerate(updates):
        masked: list[Any] = arithmetic.parameters_addition([update], pseudo_rand_gen(seeds[firm], modulus, shape))
        for peer in range(size):
            if peer != firm:
                key = symmetric_encryption.generate_shared_key(mask_keys[firm][0], mask_keys[peer][1])
                combine = arithmetic.parameters_addition if firm > peer else arithmetic.parameters_subtraction
                masked = combine(masked, pseudo_rand_gen(key, modulus, shape))
        masked = arithmetic.parameters_mod(masked, modulus)
        total = arithmetic.parameters_addition(total, masked)
    for firm in range(size):
        seed = shamir.combine_shares(share_table[firm][:threshold])
        total = arithmetic.parameters_subtraction(total, pseudo_rand_gen(seed, modulus, shape))
    summed: Integers = arithmetic.parameters_mod(total, modulus)[0]
    return summed, masked[0].nbytes
