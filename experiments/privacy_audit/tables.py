"""What a terminal shows of a privacy audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show_audit(summary: Mapping[str, Any], written: Sequence[str] = ()) -> None:
    """Print an audit's table and verdict; `written` names the files that hold all of it."""
    console = Console(highlight=False)
    audited = summary["privacy_audit"]
    if audited["runs"]:
        console.print(_runs(audited))
        sure = f"{audited['confidence']:.0%}"
        console.print(f"Least: a lower bound at {sure} confidence; Steinke et al.'s assumes nothing about the noise.")
        console.print(f"Above: at {sure} confidence for all {audited['claims']} claims together.")
        console.print(f"Every claim holds: {_yes(audited['holds'])}.")
    if summary["membership"]:
        console.print(_attacks(summary["membership"]))
        console.print("Low figures prove nothing by themselves; they may not pass what the claim allows at most.")
    for path in written:
        console.print(escape(path), soft_wrap=True)


def run_name(run: Mapping[str, Any]) -> str:
    """What was trained in a run, and how."""
    return ", ".join(filter(None, (run["task"], run["algorithm"] or run["mode"])))


def _runs(audited: Mapping[str, Any]) -> Table:
    title = f"{audited['canaries']:,} canaries, half of them included; epsilon at delta {audited['delta']:g}"
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for heading in ("task", "wrong"):
        table.add_column(heading, no_wrap=True)
    for heading in ("claim", "fit", "least", "Steinke"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("above", no_wrap=True)
    for run in audited["runs"]:
        keys = ("claimed_epsilon", "epsilon", "epsilon_lower", "epsilon_steinke")
        figures = [f"{run[key]:.2f}" if run[key] < 100 else f"{run[key]:,.0f}" for key in keys]
        right = run["above"] == (run["fault"] != "none")
        verdict = "yes" if run["above"] else "no"
        verdict = verdict if right else f"[bold red]{verdict}[/bold red]"
        table.add_row(run_name(run), run["words"], *figures, verdict)
    return table


def _attacks(attacks: Sequence[Mapping[str, Any]]) -> Table:
    first = attacks[0]
    title = f"membership of {first['records']:,} records in {first['models']} models, each of half of them"
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), title=title, title_justify="left")
    table.add_column("attack", no_wrap=True)
    for heading in ("epsilon", "AUC", "at most", *(f"at {rate:.1%}" for rate in first["false_positive_rates"])):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("at most", justify="right")
    for one in attacks:
        found = [f"{100 * tpr:.2f}±{100 * error:.2f}" for tpr, error in zip(one["tpr"], one["tpr_error"], strict=True)]
        private = one["epsilon"] is not None
        most = " ".join(f"{100 * bound:.2f}" for bound in one["tpr_bound"]) if private else ""
        told = f"{one['epsilon']:.2f}" if private else "none"
        bound = f"{one['auc_bound']:.3f}" if private else ""
        table.add_row(one["view"], told, f"{one['auc']:.3f}±{one['auc_error']:.3f}", bound, *found, most)
    return table


def _yes(holds: bool) -> str:
    return "[green]yes[/green]" if holds else "[bold red]no[/bold red]"
