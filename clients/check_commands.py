"""`artesian firm check`: does a table fit its task spec, be it in a file or in a database?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clients.data import TableInvalid
    from clients.firm_config import TaskAtFirm

_EITHER = "give --home, or --spec with --data, or --spec with --sql and --query"


def check(
    spec: Annotated[Path | None, typer.Option(help="The task spec, a TOML file.")] = None,
    data: Annotated[Path | None, typer.Option(help="The private table: CSV, ARFF (both also .gz) or Parquet.")] = None,
    sql: Annotated[str | None, typer.Option(help="A database: postgresql://USER@HOST/DB or sqlite:///FILE.")] = None,
    query: Annotated[str | None, typer.Option(help="The query whose result is the table.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Holds the database's password, mode 0600.")] = None,
    password_env: Annotated[str | None, typer.Option(help="The variable that holds the database's password.")] = None,
    home: Annotated[
        Path | None, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home: check what its firm.toml names.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Of firm.toml only this task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a table against a task spec, before anything is spent: every violation by column and row.

    With --home every table that firm.toml names; with --spec the one that --data, or --sql and --query, name.
    """
    if spec is not None:
        settings = _settings(spec, data, sql, query, password_file, password_env)
        code, facts = _checked(Path(), settings, as_json)
    elif home is not None and data is None and sql is None:
        code, facts = _checked_home(home, task, as_json)
    else:
        raise typer.BadParameter(_EITHER)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    if code:
        raise typer.Exit(code)


def _settings(
    spec: Path,
    data: Path | None,
    sql: str | None,
    query: str | None,
    password_file: Path | None,
    password_env: str | None,
) -> TaskAtFirm:
    from clients.firm_config import FirmConfigInvalid, TaskAtFirm
    from clients.toml_files import validated

    if (data is None) == (sql is None) or (sql is None) != (query is None):
        raise typer.BadParameter(_EITHER)
    document: dict[str, Any] = {"name": "checked", "spec": str(spec), "units": 1, "dataset": "checked"}
    if data is not None:
        document["data"] = str(data)
    else:
        document["sql"] = {"url": sql, "query": query, "password_env": password_env}
        if password_file is not None:
            document["sql"]["password_file"] = str(password_file)
    return validated(document, TaskAtFirm, FirmConfigInvalid, "--sql")


def _checked_home(home: Path, task: str | None, as_json: bool) -> tuple[int, dict[str, Any]]:
    from clients.errors import ClientError
    from clients.firm_config import FirmConfigInvalid, load_firm_config
    from clients.firm_tasks import require_named

    config = load_firm_config(home / "firm.toml")
    if task is not None:
        require_named(config.member, config.task, task)
    if not config.task:
        raise FirmConfigInvalid(f"{home / 'firm.toml'}: there is no [[task]] yet, so there is no table to check")
    codes, tasks = [], []
    for one in (one for one in config.task if task in (None, one.name)):
        try:
            code, facts = _checked(home, one, as_json)
        except ClientError as error:
            code, facts = error.exit_code, {"ok": False, "problem": str(error)}
            if not as_json:
                typer.echo(str(error), err=True)
        codes += [code] if code else []
        tasks.append({"name": one.name, **facts})
    return min(codes, default=0), {"ok": not codes, "member": config.member, "tasks": tasks}


def _checked(home: Path, settings: TaskAtFirm, as_json: bool) -> tuple[int, dict[str, Any]]:
    """The exit code and what there is to tell, told unless it is asked for as JSON."""
    from clients.data import TableInvalid
    from clients.table_report import refusal_facts, table_facts
    from clients.table_source import source_of
    from clients.tasks.spec import load_spec

    source = source_of(home, settings)
    try:
        facts = table_facts(source, load_spec(home / settings.spec))
    except TableInvalid as error:
        if not as_json:
            _show_violations(error)
        return error.exit_code, refusal_facts(error)
    if not as_json:
        _show(facts, source.name, home / settings.spec)
    return 0, facts


def _show(facts: Mapping[str, Any], table: str, spec: Path) -> None:
    typer.echo(f"{table} fits {spec}: {facts['rows']} rows.")
    typer.echo(
        f"Privacy unit: {facts['privacy_unit']}; {facts['units']} units. Declare a round figure, not this count."
    )
    if "classes" in facts:
        typer.echo(f"Classes: {facts['classes']['positive']} positive, {facts['classes']['negative']} negative.")
    else:
        typer.echo(f"Series: {facts['series']}, {facts['from']} to {facts['to']}.")


def _show_violations(error: TableInvalid) -> None:
    for one in error.violations:
        typer.echo(f"{error.where}: {one}", err=True)
    if error.count > 1:
        shown = len(error.violations)
        rest = f"; the first {shown} are shown" if error.count > shown else ""
        typer.echo(f"{error.where}: {error.count} violations{rest}", err=True)
