"""`artesian audit measurement`: compute a measurement again from the ledger and the store, figures and all."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.audit_options import Artifacts, Home, Json, Ledger, Policy, copies
from server.errors import ServerError

if TYPE_CHECKING:
    from clients.tasks.spec import TaskSpec
    from server.artifacts import ArtifactStore
    from server.ledger_copy import LedgerCopy

Document = Annotated[Path, typer.Argument(help="The measurement's file, as the coordinator gave it to you.")]
Spec = Annotated[Path, typer.Option(help="The task's spec.")]


class MeasurementUnreadable(ServerError):
    """A file that is no measurement at all."""


class MeasurementMismatch(ServerError):
    """A measurement that does not follow from the round that it names; the message says what differs."""

    exit_code = 1


def measurement(
    document: Document,
    spec: Spec,
    home: Home = Path(),
    ledger: Ledger = None,
    artifacts: Artifacts = None,
    policy: Policy = None,
    as_json: Json = False,
) -> None:
    """Compute a measurement again. Exit code 1 if its round gives other figures, or cannot be computed again."""
    from clients.tasks.spec import load_spec
    from server.artifacts import ArtifactStore
    from server.ledger_copy import LedgerCopy

    try:
        claimed = json.loads(document.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MeasurementUnreadable(f"{document}: it is no measurement: {error}") from None
    if not isinstance(claimed, dict):
        raise MeasurementUnreadable(f"{document}: it is no measurement: JSON, but no object")
    where, store, trusted = copies(home, ledger, artifacts, policy)
    copy = LedgerCopy.read(where, trusted)
    audit_measurement(claimed, copy, ArtifactStore(store), load_spec(spec))
    if as_json:
        typer.echo(json.dumps({"ok": True, "round": claimed["round"], "trusted": trusted is not None}))
    else:
        typer.echo(
            f"{document}: the counts and figures in it follow from round {claimed['round'][:12]}, computed again"
        )


def audit_measurement(claimed: dict[str, Any], copy: "LedgerCopy", store: "ArtifactStore", spec: "TaskSpec") -> None:
    """Hold a measurement against the round that it names. That the ledger's rounds hold is `server.audit`'s to say.

    Raises:
        MeasurementMismatch: naming the first thing that differs.
        ArtifactMissing, ArtifactDamaged, AuditMismatch: the round cannot be computed again.
    """
    from clients.measuring.statistic import statistic_of_plan
    from server.audit import audit_round, opened_total
    from server.measurement_report import cost_of, plans_before, said, whose_units

    if copy.problem is not None:
        raise MeasurementMismatch(f"ledger: {copy.problem}")
    named = str(claimed.get("round"))
    found = next((one for one in copy.rounds.values() if one.id.hex() == named), None)
    if found is None or found.plan is None or not found.plan.measures or found.aggregate is None:
        raise MeasurementMismatch(f"round {named[:12]}: the ledger has no finished measurement of this id")
    if found.plan.spec != spec.hash:
        raise MeasurementMismatch("task spec: the round was of another one; give the spec that the task had then")
    checked = audit_round(copy.entries, store, found.id)
    if not checked.recomputed:
        raise MeasurementMismatch(
            checked.problem or "the round's artifacts are deleted, so it cannot be computed again"
        )
    total, firms = opened_total(found, found.plan, store)
    statistic, grid = statistic_of_plan(spec, found.plan), found.plan.grid(len(found.payload["cohort"]))
    expected = said(statistic, spec.kind == "demand", found.plan, total, len(firms), grid)
    task = found.payload["task"]
    expected |= {"task": task, "model": found.aggregate["model"].hex(), "firms": sorted(firms)}
    expected["of_units"] = whose_units(found.plan, plans_before(copy.rounds.values(), task, found.entry))
    expected["privacy"] = cost_of(spec, found.plan)
    for name, value in expected.items():
        if claimed.get(name) != value:
            raise MeasurementMismatch(f"measurement: {name!r} in it is not what round {named[:12]} gives")
