"""`artesian coordinator measure` and `measured`: order a measurement, and read what measurements have said."""

import json
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from server.errors import ServerError

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Task = Annotated[str, typer.Argument(help="The task's name in coordinator.toml.")]


class NotMeasured(ServerError):
    """There is no such measurement."""


class RunRefused(ServerError):
    """Flower did not carry out the run; its own words came before."""

    exit_code = 3


def measure(
    task: Task,
    home: Home,
    what: Annotated[str, typer.Option(help="units, evaluation, columns or fairness.")],
    epsilon: Annotated[
        float | None, typer.Option(help="What it may cost every unit. Default: the task's.", min=1e-3, max=100.0)
    ] = None,
    bins: Annotated[int, typer.Option(help="Score bins of evaluation and fairness.", min=2, max=1000)] = 20,
    column: Annotated[str, typer.Option(help="For fairness: the category or flag that is compared.")] = "",
    superlink: Annotated[
        str | None, typer.Option(help="Flower's name of the SuperLink to run on. Default: print how to run it.")
    ] = None,
    project: Annotated[Path, typer.Option(help="The folder with the pyproject.toml that Flower runs.")] = Path(),
    as_json: Json = False,
) -> None:
    """Measure a task's present model on the firms' records, with noise: every firm's wallet pays for it.

    Without --superlink it prints the Flower command that does it. Firms take part as far as their firm.toml agrees:
    `measurements` in its limits. What comes out is written to measurements/TASK in the home, and the round is on the
    ledger.
    """
    from server.coordinator import CONFIG_FILE, load_coordinator_config
    from server.measuring import Order, check_order

    order = Order.of(what=what, epsilon=epsilon, bins=bins, column=column)
    check_order(home, load_coordinator_config(home / CONFIG_FILE), task, order)
    config = {"home": str(home.absolute()), "task": task, "measure": order.text()}
    settings = " ".join(f"{name}={json.dumps(value)}" for name, value in config.items())
    command = ["flwr", "run", str(project), *([superlink] if superlink else []), "--stream", "--run-config", settings]
    if superlink is None and as_json:
        typer.echo(json.dumps({"ok": True, "task": task, "command": command, "measurements": [what]}))
        return
    if superlink is None:
        quoted = [*command[:-1], f"'{settings}'"]
        typer.echo(" ".join(quoted))
        typer.echo(
            "Run it where the SuperLink runs, in the project's folder or with its path for --project. Only firms take "
            f"part whose firm.toml agrees: under [limits], measurements = [{json.dumps(what)}].",
            err=True,
        )
        return
    if subprocess.run(command, check=False, stdout=2 if as_json else None).returncode:  # Flower's words beside JSON
        raise RunRefused(f"{task}: the measurement did not run; see what Flower said")
    measured(task, home, as_json=as_json)


def measured(
    task: Task,
    home: Home,
    round_id: Annotated[str, typer.Option("--round", help="How its round's id begins. Default: the latest.")] = "",
    against: Annotated[
        str, typer.Option(help="For columns: the round of an earlier measurement; shows what has drifted.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Show what a measurement said, each figure with the error that its noise makes."""
    from server.coordinator import Coordinator
    from server.figures import Counts, drift
    from server.measurement_words import figure_lines
    from server.measuring import read_measurements

    found = read_measurements(home, task)
    document = _one(found, round_id, task)
    if against:
        earlier = _one(found, against, task)
        if (earlier["what"], document["what"]) != ("columns", "columns"):
            raise NotMeasured(f"{task}: drift is between two measurements of columns")
        from clients.measuring.statistic import statistic_of

        with Coordinator(home) as coordinator:
            statistic = statistic_of(coordinator.spec(task), "columns")
        now, before = (Counts.of(one) for one in (document, earlier))
        document = {**document, "against": earlier["round"], "drift": drift(now, before, statistic)}
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    for line in figure_lines(document):
        typer.echo(line)


def _one(found: list[dict[str, Any]], prefix: str, task: str) -> dict[str, Any]:
    matching = [one for one in found if one["round"].startswith(prefix.lower())]
    if not matching or (prefix and len(matching) > 1):
        many = f"{len(matching) or 'no'} measurements have an id that begins with {prefix!r}"
        raise NotMeasured(
            f"{task}: {many if prefix else 'no measurement yet'}; run artesian coordinator measure {task}"
        )
    return matching[-1]
