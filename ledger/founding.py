"""Founding a consortium's ledger: the members' own keys in, a coordinator's home out, and one fingerprint to compare.

Each member makes its key where it stays and hands over a TOML block with the public half. The founding fingerprint
covers the log's name and all founding entries: whoever compared it knows the log's key and every founder's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.errors import LedgerError
from ledger.fingerprint import grouped
from ledger.folder_sync import sync_folder
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
from ledger.keys import PUBLIC_KEY_BYTES, PublicKey, SigningKey
from ledger.log import Log
from ledger.merkle import Frontier, leaf_hash
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.postgresql import open_engine
from ledger.rules import COORDINATOR, HYBRID, commitment
from ledger.rules.records import is_slug
from ledger.schema import metadata
from ledger.statement import decode_statement
from ledger.whole_file import write_whole


class FoundingError(HomeError):
    """A consortium cannot be founded like this; nothing was left behind."""


class WrongFounding(LedgerError):
    """A log was not founded as it should have been."""

    exit_code = 1


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
    config: bytes | None = None,
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
        config: SHA-256 of the consortium's configuration file.
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
        config=config,
        log=log_key.public,
        next_log=commitment(next_key.public),
        signatures=signatures,
    )
    policy = _rehearse(origin, cid, log_key, statements)
    fingerprint = founding_of(origin, statements).fingerprint
    unfinished = home.with_name(f".{home.name}.{os.urandom(6).hex()}")
    settings = Settings(COORDINATOR, cid, origin, database or LEDGER, fingerprint)
    try:
        unfinished.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise FoundingError(f"{home}: cannot be made: {os.strerror(error.errno or 0)}") from None
    try:
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


def found_at_home(
    home: Path,
    cid: str,
    founders: Sequence[Founder],
    *,
    min_cohort: int,
    signatures: str,
    config: bytes | None,
    address: str = "",
    now: Callable[[], float] = time.time,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Founded:
    """Found the ledger in a coordinator's home whose keys were made before: signing key, log key, next log key.

    All of it or nothing; a founding that was cut short is finished by the next call, with the founders of the first.

    Args:
        address: HOST:PORT at which this home's own commands reach the ledger's service.

    Raises:
        FoundingError: founders do not fit each other, or there is a ledger that this home remembers.
        KeyFileError: a key is missing.
        Refused: the founding entries break a rule.
    """
    _check(None, cid, founders)
    if Settings.load(home).founding:
        raise FoundingError(f"{home}: a consortium has been founded here already")
    origin = f"artesian/{cid}"
    key, log_key, next_key = (SigningKey.load(home / name) for name in (SIGNING_KEY, LOG_KEY, NEXT_LOG_KEY))
    if not (home / LEDGER).exists():
        statements = genesis_statements(
            cid,
            key,
            founders,
            min_cohort=min_cohort,
            ts=int(now()),
            entropy=entropy,
            config=config,
            log=log_key.public,
            next_log=commitment(next_key.public),
            signatures=signatures,
        )
        _rehearse(origin, cid, log_key, statements)
        _place(home, origin, cid, log_key, statements)
    with Log.open(home / LEDGER, log_key) as log:
        size, policy = log.size, log.policy
        found = read_founding(origin, log.entries, size)
        entries = tuple(log.entries(0, found.size))
    (home / f"{LEDGER}.lock").unlink(missing_ok=True)
    write_whole(home / POLICY, policy.text())
    write_whole(home / SETTINGS, Settings(COORDINATOR, cid, origin, LEDGER, found.fingerprint, address).toml())
    return Founded(origin, policy, found.fingerprint, entries)


@dataclass(frozen=True)
class Founding:
    """What a log's first entries say of it.

    Attributes:
        cid: the consortium's id.
        log: the key of its first checkpoints.
        size: number of founding entries: the policy and the founding members.
        fingerprint: 16 groups of 4 hex digits, of SHA-256 of the text of the checkpoint over the founding entries
            (origin, size, root). Whoever compared it knows the log's key and every founder's.
    """

    cid: str
    log: Vkey
    size: int
    fingerprint: str

    def require(self, fingerprint: str) -> None:
        """Raise `WrongFounding` unless the fingerprint is `fingerprint`; case, spaces and hyphens do not matter."""
        given, own = (re.sub("[^0-9a-f]", "", text.lower()) for text in (fingerprint, self.fingerprint))
        if given != own:
            raise WrongFounding(
                f"the log {self.log.name} was founded with the fingerprint {self.fingerprint}, not {fingerprint}; "
                "it is another log, or someone is between you and it"
            )


def founding_of(origin: str, entries: Sequence[bytes]) -> Founding:
    """Read the founding of the log `origin` from its first entries; those after the founding are left out.

    Raises:
        WrongFounding: they do not found a ledger, or are too few.
        StatementError: one cannot be read.
    """
    if not entries:
        raise WrongFounding(f"the log {origin} has no entries yet")
    policy = decode_statement(entries[0]).payload
    match policy:
        case {"t": "policy", "cid": str() as cid, "founders": int() as founders, "coordinator": bytes() as key}:
            size = 1 + founders
        case _:
            raise WrongFounding(f"entry 0 of the log {origin} founds no consortium")
    if len(entries) < size:
        raise WrongFounding(f"the log {origin} was founded with {size} entries, here are {len(entries)}")
    frontier = Frontier()
    for raw in entries[:size]:
        frontier, _ = frontier.append(leaf_hash(raw))
    digits = hashlib.sha256(Checkpoint(origin, size, frontier.root()).body().encode()).hexdigest()
    fingerprint = grouped(digits)
    log = policy.get("log") or key[:PUBLIC_KEY_BYTES]
    return Founding(cid, Vkey.of_log(origin, PublicKey(log)), size, fingerprint)


def read_founding(origin: str, read: Callable[[int, int], Sequence[bytes]], size: int) -> Founding:
    """`founding_of` a log of `size` entries, of which `read` gives those from one place up to another.

    Raises:
        WrongFounding, StatementError: as `founding_of`.
    """
    first = read(0, min(1, size))
    founders = decode_statement(first[0]).payload.get("founders") if first else None
    count = 1 + max(founders, 0) if isinstance(founders, int) else 1
    return founding_of(origin, read(0, min(count, size)))


def _check(home: Path | None, cid: str, founders: Sequence[Founder]) -> None:
    if not is_slug(cid):
        raise FoundingError(f"the consortium's id {cid!r} must be of lower-case letters, digits and hyphens")
    if home is not None and home.exists() and (not home.is_dir() or any(home.iterdir())):
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
        try:
            log.append(statements)
            log.checkpoint()
        except BaseException:
            if isinstance(location, str):
                _drop(location)
            raise
    if isinstance(location, Path):
        location.with_name(f"{location.name}.lock").unlink(missing_ok=True)


def _place(home: Path, origin: str, cid: str, key: SigningKey, statements: Sequence[bytes]) -> None:
    """Create the home's ledger under another name and give it its own when it is whole; never over another."""
    unfinished = home / f".{LEDGER}.{os.urandom(6).hex()}"
    try:
        _create(unfinished, origin, cid, key, statements)
        os.link(unfinished, home / LEDGER)
    except FileExistsError:
        raise FoundingError(f"{home / LEDGER}: another process has just founded it") from None
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(home)


def _drop(url: str) -> None:
    """Take back the tables that this founding has just made, as far as the server still answers."""
    with suppress(Exception):
        engine = open_engine(url)
        metadata.drop_all(engine.execution_options(artesian_immediate=True))
        engine.dispose()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
