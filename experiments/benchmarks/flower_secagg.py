"""One SecAgg+ round with Flower's own helper functions, in the order of its client mod and workflow.

Stages: keys and their shares, masked vectors, unmasking; full graph, nobody drops. Messages, quantisation and
training are left out, so that it compares with what `clients.masking` does between `protect` and the sum.
"""

from __future__ import annotations

import secrets as csprng
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from clients.masking.ring import Integers


@dataclass(frozen=True)
class FlowerRound:
    """What came of it, and what it cost.

    Attributes:
        total: int64[d], the sum modulo 2^ring_bits.
        upload_bytes: one firm's masked vector as Flower sends it.
        clients_s: seconds of all firms together.
        server_s: seconds of adding, joining shares and unmasking.
    """

    total: Integers
    upload_bytes: int
    clients_s: float
    server_s: float


def secagg_round(updates: Sequence[Integers], threshold: int, ring_bits: int) -> FlowerRound:
    """Sums updates int64[d] under Flower's masks."""
    from flwr.common.secure_aggregation import ndarrays_arithmetic as arithmetic
    from flwr.common.secure_aggregation.crypto import shamir, symmetric_encryption
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.supercore.primitives import asymmetric

    started = perf_counter()
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
    clients_s, server_s = perf_counter() - started, 0.0

    total: list[Any] = [np.zeros(shape[0], dtype=np.int64)]
    for firm, update in enumerate(updates):
        started = perf_counter()
        masked: list[Any] = arithmetic.parameters_addition([update], pseudo_rand_gen(seeds[firm], modulus, shape))
        for peer in range(size):
            if peer != firm:
                key = symmetric_encryption.generate_shared_key(mask_keys[firm][0], mask_keys[peer][1])
                combine = arithmetic.parameters_addition if firm > peer else arithmetic.parameters_subtraction
                masked = combine(masked, pseudo_rand_gen(key, modulus, shape))
        masked = arithmetic.parameters_mod(masked, modulus)
        sent = perf_counter()
        total = arithmetic.parameters_addition(total, masked)
        clients_s, server_s = clients_s + sent - started, server_s + perf_counter() - sent
    started = perf_counter()
    for firm in range(size):
        seed = shamir.combine_shares(share_table[firm][:threshold])
        total = arithmetic.parameters_subtraction(total, pseudo_rand_gen(seed, modulus, shape))
    summed: Integers = arithmetic.parameters_mod(total, modulus)[0]
    return FlowerRound(summed, masked[0].nbytes, clients_s, server_s + perf_counter() - started)
