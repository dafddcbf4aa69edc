"""`artesian audit root`: compute the root gradients again, for whoever has the table that the plans name."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.audit_options import Artifacts, Home, Json, Ledger, Policy, copies
from server.errors import ServerError

if TYPE_CHECKING:
    from server.artifacts import ArtifactStore
    from server.ledger_copy import RecordedRound
    from server.root_table import RootTable

Table = Annotated[Path, typer.Argument(help="The coordinator's root table, as it gave it to you.")]
Spec = Annotated[Path, typer.Option(help="The task's spec.")]
CLOSE = 1e-9
"""Relative difference that two machines' order of additions may make, and nothing else."""


class RootMismatch(ServerError):
    """A root gradient that is not of the table that its plan names; the message names the round."""

    exit_code = 1


@dataclass(frozen=True)
class RootAudit:
    """A round's root gradient that was computed again.

    Attributes:
        round_id: 16 bytes.
        number: the round's number in its run.
    """

    round_id: bytes
    number: int


def root(
    table: Table,
    spec: Spec,
    home: Home = Path(),
    ledger: Ledger = None,
    artifacts: Artifacts = None,
    policy: Policy = None,
    as_json: Json = False,
) -> None:
    """Compute every root gradient of a table again: what the coordinator's own public table says a round should change,
    by which groups of updates were weighed. Exit code 1 if one is another, or if no plan names the table."""
    from clients.tasks.spec import load_spec
    from clients.tasks.task import task_for
    from server.artifacts import ArtifactStore
    from server.ledger_copy import LedgerCopy
    from server.root_table import RootTable

    where, store, trusted = copies(home, ledger, artifacts, policy)
    copy = LedgerCopy.read(where, trusted)
    if copy.problem is not None:
        raise RootMismatch(f"ledger: {copy.problem}")
    done = [one for one in copy.rounds.values() if one.aggregate is not None]
    found = audit_roots(done, ArtifactStore(store), RootTable.read(table, task_for(load_spec(spec))))
    if as_json:
        rounds = [{"round": one.round_id.hex(), "number": one.number} for one in found]
        typer.echo(json.dumps({"ok": True, "rounds": rounds, "trusted": trusted is not None}))
    else:
        typer.echo(f"{len(found)} rounds: the root gradient is that of this table")


def audit_roots(rounds: "Sequence[RecordedRound]", store: "ArtifactStore", table: "RootTable") -> list[RootAudit]:
    """Compute the root gradients of the rounds whose plans name a table, and compare with those that were used.

    That these are what the rules were given is for `server.audit` to say.

    Raises:
        RootMismatch: no plan names the table, or a gradient is not its.
        ArtifactMissing, ArtifactDamaged: a gradient or a model is not in the store.
    """
    import numpy as np

    from clients.model_files import read_vector
    from clients.plan import Plan
    from server.model_store import load_model
    from server.opening_record import load_opening

    found = []
    for one in rounds:
        plan = Plan.from_map(one.payload["plan"])
        if plan.root != table.digest:
            continue
        assert one.aggregate is not None
        name = f"round {plan.number} ({one.id.hex()[:8]})"
        opening = load_opening(store, one.aggregate["unmask"], plan.groups)
        used = read_vector(store.get(opening.root, f"{name}: its root gradient"), "root gradient")
        parent = load_model(store, one.payload["parent_model"]).parameters
        if table.architecture.size != parent.size:
            raise RootMismatch(f"{name}: the task spec is for another model")
        expected = table.gradient(parent, plan.clip)
        if used.shape != expected.shape or float(np.abs(used - expected).max()) > CLOSE * plan.clip:
            raise RootMismatch(f"{name}: the root gradient is not that of this table")
        found.append(RootAudit(one.id, plan.number))
    if not found:
        raise RootMismatch(f"root table: no plan names it ({table.digest.hex()[:16]}); get the table that was used")
    return found
