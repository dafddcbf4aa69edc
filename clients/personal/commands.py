"""`artesian firm personalise`, `forecast` and `score`: a firm's own models, for itself."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clients.data import Table
    from clients.firm import Firm
    from clients.personal.demand import DemandChoice
    from clients.releases import HeldRelease
    from clients.tasks.credit import CreditTask
    from clients.tasks.demand import DemandTask

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
TaskName = Annotated[str, typer.Argument(metavar="TASK", help="The task's name, as firm.toml has it.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write a CSV into this new file, for its owner alone.")]

_CREDIT = {
    "federated": "the federated model as it is",
    "calibrated": "the same, calibrated to this firm's own customers",
    "local": "a scorecard of this firm's own, without the federated model",
    "personal": "a scorecard of this firm's own, on top of the federated model",
}
_DEMAND = {
    "federated": "the federated model as it is",
    "local": "an ensemble of this firm's own, without the federated model",
    "personal": "an ensemble of this firm's own, on top of the federated model",
    "both": "the mean of personal and federated",
}
_SHOWN = 20  # rows on a terminal


def personalise(
    task: TaskName,
    home: Home,
    seed: Annotated[int, typer.Option(help="Of how the firm's own models are fitted and validated.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Choose this firm's own model of a task on top of the federated one, by what validates best on its own records.

    Compared are: federated, the model as it is; for credit calibrated, the same with Platt scaling, and a scorecard of
    the firm's own without it (local) or on top of it (personal); for demand an ensemble of the firm's own without it
    (local) or on top of it (personal), and the mean of that and the federated one (both).

    Costs no privacy: nothing of it leaves the firm. Run it again after a release, and when the table has grown.
    """
    from clients.firm import Firm
    from clients.personal import credit, demand
    from clients.personal.kept import keep

    firm = Firm(home)
    model, release, table = _opened(firm, task)
    federated = release.parameters
    choice: credit.CreditChoice | demand.DemandChoice
    if model.spec.kind == "credit":
        choice = credit.choose(_credit(model), federated, table, seed)
        measured, what, means = choice.log_loss, "log-loss in cross-validation", _CREDIT
        told = asdict(choice)
    else:
        choice = demand.choose(_demand(model), federated, table, seed)
        first, last = _date(choice.validated_from), _date(choice.validated_to)
        measured, what, means = choice.wape, f"WAPE from {first} to {last}", _DEMAND
        told = {**asdict(choice), "validated_from": first, "validated_to": last}
        told["quantile_spread"] = dict(zip(_quantiles(model), told.pop("spread"), strict=False))
    path = keep(firm.home, model.spec, release, choice)
    if as_json:
        facts = {"ok": True, "member": firm.member, "task": task, "release": release.model.hex(), **told}
        typer.echo(json.dumps({**facts, "file": str(path)}, ensure_ascii=False))
        return
    typer.echo(f"{task}, on the firm's own records, {what}:")
    for name, value in measured.items():
        typer.echo(f"  {name:<11} {value:.4f}  {means[name]}{'  <- chosen' if name == choice.chosen else ''}")
    typer.echo(f"Kept in {path}; nothing of it leaves this firm.")


def forecast(
    task: TaskName,
    home: Home,
    days: Annotated[int, typer.Option(help="How many days, at most the task's horizon.")] = 14,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="What is known of coming days: the table's columns without the value. Default: as 14 days before."
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Forecast this firm's own series from the newest day of its table on, with the model that it has chosen.

    Days on which a series is closed are left out, so series may have fewer rows than there are days.
    """
    from clients.firm import Firm

    firm = Firm(home)
    model, release, table = _opened(firm, task, "demand")
    demand = _demand(model)
    choice = _kept_demand(firm, demand, release)
    rows = _forecast_rows(demand, release, choice, table, plan, days)
    facts = {
        "ok": True,
        "member": firm.member,
        "task": task,
        "release": release.model.hex(),
        "model": choice.chosen,
        "validated_wape": choice.wape[choice.chosen],
    }
    wape = f"WAPE {choice.wape[choice.chosen]:.3f} when validated"
    _show(facts, rows, out, as_json, f"{task}: {choice.chosen}, {wape}; {days} days, closed ones left out.")


def score(
    task: TaskName,
    home: Home,
    data: Annotated[Path, typer.Option(help="Records to score; the label may be missing.")],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Score records of this firm's own customers: the federated probability of default, calibrated, and chosen."""
    from clients.data import read_table
    from clients.firm import Firm
    from clients.personal import credit
    from clients.personal.kept import kept

    firm = Firm(home)
    model, release, table = _opened(firm, task, "credit")
    choice = kept(firm.home, model.spec, release)
    assert isinstance(choice, credit.CreditChoice)
    layer = credit.CreditLayer.fit(_credit(model), release.parameters, table, choice)
    asked = read_table(data, model.spec, labelled=False)
    found = {
        "pd_federated": layer.pd(asked, credit.FEDERATED),
        "pd_calibrated": layer.pd(asked, credit.CALIBRATED),
        "pd": layer.pd(asked),
    }
    rows = [
        {"row": row + 1, **{name: round(float(values[row]), 6) for name, values in found.items()}}
        for row in range(asked.rows)
    ]
    facts = {"ok": True, "member": firm.member, "task": task, "release": release.model.hex(), "model": choice.chosen}
    loss = choice.log_loss[choice.chosen]
    _show(facts, rows, out, as_json, f"{task}: pd is by {choice.chosen}, log-loss {loss:.4f} when validated.")


def _opened(firm: Firm, task_name: str, kind: str | None = None) -> tuple[Any, HeldRelease, Table]:
    """A task with the release that the firm holds and the firm's own table.

    Raises:
        NoSuchTask, ReleaseNotTaken, TableInvalid: what the operator must mend.
        OtherKind: the task is of another kind than is asked for.
    """
    from clients.firm_tasks import require_named
    from clients.personal.errors import OtherKind
    from clients.table_source import source_of
    from clients.taking import current_release
    from clients.tasks.task import task_for

    require_named(firm.member, firm.config.task, task_name)
    declared, own = firm.declared(task_name), {"credit": "score", "demand": "forecast"}
    if kind is not None and declared.spec.kind != kind:
        other = f"a {declared.spec.kind} task; this command is for {kind} tasks"
        raise OtherKind(f"{task_name}: {other}, for this one there is artesian firm {own[declared.spec.kind]}")
    release = current_release(firm, task_name)
    table = source_of(firm.home, declared.settings).table(declared.spec)
    return task_for(declared.spec), release, table


def _credit(task: Any) -> CreditTask:
    from clients.tasks.credit import CreditTask

    assert isinstance(task, CreditTask)
    return task


def _demand(task: Any) -> DemandTask:
    from clients.tasks.demand import DemandTask

    assert isinstance(task, DemandTask)
    return task


def _kept_demand(firm: Firm, task: DemandTask, release: HeldRelease) -> DemandChoice:
    from clients.personal.demand import DemandChoice
    from clients.personal.kept import kept

    choice = kept(firm.home, task.spec, release)
    assert isinstance(choice, DemandChoice)
    return choice


def _forecast_rows(
    task: DemandTask, release: HeldRelease, choice: DemandChoice, table: Table, plan: Path | None, days: int
) -> list[dict[str, Any]]:
    """One row for each open day of each series; those that end before the table's newest day are left out."""
    import numpy as np

    from clients.data import read_table
    from clients.personal.ahead import extended, plan_spec
    from clients.personal.demand import DemandLayer
    from clients.personal.errors import NotPersonalised

    horizon = task.series.horizon_days
    if not 1 <= days <= horizon:
        raise NotPersonalised(f"--days {days}: this task forecasts 1 to {horizon} days")
    known = None if plan is None else read_table(plan, plan_spec(task.spec), labelled=False)
    layer = DemandLayer.fit(task, release.parameters, table, choice)
    series = extended(task, task.daily(table), known, horizon)
    if not series:
        raise NotPersonalised("no series reaches up to the newest day")
    newest = int(series[0].day[-1]) - horizon
    ahead = layer.own.days(series, [(newest + 1, newest + horizon)], horizon)
    quantiles = layer.quantiles(ahead, choice)
    order = np.lexsort([ahead.day, ahead.series])
    names = _quantiles(task)
    return [
        {
            task.series.id: layer.own.names[ahead.series[at]],
            task.series.date: _date(int(ahead.day[at])),
            **{name: round(float(value), 2) for name, value in zip(names, quantiles[at], strict=True)},
        }
        for at in order
        if ahead.day[at] <= newest + days
    ]


def _quantiles(task: Any) -> list[str]:
    return [f"q{round(100 * q)}" for q in task.spec.model.quantiles]


def _date(day: int) -> str:
    import numpy as np

    return str(np.datetime64(day, "D"))


def _show(
    facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], out: Path | None, as_json: bool, said: str
) -> None:
    from ledger.commands.answering import write

    if out is not None:
        write(out, _as_csv(rows), mode=0o600)
    if as_json:
        typer.echo(json.dumps({**facts, **({"rows": rows} if out is None else {"file": str(out)})}, ensure_ascii=False))
        return
    typer.echo(said)
    if out is not None:
        typer.echo(f"{out}: {len(rows)} rows.")
        return
    for line in _as_csv(rows[:_SHOWN]).decode().splitlines():
        typer.echo(line)
    if len(rows) > _SHOWN:
        typer.echo(f"… and {len(rows) - _SHOWN} rows more; --out FILE writes all of them.")


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
