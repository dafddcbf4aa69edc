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
        console.print(f"At least: at {sure} confidence; of Steinke et al. without any assumption about the noise.")
        console.print(f"Above: at {sure} confidence for all {audited['claims']} claims together.")
        console.print(f"Every claim holds: {_yes(audited['holds'])}.")
    for path in written:
        console.print(escape(path), soft_wrap=True)


def _runs(audited: Mapping[str, Any]) -> Table:
    title = f"{audited['canaries']:,} canaries, half of them included; epsilon at delta {audited['delta']:g}"
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for heading in ("task", "wrong"):
        table.add_column(heading, no_wrap=True)
    for heading in ("claim", "fit", "at least", "Steinke"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("above", no_wrap=True)
    for run in audited["runs"]:
        keys = ("claimed_epsilon", "epsilon", "epsilon_lower", "epsilon_steinke")
        figures = [f"{run[key]:.2f}" for key in keys]
        right = run["above"] == (run["fault"] != "none")
        verdict = "yes" if run["above"] else "no"
        verdict = verdict if right else f"[bold red]{verdict}[/bold red]"
        table.add_row(f"{run['task']}, {run['mode']}", run["words"], *figures, verdict)
    return table


def _yes(holds: bool) -> str:
    return "[green]yes[/green]" if holds else "[bold red]no[/bold red]"
