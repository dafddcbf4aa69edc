"""What a firm's exporter says, to the firm alone: its wallet, its rounds and refusals, its mirror, its disk."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

from clients.firm_config import load_firm_config
from clients.firm_wallet import wallet_to_look_at
from clients.homes import FIRM_CONFIG
from clients.metrics import COMMON, Metric, Reading, Source, Table, home_sources
from clients.migration import state_version
from clients.own_mirror import MIRROR, reading_mirror
from clients.refusal_log import RefusalLog
from clients.wallet_row import Cap
from ledger.policy import Policy

SPENT = Metric("wallet_epsilon_spent", "gauge", ("dataset", "unit"), "what a data set has paid, at the cap's delta")
CAP = Metric("wallet_epsilon_cap", "gauge", ("dataset", "unit"), "what it may pay in its lifetime")
LEFT = Metric("wallet_epsilon_left", "gauge", ("dataset", "unit"), "cap less spent, not below 0")
PAID = Metric("wallet_payments_total", "counter", ("dataset",), "rounds, measurements and openings paid for")
REFUSALS = Metric("refusals", "gauge", ("code",), "what this firm has refused, of those on its list")
ENTRIES = Metric("mirror_entries", "gauge", (), "entries of the ledger that the witness has checked")
LAG = Metric("mirror_uncovered_entries", "gauge", (), "of those, how many its newest checkpoint does not cover")
AGE = Metric("mirror_age_seconds", "gauge", (), "since the witness last wrote to its mirror")
EVIDENCE = Metric("mirror_evidence", "gauge", (), "files that show that the log has misbehaved; 0 is right")
DISK = Metric("disk_free_bytes", "gauge", (), "free space where the home is")
FIRM_METRICS = Table("at a firm", (*COMMON, SPENT, CAP, LEFT, PAID, REFUSALS, ENTRIES, LAG, AGE, EVIDENCE, DISK))
_STORES = {"wallet": "wallet.sqlite", "mirror": MIRROR, "answers": "answers.sqlite", "logs": "logs"}


def firm_sources(home: Path, now: Callable[[], float] = time.time) -> list[Source]:
    """The sources of a firm's home; each opens what it reads anew, beside the running processes."""
    return [
        *home_sources(home, _STORES),
        Source("wallet", lambda: _wallet(_Home(home), now)),
        Source("refusals", lambda: [Reading(REFUSALS, n, (code,)) for code, n in RefusalLog(home).by_code().items()]),
        Source("mirror", lambda: _mirror(_Home(home), now)),
        Source("disk", lambda: [Reading(DISK, shutil.disk_usage(home).free)]),
    ]


class _Home:
    """A firm's home as its files are now: `Firm` imports what trains, and the exporter is there all the time."""

    def __init__(self, home: Path) -> None:
        state_version(home)  # files of a later release are not for this one to read
        self.home, self.config = home, load_firm_config(home / FIRM_CONFIG)

    @property
    def policy(self) -> Policy:
        return Policy.parse((self.home / "policy.txt").read_text(encoding="utf-8"))


def _wallet(firm: _Home, now: Callable[[], float]) -> Iterator[Reading]:
    """To look lowers no cap."""
    with wallet_to_look_at(firm.home, firm.config, now) as wallet:
        accounts, paid = wallet.report(), Counter(one.dataset for one in wallet.purchases())
    limits = firm.config.limits
    for account in accounts:
        cap = account.cap or Cap(limits.epsilon, limits.delta)
        spent, of = account.total.epsilon(cap.delta), (label(account.dataset), account.unit)
        yield Reading(SPENT, spent, of)
        yield Reading(CAP, cap.epsilon, of)
        yield Reading(LEFT, max(cap.epsilon - spent, 0.0), of)
    for dataset, count in paid.items():
        yield Reading(PAID, count, (label(dataset),))


def label(dataset: str) -> str:
    """A data set as a label. One without a name goes by its file, whose place on the machine is nobody's business."""
    if not PurePath(dataset).is_absolute():
        return dataset
    return f"{PurePath(dataset).name}-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def _mirror(firm: _Home, now: Callable[[], float]) -> Iterator[Reading]:
    path = firm.home / MIRROR
    if not path.exists():
        return
    with reading_mirror(firm) as store:
        size, covered, evidence = store.size(), store.latest_checkpoint(), len(store.evidence())
    yield Reading(ENTRIES, size)
    yield Reading(LAG, size - covered)
    yield Reading(EVIDENCE, evidence)
    files = [path, path.with_name(f"{MIRROR}-wal")]
    yield Reading(AGE, max(now() - max(one.stat().st_mtime for one in files if one.exists()), 0.0))
