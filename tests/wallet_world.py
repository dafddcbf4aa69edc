"""Wallets for tests: one with a cap, what is spent in it, and the release that all of them spend on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from clients.cost import Cost
from clients.mechanism import MICRO, Mechanism
from clients.wallet import Wallet

UNIT, DATA, DELTA = "row", "credit", 1e-5
RELEASE = Mechanism(20 * MICRO)
ONE = Cost.of(RELEASE)


def a_wallet(path: Path | None = None, *, cap: float = 8.0, journaled: bool = False) -> Wallet:
    journal = path.with_suffix(".rows") if path is not None and journaled else None
    wallet = Wallet(path, clock=lambda: 1_700_000_000.5, journal=journal)
    wallet.set_cap(UNIT, DATA, epsilon=cap, delta=DELTA)
    return wallet


def pay(wallet: Wallet, *purposes: str, cost: Cost = ONE) -> None:
    for purpose in purposes:
        wallet.settle(wallet.reserve(UNIT, DATA, purpose, cost))


def paid_for(wallet: Wallet) -> Counter[str]:
    """How often each purpose has been paid for."""
    return Counter(one.purpose for one in wallet.purchases())
