"""Founding a consortium's ledger: the members' own keys in, a coordinator's home out, and one fingerprint to compare.

Each member makes its key where it stays and hands over a TOML block with the public half. The founding fingerprint
covers the log's name and all founding entries: whoever compared it knows the log's key and every founder's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.genesis import Founder, genesis_statements
from ledger.homes import (
    LEDGER,
    LOG_KEY,
    NEXT_LOG_KEY,
    POLICY,
    SETTINGS,
    SIGNING_KEY,
    HomeError,
    Settings,
)
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.merkle import Frontier, leaf_hash
from ledger.policy import Policy
from ledger.rules import COORDINATOR, HYBRID, commitment
from ledger.rules.records import is_slug
from ledger.statement import decode_statement


class FoundingError(HomeError):
    """A consortium cannot be founded like this; nothing was left behind."""


@dataclass(frozen=True)
class Founded:
    """What a founding made.

    Attributes:
        origin: the log's name.
        policy: whom to trust: the log's key, the members' keys, the quorum.
        fingerprint: what every member compares by another way than the one the files took.
        entries: the founding entries.
    """

    origin: str
    policy: Policy
    fingerprint: str
    entries: tuple[bytes, ...]


def found(
    home: Path,
    cid: str,
    founders: Sequence[Founder],
    *,
    min_cohort: int,
    signatures: str,
    origin: str | None = None,
    database: str = "",
    now: Callable[[], float] = time.time,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Founded:
    """Make the coordinator's home with its keys and a ledger of the founding entries: all of it, or nothing.

    Args:
        home: a directory that is empty or does not exist.
        origin: the log's name; by default `artesian/CID`.
        signatures: `ledger.rules.CLASSICAL` or `HYBRID`.
        database: an SQLAlchemy URL; by default a file in the home.

    Raises:
        FoundingError: the home is not empty, or a founder does not fit the rest.
        Refused: the founding entries break a rule.
        StoreError: the database cannot be used, or holds a ledger already.
    """
    _check(home, cid, founders)
    origin = origin or f"artesian/{cid}"
    key, log_key, next_key = SigningKey.generate(signatures == HYBRID), SigningKey.generate(), SigningKey.generate()
    statements = genesis_statements(
        cid,
        key,
        founders,
        min_cohort=min_cohort,
        ts=int(now()),
        entropy=entropy,
        log=log_key.public,
        next_log=commitment(next_key.public),
        signatures=signatures,
    )
    policy = _rehearse(origin, cid, log_key, statements)
    fingerprint = founding_fingerprint(origin, statements)
    unfinished = home.with_name(f".{home.name}.{os.urandom(6).hex()}")
    settings = Settings(COORDINATOR, cid, origin, database or LEDGER, fingerprint)
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        for name, made in ((SIGNING_KEY, key), (LOG_KEY, log_key), (NEXT_LOG_KEY, next_key)):
            made.save(unfinished / name)
        _write(unfinished / SETTINGS, settings.toml())
        _write(unfinished / POLICY, policy.text())
        if not database:
            _create(unfinished / LEDGER, origin, cid, log_key, statements)
        os.rename(unfinished, home)  # replaces an empty directory, never a full one
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if database:  # last: keys without a ledger can be thrown away, a ledger without its keys cannot be used
        try:
            _create(database, origin, cid, log_key, statements)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
    return Founded(origin, policy, fingerprint, tuple(statements))


def founding_fingerprint(origin: str, entries: Sequence[bytes]) -> str:
    """The fingerprint of a log's founding, from its first entries: 16 groups of 4 hex digits.

    SHA-256 of the text of the checkpoint over the founding entries: origin, their number, their RFC 9162 root.

    Args:
        entries: the first ones; those after the founding are left out.

    Raises:
        StatementError: one cannot be read.
    """
    frontier, size = Frontier(), 0
    for raw in entries:
        if size > 0:
            payload = decode_statement(raw).payload
            if payload.get("t") != "enrol" or payload.get("approvals"):
                break
        frontier, _ = frontier.append(leaf_hash(raw))
        size += 1
    digits = hashlib.sha256(Checkpoint(origin, size, frontier.root()).body().encode()).hexdigest()
    return "-".join(digits[place : place + 4] for place in range(0, len(digits), 4))


def _check(home: Path, cid: str, founders: Sequence[Founder]) -> None:
    if not is_slug(cid):
        raise FoundingError(f"the consortium's id {cid!r} must be of lower-case letters, digits and hyphens")
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise FoundingError(f"{home}: is not empty; choose another directory for the coordinator's home")
    for what, values in (("id", [f.member for f in founders]), ("key", [f.key.ed25519.raw for f in founders])):
        if len(set(values)) != len(values):
            raise FoundingError(f"two founding members have the same {what}; each needs its own")


def _rehearse(origin: str, cid: str, key: SigningKey, statements: Sequence[bytes]) -> Policy:
    """Found in memory: whatever the rules refuse is refused before anything is written."""
    with Log.create(None, origin, key, cid=cid) as log:
        log.append(statements)
        return log.policy


def _create(location: str | Path, origin: str, cid: str, key: SigningKey, statements: Sequence[bytes]) -> None:
    with Log.create(location, origin, key, cid=cid) as log:
        log.append(statements)
        log.checkpoint()
    if isinstance(location, Path):
        location.with_name(f"{location.name}.lock").unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
