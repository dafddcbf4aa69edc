"""A firm's own mirror of the ledger, read beside a running client: without the right to change it, or its lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from clients.firm_config import FirmConfig
from ledger.policy import Policy
from ledger.source import WitnessRefusal
from ledger.store import Store

MIRROR = "mirror.db"


class Owner(Protocol):
    """A firm, as far as its mirror has to be its own; `clients.firm.Firm`, or what is smaller.

    Attributes:
        policy: which log and witnesses it trusts to begin with.
    """

    @property
    def home(self) -> Path: ...
    @property
    def config(self) -> FirmConfig: ...
    @property
    def policy(self) -> Policy: ...


@contextmanager
def reading_mirror(firm: Owner) -> Iterator[Store]:
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
        for fact, value in {"cid": firm.config.cid, "vkey": str(log), "member": firm.config.member}.items():
            if meta.get(fact) != value:
                raise WitnessRefusal(f"{path}: this mirror's {fact} is {meta.get(fact)!r}, not {value!r}")
        yield store
    finally:
        store.close()
