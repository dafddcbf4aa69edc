"""The wallet's benchmark measures what it says, on a small scale."""

import pytest

from experiments.benchmarks import wallet


def test_it_pays_refuses_and_opens_beside_bare_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wallet, "ROWS", 40)
    figures = {figure.name: figure for figure in wallet.run(charges=3)}
    assert len(figures) == 9
    for what in ("a new wallet", "a wallet of 40 rows"):
        paid = figures[f"reserve and settle, {what}, median"]
        assert figures[f"refusal, {what}, median"].value > 0
        assert paid.beside["one bare commit"] > 0
        assert paid.value <= figures[f"reserve and settle, {what}, 95 % under"].value
        assert (paid.unit, paid.runs, paid.command) == ("ms", 3, "artesian bench wallet")
    assert figures["opening a wallet of 40 rows, chain checked"].beside.keys() == {"reading its rows alone"}
