"""Where a bank stands: its consortium's services, its certificate, its mirror of the ledger, releases, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clients.certificates import (
    AUTHORITY_CERTIFICATE,
    TLS_CERTIFICATE,
    TLS_KEY,
    BadCertificate,
    check_certificate,
    facts_of,
    read_pem,
)
from clients.connection import CONNECTION, Connection, load_connection
from clients.doctor.check import run_checks
from clients.doctor.probe import Probe
from clients.doctor.services import service_checks
from clients.migration import state_version
from clients.plain_text import printable
from clients.refusal_log import RefusalLog
from clients.sitting_out import moment
from ledger.commands.places import Standing, mirror_standing, reading
from ledger.homes import MIRROR, Settings

_SERVICES = ("enrolment", "ledger", "scores")
_SHOWN = 5


def bank_facts(home: Path, now: Callable[[], float], probe: Probe | None) -> dict[str, Any]:
    """All that `artesian bank status` says, but for the coordinator's own word. Times are seconds since 1970.

    Args:
        probe: looks whether the services answer; None asks nobody.

    Raises:
        HomeOfLaterRelease: the home is not for this release.
        ConnectionInvalid, HomeError: what it says of itself cannot be read.
        Damaged: the mirror is not what was written.
    """
    state_version(home)
    at = load_connection(home) if (home / CONNECTION).exists() else None
    settings, mirrored = Settings.load(home), mirror_standing(home)
    certificate, mirror = _certificate(home, now()), _mirror(home, mirrored)
    return {
        "member": settings.member if at is None else at.member,
        "consortium": settings.cid if at is None else at.cid,
        "services": {} if at is None else {name: getattr(at, name) for name in _SERVICES},
        "proxy": "" if at is None else at.proxy,
        "reached": None if at is None or probe is None else _reached(home, at, probe, now),
        "certificate": certificate,
        "mirror": mirror,
        "releases": [] if mirrored is None else _releases(mirrored),
        "refusals": [vars(one) for one in RefusalLog(home).latest(_SHOWN)],
        "problem": _problem(certificate, mirror),
    }


def _reached(home: Path, at: Connection, probe: Probe, now: Callable[[], float]) -> list[dict[str, str]]:
    """Of each service how it was found, as the doctor finds it."""
    addresses = {name: str(getattr(at, name)) for name in _SERVICES}
    found = run_checks(service_checks(home, addresses, at.proxy, probe, now)).found
    return [{"service": name, "level": one.level, "what": one.what} for name, one in found]


def _certificate(home: Path, now_s: float) -> dict[str, Any] | None:
    """Whom it names and until when it holds; None where there is none yet."""
    if not (home / TLS_CERTIFICATE).exists():
        return None
    try:
        pem = read_pem(home / TLS_CERTIFICATE)
        holder = check_certificate(pem, home / TLS_KEY, read_pem(home / AUTHORITY_CERTIFICATE))
        facts = facts_of(pem)
    except BadCertificate as error:
        return {"problem": str(error)}
    ended = "" if now_s < facts.until_s else f"{home / TLS_CERTIFICATE}: expired; renew it: artesian bank renew"
    return {"holder": holder.uri, "until_s": facts.until_s, "due_s": facts.due_s, "problem": ended}


def _mirror(home: Path, mirrored: Standing | None) -> dict[str, Any] | None:
    if mirrored is None:
        return None
    with reading(str(home / MIRROR)) as store:
        evidence = len(store.evidence())
    files = [one for one in (home / MIRROR, home / f"{MIRROR}-wal") if one.exists()]
    return {
        "origin": mirrored.origin,
        "entries": mirrored.state.size,
        "final": mirrored.final_size,
        "bytes": sum(one.stat().st_size for one in files),
        "checked_s": max(one.stat().st_mtime for one in files),
        "evidence_of_misbehaviour": evidence,
    }


def _releases(mirrored: Standing) -> list[dict[str, Any]]:
    """Published models, newest first; only what is final counts as published."""
    known = sorted(mirrored.state.releases.values(), key=lambda one: one.index, reverse=True)
    return [
        {"task": one.task, "model": one.model.hex(), "entry": one.index, "revoked": one.revoked is not None}
        for one in known
        if one.index < mirrored.final_size
    ]


def _problem(certificate: Mapping[str, Any] | None, mirror: Mapping[str, Any] | None) -> str | None:
    if mirror is not None and mirror["evidence_of_misbehaviour"]:
        return "the log contradicted itself: show the other members the files of artesian ledger evidence"
    return (certificate or {}).get("problem") or None


def lines_of(facts: Mapping[str, Any]) -> Iterator[str]:
    """For people; of what others have said only what can be printed."""
    return (printable(line) for line in _lines(facts))


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"{facts['member'] or 'a bank'} of {facts['consortium'] or 'a consortium that it has not joined'}"
    if facts["problem"]:
        yield f"Needs you: {facts['problem']}"
    reached = {one["service"]: one for one in facts["reached"] or ()}
    for name, address in facts["services"].items():
        how = reached.get(name)
        words = "" if how is None else ", reached" if how["level"] == "ok" else f", {how['level']}: {how['what']}"
        yield f"{'Scores' if name == 'scores' else f'The {name} service'}: {address or 'not told yet'}{words}"
    if facts["proxy"]:
        yield f"Through the proxy {facts['proxy']}"
    yield _certificate_line(facts["certificate"])
    at = facts["mirror"]
    if at is None:
        yield "Ledger: nothing mirrored yet; artesian ledger witness keeps a mirror"
    else:
        yield (
            f"Ledger {at['origin']}: {at['entries']} entries mirrored and checked, {at['final']} final, "
            f"{at['bytes'] / 1e6:.1f} MB, last checked {moment(at['checked_s'])}"
        )
    for one in facts["releases"]:
        yield f"Release of {one['task']}: {one['model'][:16]}, entry {one['entry']}{', revoked' * one['revoked']}"
    for one in facts["refusals"]:
        yield f"Not answered {moment(one['at_s'])}: {one['asked']}, {one['code']}: {one['detail']}"


def _certificate_line(certificate: Mapping[str, Any] | None) -> str:
    if certificate is None:
        return "Certificate: none yet; artesian bank join fetches it"
    if "until_s" not in certificate:
        return "Certificate: cannot be used"
    until, due = moment(certificate["until_s"]), moment(certificate["due_s"])
    return f"Certificate: {certificate['holder']}, until {until}, renewed from {due} on"
