"""`artesian task`: draft a task spec from a table, or show one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.whole_file import write_whole

if TYPE_CHECKING:
    from clients.tasks.spec import TaskSpec
    from clients.tasks.trees import PublicTrees

app = typer.Typer(
    no_args_is_help=True,
    help="Draft a task spec from a table, or show one.",
    epilog="Example: artesian task draft table.csv --label defaulted --out task.toml",
)


@app.command(epilog="Example: artesian task draft table.csv --label defaulted --out task.toml")
def draft(
    table: Annotated[Path, typer.Argument(help="The table: CSV, ARFF (both also .gz) or Parquet.")],
    label: Annotated[str, typer.Option(help="The column to predict; it has two values.")],
    out: Annotated[Path | None, typer.Option(help="The new spec's file. Default: standard output.")] = None,
    name: Annotated[str | None, typer.Option(help="The task's name. Default: the table's.")] = None,
) -> None:
    """Draft a credit task spec for research. Drafting looks at the data: see the warning in what it writes."""
    from clients.data import read_frame
    from clients.tasks.draft import WARNING, DraftImpossible, draft_credit

    if out is not None and out.exists():
        raise DraftImpossible(f"{out}: is there already; give another --out, or remove it")
    text, notes = draft_credit(read_frame(table), label, name or table.name.split(".")[0], str(table))
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_whole(out, text, mode=0o644)
    for note in notes:
        typer.echo(note, err=True)
    typer.echo(WARNING, err=True)


@app.command(epilog="Example: artesian task show task.toml")
def show(
    spec: Annotated[Path, typer.Argument(help="The task spec, a TOML file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a task spec: columns, features, size of the model, privacy unit, hash.

    The questions of its random trees are in the JSON document.
    """
    facts = describe(spec)
    if as_json:
        typer.echo(json.dumps({"ok": True, **facts}, ensure_ascii=False))
        return
    typer.echo(f"{facts['name']} ({facts['kind']}, version {facts['version']}): {facts['description']}")
    typer.echo(f"Privacy unit: {facts['privacy_unit']}")
    typer.echo(f"Hash: {facts['sha256']}")
    typer.echo(f"Model: {facts['model']}, {facts['inputs']} inputs, {facts['parameters']} parameters")
    typer.echo(f"Columns: {len(facts['columns'])}")
    for column in facts["columns"]:
        typer.echo(f"  {column['name']}: {column['kind']}{column['allowed']}")
    if facts["features"]:
        bins = sum(feature["bins"] for feature in facts["features"])
        typer.echo(f"Features: {len(facts['features'])}, {bins} one-hot columns")
    for feature in facts["features"]:
        typer.echo(f"  {feature['code']}: {feature['text']}, {feature['bins']} bins")
    if facts["trees"]:
        trees = facts["trees"]
        typer.echo(
            f"Public random trees: {trees['count']} of depth {trees['depth']}, {trees['one_hot_columns']} one-hot "
            f"columns, drawn from the seed {trees['seed']!r}; what they ask about: --json"
        )


def describe(path: Path) -> dict[str, Any]:
    """The facts of a task spec that people ask about.

    Raises:
        TaskSpecInvalid: it cannot be used.
    """
    from clients.tasks.credit import CreditTask
    from clients.tasks.spec import load_spec
    from clients.tasks.task import task_for

    spec = load_spec(path)
    task = task_for(spec)
    encoder = task.encoder if isinstance(task, CreditTask) else None
    groups = encoder.groups if encoder is not None else ()
    return {
        "name": spec.name,
        "kind": spec.kind,
        "version": spec.version,
        "description": spec.description,
        "sha256": spec.hash.hex(),
        "privacy_unit": spec.privacy.words(spec.series),
        "model": spec.model.kind,
        "inputs": task.architecture.inputs,
        "parameters": task.architecture.size,
        "one_hot_columns": encoder.width if encoder is not None else 0,
        "columns": [{"name": one.name, "kind": one.kind, "allowed": _allowed(one)} for one in spec.column],
        "features": [{"code": one.code, "text": one.text, "bins": one.width} for one in groups],
        "trees": None if encoder is None or encoder.trees is None else _trees(spec, encoder.trees),
    }


def _trees(spec: TaskSpec, trees: PublicTrees) -> dict[str, Any]:
    assert spec.trees is not None
    return {
        **spec.trees.model_dump(include={"count", "depth", "seed"}),
        "one_hot_columns": trees.width,
        "questions": [[question.text for question in tree] for tree in trees.questions],
    }


def _allowed(column: Any) -> str:
    """What a column may hold, in words; starts with a comma where there is something to say."""
    words = ""
    if column.kind == "number":
        words += f", {column.min:g} to {column.max:g}" + (f" {column.unit}" if column.unit else "")
    if column.values:
        words += f", one of {', '.join(column.values)}"
    return words + (", may be missing" if column.missing == "allowed" else "")
