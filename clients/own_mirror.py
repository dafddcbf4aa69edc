"""A firm's own mirror of the ledger, read beside a running client: without the right to change it, or its lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clients.firm import Firm
from ledger.source import WitnessRefusal
from ledger.store import Store

MIRROR = "mirror.db"


@contextmanager
def reading_mirror(firm: Firm) -> Iterator[Store]:
    """The tables of the firm's mirror.

    Raises:
        StoreError: there is none.
        WitnessRefusal: it is the mirror of another member, consortium or log.
    """
    path = firm.home / MIRROR
    store = Store(path, read_only=True)
    try:
        meta = store.meta()
        log = firm.policy.logs[-1]  # the one of the founding
        for fact, value in {"cid": firm.config.cid, "vkey": str(log), "member": firm.member}.items():
            if meta.get(fact) != value:
                raise WitnessRefusal(f"{path}: this mirror's {fact} is {meta.get(fact)!r}, not {value!r}")
        yield store
    finally:
        store.close()
