"""A home's files: there, for their owner alone, with room on the disk; and its certificates."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from clients.certificates import (
    AUTHORITY_CERTIFICATE,
    TLS_CERTIFICATE,
    TLS_KEY,
    BadCertificate,
    check_certificate,
    facts_of,
    read_pem,
)
from clients.doctor.check import Check, Finding, ok
from clients.errors import ClientError
from clients.migration import state_version

LITTLE_BYTES, TOO_LITTLE_BYTES = 1 << 30, 100 << 20
DAY_S = 86_400


class OthersHome(ClientError):
    """A home of another kind was given; the line names the doctor for it."""


def require_home_of(home: Path, role: str) -> None:
    """Insist that a home is not of another kind of member: advice for the wrong one would spoil it.

    Args:
        role: `coordinator`, `firm` or `bank`.

    Raises:
        OthersHome: it is.
    """
    marks = {"coordinator": "coordinator.toml", "firm": "firm.toml"}
    found = next((kind for kind, name in marks.items() if (home / name).exists()), role)
    if found != role:
        raise OthersHome(f"{home}: is a {found}'s home; give it to: artesian {found} doctor")


def file_checks(
    home: Path,
    secrets: Sequence[str],
    needed: Sequence[str],
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> list[Check]:
    """The home itself.

    Args:
        secrets: names of files that nobody else may read.
        needed: names of files without which nothing works, as joining makes them.
    """
    return [
        Check("home", lambda: _home(home, needed)),
        Check("rights", lambda: _rights(home, secrets)),
        Check("disk", lambda: _disk(home, free)),
    ]


def _home(home: Path, needed: Sequence[str]) -> Iterator[Finding]:
    if not home.is_dir():
        yield Finding("fail", f"{home}: no such directory", "give the home with --home or ARTESIAN_HOME")
        return
    version = state_version(home)
    missing = [name for name in needed if not (home / name).exists()]
    if missing:
        yield Finding(
            "fail", f"{home}: there is no {', '.join(missing)}", "join first, or restore a backup of the home"
        )
    if not os.access(home, os.W_OK | os.X_OK):
        yield Finding("fail", f"{home}: cannot be written", f"give it to the user who runs this: chown -R USER {home}")
    elif not missing:
        yield ok(f"{home} is whole, of version {version}")


def _rights(home: Path, secrets: Sequence[str]) -> Iterator[Finding]:
    there = [home / name for name in secrets if (home / name).exists()]
    open_ = [path for path in there if path.stat().st_mode & 0o077]
    for path in open_:
        yield Finding("fail", f"{path}: others can read it", f"chmod 600 {path}")
    if not open_:
        yield ok(f"{len(there)} files are for their owner alone")


def _disk(home: Path, free: Callable[[Path], int]) -> Iterator[Finding]:
    left = free(home)
    words = f"{left / (1 << 30):.1f} GiB are free where {home} is"
    if left < TOO_LITTLE_BYTES:
        yield Finding("fail", words, "make room: a full disk stops the ledger, the wallet and every round")
    elif left < LITTLE_BYTES:
        yield Finding("warn", words, "make room soon; logs/ of the home may be emptied")
    else:
        yield ok(words)


def certificate_checks(home: Path, now: Callable[[], float], authority_sha256: str = "") -> list[Check]:
    """The home's certificate and its consortium's CA.

    Args:
        authority_sha256: hex, of the CA certificate that the member has confirmed; empty where none is known.
    """
    return [Check("certificate", lambda: _certificate(home, now, authority_sha256))]


def _certificate(home: Path, now: Callable[[], float], authority_sha256: str) -> Iterator[Finding]:
    authority = read_pem(home / AUTHORITY_CERTIFICATE)
    found = facts_of(authority).fingerprint
    if authority_sha256 and found != authority_sha256:
        yield Finding(
            "fail",
            f"{home / AUTHORITY_CERTIFICATE}: its fingerprint is {found[:16]}…, confirmed was {authority_sha256[:16]}…",
            "compare both with the coordinator by another way than the network, then restore the right file",
        )
    if not (home / TLS_CERTIFICATE).exists():
        yield Finding("warn", f"{home / TLS_CERTIFICATE}: not issued yet", "wait to be admitted; `join` fetches it")
        return
    certificate = read_pem(home / TLS_CERTIFICATE)
    renew = "run `artesian firm renew` (bank, coordinator), or keep `up` running, which does it"
    try:
        check_certificate(certificate, home / TLS_KEY, authority)
    except BadCertificate as error:
        yield Finding("fail", str(error), renew)
    facts, at = facts_of(certificate), now()
    until = datetime.fromtimestamp(facts.until_s, UTC).date()
    if at < facts.from_s:
        yield Finding("fail", f"{home / TLS_CERTIFICATE}: not valid yet", "set this machine's clock: it is behind")
    elif at > facts.until_s:
        yield Finding("fail", f"{home / TLS_CERTIFICATE}: expired on {until}", renew)
    elif at > facts.due_s:
        yield Finding("warn", f"{home / TLS_CERTIFICATE}: ends on {until}, its renewal is due", renew)
    else:
        yield ok(f"{facts.identity.member}'s certificate holds until {until}")
