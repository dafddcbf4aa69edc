"""`artesian coordinator status`: who is there, what goes on, why it waits, and what needs a person."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def status(
    home: Home,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="Between two looks of --watch.", min=0.5)] = 2.0,
    as_json: Json = False,
) -> None:
    """Show processes, ledger, members and tasks, and what is wrong in one sentence each, the worst first.

    Leaves with 0 if all is well, 1 if something needs a person, 3 if there is nothing to reach. In a pipe, --watch
    prints what has changed.
    """
    from ledger.commands.answering import UsageError
    from server.coordinator import Coordinator
    from server.findings import exit_code, findings
    from server.runner_service import flower_control
    from server.status_facts import Looking
    from server.status_view import document, lines

    if watch and as_json:
        raise UsageError("--json prints one document; leave out --watch")
    with Coordinator(home) as coordinator:
        looking = Looking(coordinator, flower_control(coordinator), time.time)
        if watch:
            _watch(looking, every)
            return
        facts = looking.look()
    found = findings(facts)
    if as_json:
        typer.echo(json.dumps(document(facts, found), ensure_ascii=False))
    else:
        for line in lines(facts, found):
            typer.echo(line)
    raise typer.Exit(exit_code(facts, found))


def _watch(looking: object, every_s: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from server.findings import findings
    from server.status_facts import Looking
    from server.status_view import lines

    assert isinstance(looking, Looking)

    def now() -> list[str]:
        facts = looking.look()
        return list(lines(facts, findings(facts)))

    try:
        if sys.stdout.isatty():
            with Live(Text("\n".join(now())), console=Console(highlight=False), auto_refresh=False) as live:
                while True:
                    live.update(Text("\n".join(now())), refresh=True)
                    time.sleep(every_s)
        before: list[str] = []
        while True:
            shown = now()
            for line in shown:
                if line not in before:
                    typer.echo(line)
            before = shown
            time.sleep(every_s)
    except KeyboardInterrupt:
        return
