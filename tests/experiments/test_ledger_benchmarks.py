"""The ledger's benchmarks measure a ledger that holds: its receipts verify, its audit is clean."""

from contextlib import nullcontext
from itertools import islice

import pytest

from experiments.benchmarks import ledger_appends, ledger_proofs, ledger_start
from experiments.benchmarks.ledger_world import Traffic, filled_ledger
from ledger.log import Log
from ledger.statement import decode_statement

ENTRIES = 3_000


def test_unsigned_statements_are_what_signed_ones_would_be() -> None:
    traffic = Traffic()
    signed = list(islice(traffic.statements(), 90))
    traffic.stop_signing()
    for statement in [*signed, *islice(traffic.statements(), 90)]:
        assert decode_statement(statement.raw) == statement


def test_the_large_ledger_is_one_that_a_log_opens() -> None:
    filled = filled_ledger(ENTRIES)
    with Log.open(filled.path, filled.key) as log:
        assert (log.size, log.final_size, log.audited) == (ENTRIES, ENTRIES, ENTRIES)
        kinds = {decode_statement(raw).payload["t"] for raw in log.entries(0, 500)}
    assert kinds >= {"round", "contribution", "aggregate", "publish", "attest", "query", "consent"}


def test_proofs_and_starts_are_measured() -> None:
    figures = [*ledger_proofs.run(ENTRIES, samples=30), *ledger_start.run(ENTRIES, runs=1)]
    assert all(figure.value >= 0 and figure.beside and figure.command for figure in figures)
    assert [figure.unit for figure in figures] == ["ms", "ms", "ms", "bytes", "ms", "s", "entries", "s"]


def test_appends_are_measured_and_what_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger_appends, "running_cluster", lambda: nullcontext(None))
    figures = ledger_appends.run(batches=1, runs=1)
    assert [figure.unit for figure in figures] == ["entries/s"] * 2
    assert all(figure.beside["the database alone"] > figure.value > 0 for figure in figures)
    assert "PostgreSQL is not installed here; it is left out" in capsys.readouterr().err
