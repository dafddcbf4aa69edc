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
        bounds = f"Each lower bound holds at {audited['confidence']:.0%} by itself"
        console.print(
            f"{bounds}; the verdicts at {audited['confidence']:.0%} for all {audited['claims']} claims together."
        )
        console.print(f"Every claim holds: {_yes(audited['holds'])}.")
    for path in written:
        console.print(escape(path), soft_wrap=True)


def _runs(audited: Mapping[str, Any]) -> Table:
    title = f"{audited['canaries']:,} canaries, half of them included; epsilon at delta {audited['delta']:g}"
    table = Table(box=SIMPLE, title=title, title_justify="left")
    for heading in ("task", "noise", "what is wrong"):
        table.add_column(heading)
    for heading in ("claimed", "fit", "at least", "at least, any noise"):
        table.add_column(heading, justify="right")
    table.add_column("above the claim")
    for run in audited["runs"]:
        keys = ("claimed_epsilon", "epsilon", "epsilon_lower", "epsilon_steinke")
        figures = [f"{run[key]:.2f}" for key in keys]
        right = run["above"] == (run["fault"] != "none")
        verdict = "yes" if run["above"] else "no"
        table.add_row(
            run["task"], run["mode"], run["words"], *figures, verdict if right else f"[bold red]{verdict}[/bold red]"
        )
    return table


def _yes(holds: bool) -> str:
    return "[green]yes[/green]" if holds else "[bold red]no[/bold red]"
