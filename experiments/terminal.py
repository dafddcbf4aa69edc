"""What a terminal shows of an experiment: progress while it runs, and its summary in a few lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from clients.privacy_words import up
from experiments.benchmarks.figure import Figure
from server.measurement_words import figure_lines

_ROUND = re.compile(r"(?P<what>.*): (?:round|federation|model) (?P<done>\d+) of (?P<all>\d+)")


@contextmanager
def progressing() -> Iterator[Callable[[str], None]]:
    """Show what work says about itself on standard error: bars on a terminal, lines in a pipe.

    Meanwhile whatever libraries print goes there too, so that standard output holds the answer alone.
    """
    with redirect_stdout(sys.stderr):
        if not sys.stderr.isatty():
            yield lambda message: print(message, file=sys.stderr, flush=True)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            yield _Bars(bars)


class _Bars:
    """One bar for each thing that counts rounds, federations or models; every other message is a line above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, message: str) -> None:
        counted = _ROUND.fullmatch(message)
        if counted is None:
            self._bars.console.print(escape(message), highlight=False)
            return
        what = counted["what"]
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(escape(what), total=int(counted["all"]))
        self._bars.update(self._tasks[what], completed=int(counted["done"]))


def show_summary(summary: Mapping[str, Any], written: Sequence[str] = ()) -> None:
    """Print the summary of a simulation or of the demo; `written` names the files that hold all of it."""
    console = Console(highlight=False)
    for kind, measure, rows in (("credit", "AUC", _CREDIT), ("demand", "WAPE", _DEMAND)):
        if kind in summary:
            console.print(_comparison(kind, measure, rows, summary[kind]))
            console.print(_terms(summary[kind]), soft_wrap=True)
            for line in _own_models(summary[kind]):
                console.print(line, soft_wrap=True)
    for one in summary.get("measurements", ()):
        for line in figure_lines(one):
            console.print(escape(line), soft_wrap=True)
    ledger = summary.get("ledger")
    if ledger:
        final = "all of it final" if ledger["final"] else "not final"
        words = f"Ledger: {ledger['entries']} entries, {ledger['checkpoints']} checkpoints, quorum {ledger['quorum']}"
        console.print(f"{words}, {final}.", soft_wrap=True)
    for one in summary.get("scores", ()):
        console.print(escape(_score_line(one)), soft_wrap=True)
    if "audit" in summary:
        recomputed, found = (_yes(summary["audit"][key]) for key in ("recomputed", "tamper_detected"))
        console.print(f"Audit: aggregate recomputed {recomputed}, tampering found {found}.")
    console.print(f"Time: {_seconds(summary['seconds'])}.", soft_wrap=True)
    for path in written:
        console.print(escape(path), soft_wrap=True)


_CREDIT = (
    ("federated", "auc_federated"),
    ("each firm alone, mean", "auc_local_mean"),
    ("the same, tuned at each firm", "auc_local_tuned_mean"),
    ("each firm alone, worst", "auc_local_worst"),
    ("all data in one place", "auc_central"),
    ("the same, tuned", "auc_central_tuned"),
)
_DEMAND = (
    ("federated", "wape_federated"),
    ("each firm alone, mean", "wape_local_mean"),
    ("all data in one place", "wape_central"),
    ("same day a week before", "wape_seasonal_naive"),
)


def _comparison(kind: str, measure: str, rows: Sequence[tuple[str, str]], figures: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE, title=f"{kind}, {figures['held_out_records']} held-out records", title_justify="left")
    table.add_column("trained")
    table.add_column(measure, justify="right")
    for words, key in rows:
        if key in figures:
            table.add_row(words, f"{figures[key]:.4f}", style="bold" if key.endswith("federated") else "")
    return table


def _terms(figures: Mapping[str, Any]) -> str:
    size = f"{figures['firms']} firms, {figures['rounds']} rounds"
    if figures["epsilon"] is None:
        return f"Privacy: none was asked for; {size}."
    return (
        f"Privacy: epsilon {up(figures['epsilon'])} at delta {figures['delta']:g} for {escape(figures['unit'])}, "
        f"{figures['mode']}; {size}.{_with_measurements(figures)}"
    )


def _with_measurements(figures: Mapping[str, Any]) -> str:
    """What measuring adds, where something was measured."""
    if figures.get("epsilon_measured") is None:
        return ""
    return (
        f" The measurements cost epsilon {up(figures['epsilon_measured'])} by themselves; training and measurements "
        f"together {up(figures['epsilon_together'])}."
    )


_OWN = (
    ("brier", "Brier", ("federated", "calibrated", "local", "personal")),
    ("auc", "AUC", ("federated", "calibrated", "local", "personal")),
    ("wape", "WAPE", ("federated", "local", "ensemble", "personal")),
)
_OWN_WORDS = {
    "federated": "federated",
    "calibrated": "calibrated",
    "local": "without the federation",
    "ensemble": "on top of the federated model",
    "personal": "what each firm chose",
}


def _own_models(figures: Mapping[str, Any]) -> Iterator[str]:
    """What firms' own models reach on their own tests, where a simulation has them."""
    for key, measure, names in _OWN:
        if f"{key}_own_federated" in figures:
            told = ", ".join(f"{_OWN_WORDS[name]} {figures[f'{key}_own_{name}']:.4f}" for name in names)
            yield f"Firms' own models on their own tests, {measure}: {told}."


def _score_line(score: Mapping[str, Any]) -> str:
    reason = f", first reason: {score['reasons'][0]['text']}" if score["reasons"] else ""
    proof = "receipt holds" if score["receipt_ok"] else "receipt does not hold"
    return f"Score {score['score']}, pd {score['pd']:.1%}, {proof}, {score['latency_ms']} ms{reason}"


def _yes(holds: bool) -> str:
    return "[green]yes[/green]" if holds else "[bold red]no[/bold red]"


def _seconds(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g} s" for name, value in seconds.items())


def show_figures(figures: Sequence[Figure]) -> None:
    """Print measured figures, each beside what it was compared with in the same run."""
    table = Table(box=SIMPLE)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("beside")
    table.add_column("runs", justify="right")
    for one in figures:
        beside = "\n".join(f"{escape(what)}: {_number(value)}" for what, value in one.beside.items())
        table.add_row(escape(one.name), f"{_number(one.value)} {one.unit}", beside, str(one.runs))
    Console(highlight=False).print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
