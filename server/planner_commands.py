"""`artesian coordinator propose`: how to train a task, from public figures alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from server.training_config import TrainingConfig


def propose(
    spec: Annotated[Path, typer.Argument(help="The task spec, a TOML file.")],
    firms: Annotated[int, typer.Option(help="Firms of the cohort.", min=1)],
    units: Annotated[int, typer.Option(help="Privacy units that they declare, all together.", min=1)],
    epsilon: Annotated[float, typer.Option(help="What the whole run may cost every unit.", min=1e-3)],
    delta: Annotated[float, typer.Option(help="At this delta.", min=1e-9, max=0.5)] = 1e-5,
    mode: Annotated[Literal["distributed", "local"], typer.Option(help="Whose noise is enough.")] = "distributed",
    colluders: Annotated[
        int | None, typer.Option(help="Firms that may side with the coordinator. Default: an eighth.", min=0)
    ] = None,
    rounds_at_most: Annotated[int, typer.Option(help="No more rounds than so many.", min=1)] = 60,
    home: Annotated[
        Path | None,
        typer.Option(help="Write them into the coordinator.toml of this home, below the task that the spec is of."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    r"""Propose rounds, rate, clip and noise: \[training] and \[privacy] to paste, or with --home put where they belong.

    It looks at no data: only at the spec, at what firms declare, and at what is asked for. What its rule rests on was
    measured on validation parts; see docs/privacy.md.
    """
    from clients.tasks.spec import load_spec
    from clients.tasks.task import task_for
    from server.planner import prediction
    from server.task_lines import add_below
    from server.training_config import TrainingConfig

    of = load_spec(spec)
    task = task_for(of)
    asked = TrainingConfig.model_validate(
        {
            "training": {"plan": "auto", "rounds": rounds_at_most},
            "privacy": {"mode": mode, "epsilon": epsilon, "delta": delta, "colluders": colluders},
        }
    )
    declared = {f"firm-{k}": max(units // firms, 1) for k in range(firms)}
    settled = asked.settled(task, declared, 1)
    plan = settled.plans(task, declared, 1)[0]
    facts = prediction(task, plan, firms)
    text = toml_of(settled, plan.colluders, "" if home is None else "task.")
    placed = None if home is None else add_below(home, of, text)
    if as_json:
        steps = settled.training
        found = {"rounds": steps.rounds, "rate": steps.rate, "momentum": steps.momentum, "clip": steps.clip}
        document = {"ok": True, "firms": firms, "units": units, "mode": mode, "training": found, **facts, "toml": text}
        typer.echo(json.dumps(document if placed is None else {**document, "placed": placed}, ensure_ascii=False))
        return
    typer.echo(text, nl=False)
    if placed is not None:
        typer.echo(f"# is in {home}/coordinator.toml now, below the task {placed}")
    for line in _words(facts, plan.rounds):
        typer.echo(f"# {line}")


def toml_of(config: TrainingConfig, colluders: int, below: str = "") -> str:
    """The lines that say it in a simulation's configuration, or those `below` a task of `coordinator.toml`."""
    steps, privacy = config.training, config.privacy
    return (
        f"[{below}training]\nrounds = {steps.rounds}\nrate = {steps.rate}\n"
        f"momentum = {steps.momentum}\nclip = {steps.clip}\n\n"
        f'[{below}privacy]\nmode = "{privacy.mode}"\nepsilon = {privacy.epsilon}\ndelta = {privacy.delta}\n'
        f"colluders = {colluders}\n"
    )


def _words(facts: dict[str, Any], rounds: int) -> list[str]:
    return [
        f"{facts['task']}: {facts['algorithm']}, {facts['parameters']} parameters, unit: {facts['unit']}",
        f"all {rounds} rounds cost epsilon {facts['epsilon']:.3g} at delta {facts['delta']:g}; "
        f"noise multiplier {facts['noise_multiplier']:.3g}",
        f"noise in each value of a round's mean gradient: {facts['noise_in_mean']:.2g} clips",
        f"noise that the run adds to each parameter: {facts['noise_in_parameters']:.2g}",
    ]
