"""`artesian demo`, `simulate` and `bench`: what a researcher does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from experiments.errors import ExperimentError

if TYPE_CHECKING:
    from experiments.simulation_config import SimulationConfig

app = typer.Typer(no_args_is_help=True)

Home = Annotated[
    Path | None,
    typer.Option(help="A new or empty directory, where the members' homes are made and kept. Default: none is kept."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SUMMARY, REPORT = "summary.json", "report.html"


class OutputImpossible(ExperimentError):
    """What is about to be computed could not be written where it should go."""


class DataMissing(ExperimentError):
    """A simulation whose configuration names no table, and none was given."""


@app.command(epilog="Example: artesian demo --out artesian-demo")
def demo(
    out: Annotated[Path, typer.Option(help="Where summary.json and report.html go.")] = Path("artesian-demo"),
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Tell the whole story on real data: found, train, witness, publish, score, audit, tamper."""
    from experiments.demo import run_demo
    from experiments.terminal import progressing, show_summary

    check_output(out)
    with progressing() as progress:
        summary = run_demo(home, out, progress)
    if as_json:
        typer.echo(summary_text(summary))
    else:
        show_summary(summary, [str(out / REPORT), str(out / SUMMARY)])


@app.command(epilog="Example: artesian simulate experiments/configs/loans.toml --out loans")
def simulate(
    config: Annotated[Path, typer.Argument(help="The simulation's configuration, a TOML file.")],
    data: Annotated[Path | None, typer.Option(help="The table, instead of the configuration's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where summary.json and report.html go. Default: nowhere.")] = None,
    home: Home = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configuration's.", min=0)] = None,
    engine: Annotated[
        Literal["in-process", "ray"] | None, typer.Option(help="Where rounds run, instead of the configuration's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a federation beside each firm alone and all data in one place; or audit the privacy of some.

    An audit of privacy trains many federations: that of experiments/configs/privacy-audit.toml takes about a quarter of
    an hour on two cores. It says first how many, and then which it is at.
    """
    from experiments.simulation import simulate as run_simulation
    from experiments.simulation_config import kind_of, load_simulation_config
    from experiments.terminal import progressing, show_summary

    if kind_of(config) == "privacy-audit":
        if data is not None or home is not None or engine is not None:
            raise typer.BadParameter(
                "a privacy audit takes no --data, --home or --engine; its subjects say what it is of"
            )
        _audit_privacy(config, out, seed, as_json)
        return
    asked = load_simulation_config(config)
    changes = {"seed": seed, "engine": engine}
    asked = asked.model_copy(update={key: value for key, value in changes.items() if value is not None})
    spec, table = config.parent / asked.data.spec, data or _table(asked, config)
    if out is not None:
        check_output(out)
    with progressing() as progress:
        summary = run_simulation(asked, spec, table, home, progress)
        written = [] if out is None else write_outputs(summary, out)
    if as_json:
        typer.echo(summary_text(summary))
    else:
        show_summary(summary, written)


def _audit_privacy(config: Path, out: Path | None, seed: int | None, as_json: bool) -> None:
    """Run a privacy audit.

    Raises:
        ClaimBroken: after its figures were shown and written.
    """
    from experiments.privacy_audit.audit import audit, require_claims
    from experiments.privacy_audit.config import load_audit_config
    from experiments.privacy_audit.tables import show_audit
    from experiments.terminal import progressing

    asked = load_audit_config(config)
    asked = asked if seed is None else asked.model_copy(update={"seed": seed})
    if out is not None:
        check_output(out)
    with progressing() as progress:
        summary = audit(asked, config.parent, progress)
        written = [] if out is None else write_outputs(summary, out)
    if as_json:
        typer.echo(summary_text(summary))
    else:
        show_audit(summary, written)
    require_claims(summary)


def _table(config: SimulationConfig, path: Path) -> Path:
    """The configuration's table; its path is relative to the configuration."""
    if config.data.path is None:
        raise DataMissing(f"{path}: names no table; give one with --data")
    return path.parent / config.data.path


@app.command(epilog="Example: artesian bench startup masked_round --json")
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks to run. Default: all of them.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the project's figures: medians over several runs, each beside what it is compared with."""
    from experiments.benchmarks.registry import BENCHMARKS, benchmark
    from experiments.terminal import progressing, show_figures

    wanted = [(name, benchmark(name)) for name in names or BENCHMARKS]
    figures = []
    with progressing() as progress:
        for name, measure in wanted:
            progress(f"{name}: {BENCHMARKS[name]}")
            figures += measure()
    if as_json:
        lines = ",\n".join(json.dumps(figure.to_json(), ensure_ascii=False) for figure in figures)
        typer.echo(f"[\n{lines}\n]")
    else:
        show_figures(figures)


def check_output(out: Path) -> None:
    """Find out now, and not after minutes of work, that nothing can be written to the directory `out`.

    Raises:
        OutputImpossible: it is a file, or it may not be made or written to.
    """
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise OutputImpossible(f"{out}: {nearest} is not a directory; give another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputImpossible(f"{out}: {nearest} may not be written to; give another --out")


def write_outputs(summary: dict[str, Any], out: Path) -> list[str]:
    """Write `summary.json` and `report.html` to the directory `out`; returns their paths."""
    from experiments.report import write_report
    from server.coordinator import write_json

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SUMMARY, summary)
    write_report(summary, out / REPORT)
    return [str(out / REPORT), str(out / SUMMARY)]


def summary_text(summary: dict[str, Any]) -> str:
    """The summary as `summary.json` holds it."""
    return json.dumps(summary, indent=2, sort_keys=True)
