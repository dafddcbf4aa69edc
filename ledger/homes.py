"""An organisation's home: the files that it keeps for the ledger, and what it remembers of it in `ledger.toml`."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import tomli_w

from ledger.errors import LedgerError

SIGNING_KEY = "signing.pem"
COMING_KEY = "signing.next.pem"
"""A member's next signing key, until the ledger names it."""
LOG_KEY = "log.pem"
NEXT_LOG_KEY = "next-log.pem"
FOLLOWING_LOG_KEY = "following-log.pem"
"""The key after the next one, while the log changes its key."""
ENCRYPTION_KEY = "encryption.pem"
COMING_ENCRYPTION_KEY = "encryption.next.pem"
LEDGER = "ledger.db"
MIRROR = "mirror.db"
POLICY = "policy.txt"
POLICIES = "policies"
"""The folder of every policy that was in force: `SIZE.txt` from so many entries on."""
MEMBER = "member.toml"
SETTINGS = "ledger.toml"


class HomeError(LedgerError):
    """A home lacks what is asked of it, or a file in it cannot be read."""

    exit_code = 2


class NoLedger(HomeError):
    """A folder with neither a ledger nor a mirror of one."""


@dataclass(frozen=True)
class Settings:
    """What `ledger.toml` says; each may be missing.

    Attributes:
        member: the organisation's id on the ledger, or `coordinator`.
        cid: the consortium's id.
        origin: the log's name.
        database: path (relative to the home) or SQLAlchemy URL of the sequencer's database.
        founding: the founding fingerprint that this organisation compared.
        address: HOST:PORT of the ledger's service.
    """

    member: str = ""
    cid: str = ""
    origin: str = ""
    database: str = ""
    founding: str = ""
    address: str = ""

    @classmethod
    def load(cls, home: Path) -> Self:
        """Read `ledger.toml`; a home without one has empty settings.

        Raises:
            HomeError: it cannot be read, has an unknown key, or a value that is no text.
        """
        path = home / SETTINGS
        if not path.exists():
            return cls()
        document = load_toml(path)
        known = {field.name for field in fields(cls)}
        for name, value in document.items():
            if name not in known:
                raise HomeError(f"{path}: unknown key {name!r}; known are {', '.join(sorted(known))}")
            if not isinstance(value, str):
                raise HomeError(f"{path}: {name} must be a text in quotes")
        return cls(**document)

    def toml(self) -> str:
        """The file; what is empty is left out."""
        return tomli_w.dumps({name: value for name, value in vars(self).items() if value})


def load_toml(path: Path) -> dict[str, Any]:
    """A TOML file's document.

    Raises:
        HomeError: missing, or not TOML in UTF-8.
    """
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise HomeError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HomeError(f"{path}: not valid TOML: {error}") from None


def database_of(home: Path) -> str:
    """Where the home's ledger is: what `ledger.toml` names, `ledger.db`, or a member's `mirror.db`.

    Raises:
        NoLedger: none of them is there.
        HomeError: `ledger.toml` cannot be read.
    """
    named = Settings.load(home).database
    if "://" in named:
        return named
    for name in (*([named] if named else []), LEDGER, MIRROR):
        if (home / name).is_file():
            return str(home / name)
    raise NoLedger(f"{home}: holds neither {LEDGER} nor {MIRROR}; give another --home or --db")


def log_key_of(home: Path) -> Path:
    """The file with the log's key: one of its own, or the coordinator's signing key."""
    own = home / LOG_KEY
    return own if own.exists() else home / SIGNING_KEY


def member_of(home: Path) -> str:
    """The organisation's id, as `ledger.toml` or `member.toml` says; empty if neither does.

    Raises:
        HomeError: one of them cannot be read.
    """
    settings = Settings.load(home)
    if settings.member or not (home / MEMBER).exists():
        return settings.member
    blocks = load_toml(home / MEMBER).get("member")
    first = blocks[0] if isinstance(blocks, list) and blocks else None
    name = first.get("id") if isinstance(first, dict) else None
    return name if isinstance(name, str) else ""
