"""`artesian coordinator measure` and `measured`: order a measurement, and read what measurements have said."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from server.errors import ServerError

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Task = Annotated[str, typer.Argument(help="The task's name in coordinator.toml.")]


class NotMeasured(ServerError):
    """There is no such measurement."""


def measure(
    task: Task,
    home: Home,
    what: Annotated[str, typer.Option(help="units, evaluation, columns or fairness.")],
    epsilon: Annotated[
        float | None, typer.Option(help="What it may cost every unit. Default: the task's.", min=1e-3, max=100.0)
    ] = None,
    bins: Annotated[int, typer.Option(help="Score bins of evaluation and fairness.", min=2, max=1000)] = 20,
    column: Annotated[str, typer.Option(help="For fairness: the category or flag that is compared.")] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow it to its end, and show what it says; Ctrl-C stops following only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Order a task's present model to be measured on the firms' records, with noise: every firm's wallet pays for it.

    The runner of `artesian coordinator up` carries it out, as an order to train. Firms take part as far as their
    firm.toml agrees: `measurements` in its limits. What comes out is written to measurements/TASK in the home
    (`artesian coordinator measured` shows it), and the round is on the ledger. With --wait it leaves with 1 if the
    order is not completed, and with 3 if there is no runner.
    """
    from server.coordinator import CONFIG_FILE, load_coordinator_config
    from server.measurement_order import Order, check_order
    from server.measurement_report import read_measurements, round_told_in
    from server.measurement_words import figure_lines
    from server.ordering import Found, give
    from server.run_order import RunOrder

    order = Order.of(what=what, epsilon=epsilon, bins=bins, column=column)
    check_order(home, load_coordinator_config(home / CONFIG_FILE), task, order)
    typer.echo(
        f"Only firms take part whose firm.toml agrees: under [limits], measurements = [{json.dumps(what)}].", err=True
    )

    def found(ended: RunOrder) -> Found:
        document = _one(read_measurements(home, task), round_told_in(ended.reason), task)
        return Found({"measurement": document}, figure_lines(document))

    give(home, task, measure=order.text(), wait=wait, as_json=as_json, found=found)


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
    from server.measurement_report import read_measurements
    from server.measurement_words import figure_lines

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
