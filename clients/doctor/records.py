"""A firm's own things: `firm.toml`, its tables against their specs, its wallet, and what to expect of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clients.data import TableInvalid
from clients.doctor.check import Check, Finding, Level, ok
from clients.doctor.expectation import expectation
from clients.errors import ClientError
from clients.firm import DeclaredTask, Firm
from clients.privacy_words import up
from clients.size_buckets import bucket
from clients.table_report import table_facts
from clients.table_source import source_of
from clients.wallet_commands import forgotten
from ledger.commands.places import mirror_standing

NEARLY_SPENT = 0.9
TOO_FAR = 2.0
"""Declared units that are further from the count than this factor train badly, or weigh nothing that is sent."""


def record_checks(home: Path) -> list[Check]:
    """What a firm's operator edits, and what it comes to."""
    return [
        Check("firm.toml", lambda: _config(home)),
        Check("tables", lambda: _tables(home)),
        Check("wallet", lambda: _wallet(home)),
        Check("expectation", lambda: _expectation(home)),
    ]


def _firm(home: Path) -> Firm | None:
    """The firm; None where `firm.toml` is not in order, which its own check says."""
    try:
        return Firm(home)
    except ClientError:
        return None


def _config(home: Path) -> Iterator[Finding]:
    firm = Firm(home)
    tasks = firm.declared_tasks
    if tasks:
        yield ok(f"{firm.member} takes part in {', '.join(one.name for one in tasks)}")
    else:
        mend = "write a [[task]] with its table, or leave it if this firm only witnesses"
        yield Finding("warn", f"{home / 'firm.toml'}: there is no task in it", mend)


def _tables(home: Path) -> Iterator[Finding]:
    firm = _firm(home)
    standing = mirror_standing(home)
    for one in [] if firm is None else firm.declared_tasks:
        known = None if standing is None else standing.state.tasks.get(one.name)
        if known is not None and known.spec != one.spec.hash:
            what = f"{one.name}: {home / one.settings.spec} is not the spec that is on the ledger"
            yield Finding("fail", what, "take the spec from the coordinator again: every plan for it is refused")
        yield from _table(home, one)


def _table(home: Path, task: DeclaredTask) -> Iterator[Finding]:
    look = f"artesian firm check --home {home} --task {task.name}"
    try:
        facts = table_facts(source_of(home, task.settings), task.spec)
    except TableInvalid as error:
        yield Finding("fail", f"{task.name}: {error}", f"mend the table; every violation: {look}")
        return
    except ClientError as error:
        level: Level = "unreachable" if error.exit_code == 3 else "fail"
        yield Finding(level, f"{task.name}: {error}", f"mend the file, the query or the database; then: {look}")
        return
    units, declared = int(facts["units"]), task.settings.units
    yield ok(f"{task.name}: {facts['rows']} records fit the spec, {units} units")
    if not units / TOO_FAR <= declared <= units * TOO_FAR:
        what = f"{task.name}: firm.toml declares {declared} units, the table has {units}"
        yield Finding("warn", what, f"declare a round figure near it: units = {bucket(max(units, 1))}")


def _wallet(home: Path) -> Iterator[Finding]:
    firm = _firm(home)
    if firm is None:
        return
    problem = forgotten(firm)
    if problem is not None:
        yield Finding("fail", problem, f"artesian firm wallet-check --home {home}, then wallet-restore or wallet-adopt")
        return
    with firm.wallet_as_it_is() as wallet:
        accounts = wallet.report()
    for one in accounts:
        cap = min(firm.config.limits.epsilon, one.cap.epsilon if one.cap else firm.config.limits.epsilon)
        spent = one.total.epsilon(firm.config.limits.delta)
        what = f"{one.dataset}: epsilon {up(spent)} of {cap:g} is spent"
        if spent >= NEARLY_SPENT * cap:
            mend = "rounds will soon be refused; what more would cost: artesian firm what-if, firm wallet"
            yield Finding("warn", what, mend)
        else:
            yield ok(what)
    if not accounts:
        yield ok("whole; nothing is spent yet")


def _expectation(home: Path) -> Iterator[Finding]:
    firm = _firm(home)
    if firm is None:
        return
    limits, standing = firm.config.limits, mirror_standing(home)
    members = [] if standing is None else list(standing.state.members.values())
    firms = max(sum(one.active and one.kind == "firm" for one in members), limits.min_cohort)
    for one in firm.declared_tasks:
        found = expectation(one.spec.model.kind, one.settings.units, firms, limits.epsilon, limits.delta)
        words = f"{one.name}: {found.words()}"
        if found.least_units is not None and one.settings.units < found.least_units:
            yield Finding("warn", words, "train with more firms, gather more records, or allow a larger epsilon")
        else:
            yield ok(words)
