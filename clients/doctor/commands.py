"""`artesian firm doctor` and `artesian bank doctor`: what is wrong here, and how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.connection import Connection
    from clients.doctor.check import Check, Finding, Report
    from clients.enrolment.desk_client import Standing

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_SECRETS = ("signing.pem", "signing.next.pem", "encryption.pem", "tls.key", "tls.next.key")
_FIRM_SECRETS = (*_SECRETS, "node.key", "held-out.key", "wallet.sqlite", "answers.sqlite")


def firm_doctor(home: Home, as_json: Json = False) -> None:
    """Check this firm: clock, network, TLS, files, tables, wallet, ledger, processes; say how to mend what is wrong.

    Changes nothing. Exits with 1 if something has to be mended, with 3 if only something cannot be reached.
    """
    import time

    from clients.doctor.apps import app_checks
    from clients.doctor.processes import process_checks
    from clients.doctor.records import record_checks

    own = [*record_checks(home), *app_checks(home, time.time)]
    show(_diagnosed(home, "firm", _FIRM_SECRETS, own, process_checks(home, "firm")), as_json)


def bank_doctor(home: Home, as_json: Json = False) -> None:
    """Check this bank: clock, network, TLS, files, ledger; and say how to mend what is wrong.

    Changes nothing. Exits with 1 if something has to be mended, with 3 if only something cannot be reached.
    """
    show(_diagnosed(home, "bank", _SECRETS, [], []), as_json)


def show(report: Report, as_json: bool) -> None:
    """Print a report and leave with its exit code."""
    if as_json:
        typer.echo(json.dumps(report.document(), ensure_ascii=False))
    else:
        for line in report.lines():
            typer.echo(line)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _diagnosed(home: Path, role: str, secrets: tuple[str, ...], own: list[Check], processes: list[Check]) -> Report:
    import time

    from clients.coordinator_view import ask
    from clients.doctor.check import Check, run_checks
    from clients.doctor.files import certificate_checks, file_checks, require_home_of
    from clients.doctor.ledger import ledger_checks, policy_checks
    from clients.doctor.membership import Membership
    from clients.doctor.probe import RealProbe
    from clients.doctor.services import service_checks
    from clients.doctor.software import software_checks
    from clients.doctor.versions import version_checks

    require_home_of(home, role)
    checks = [*software_checks(), *file_checks(home, secrets, ("signing.pem",))]
    connection = _connection(home)
    if connection is None:
        checks.append(Check("connection", lambda: _no_connection(home, role)))
    else:
        addresses = {name: getattr(connection, name) for name in ("enrolment", "ledger", "fleet", "scores")}
        if role == "firm":
            del addresses["scores"]
        else:
            del addresses["fleet"]
        membership = Membership(home, connection.member, role, lambda: _standing(home))
        checks += [
            *certificate_checks(home, time.time, connection.authority_sha256),
            *service_checks(home, addresses, connection.proxy, RealProbe(), time.time),
            membership.check,
            *policy_checks(home, connection.policy_sha256),
            *membership.unless_suspended(
                [*ledger_checks(home, role), *version_checks(connection.member, lambda: ask(home, time.time))]
            ),
        ]
        processes = membership.unless_suspended(processes)
    return run_checks([*checks, *own, *processes])


def _standing(home: Path) -> Standing:
    """How the home's member stands, by the join desk."""
    import time

    from clients.at_the_desk import member_of
    from clients.coordinator_view import TIMEOUT_S
    from clients.renewal import desk_of

    connection, key = member_of(home)
    with desk_of(home, time.time, TIMEOUT_S) as desk:
        return desk.standing(connection.cid, connection.member, key)


def _connection(home: Path) -> Connection | None:
    """What `connection.toml` says; None where there is none that can be read."""
    from clients.connection import ConnectionInvalid, load_connection

    try:
        return load_connection(home)
    except ConnectionInvalid:
        return None


def _no_connection(home: Path, role: str) -> Iterator[Finding]:
    from clients.connection import CONNECTION, load_connection
    from clients.doctor.check import Finding

    if (home / CONNECTION).exists():
        load_connection(home)  # says what is wrong with it
    what = f"{home}: has not joined a consortium by an invite, so no service was looked for"
    yield Finding("warn", what, f"artesian {role} join FILE --home {home}")
