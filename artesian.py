"""The command line: one group of commands per role, imported only when it is used.

Every expected error ends here as one line on standard error (with `--json`: one JSON document on standard output) and
the exit code that its class names: 1 the answer is no, 2 wrong usage or input, 3 a peer could not be reached.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
import typer
from typer.core import TyperGroup

from clients.process_start import start_lightly

# Before anything imports them: Flower sends nothing home and asks for no update, gRPC repeats nothing that we say.
for _name, _value in (
    ("FLWR_TELEMETRY_ENABLED", "0"),
    ("FLWR_DISABLE_UPDATE_CHECK", "1"),
    ("GRPC_VERBOSITY", "NONE"),
):
    os.environ.setdefault(_name, _value)

WRONG_USAGE, INTERRUPTED, BROKEN_PIPE, UNREACHABLE = 2, 130, 141, 3


@dataclass(frozen=True)
class Place:
    """Where a group or a single command is defined, and what the first page of the help says of it.

    `more` adds to the group what its own package does not know.
    """

    module: str
    help: str
    command: str | None = None
    more: Callable[[TyperGroup], None] = lambda _: None


def _audit_rounds_too(ledger: TyperGroup) -> None:
    """Give `artesian ledger audit` the options that recompute a training round, of which the ledger knows nothing."""
    audit = ledger.commands["audit"]
    whole = audit.callback
    assert whole is not None

    def callback(*, round_id: str | None, artifacts: Path | None, **rest: Any) -> None:
        if round_id is None and artifacts is not None:
            raise click.UsageError("--artifacts goes with --round")
        if round_id is None:
            whole(**rest)
            return
        from server.audit_commands import show_round

        home, policy = Path(rest["home"] or ""), rest["policy"]
        show_round(round_id, home, rest["db"], artifacts, Path(policy) if policy else None, rest["as_json"])

    a_round = "Recompute this training round instead, bit for bit: its id, or how it begins, in hexadecimal."
    folder = "With --round: a copy of the artifacts folder. Default: in the home."
    audit.params += [
        typer.core.TyperOption(param_decls=["round_id", "--round"], metavar="ID", help=a_round),
        typer.core.TyperOption(
            param_decls=["artifacts", "--artifacts"], type=click.Path(path_type=Path), metavar="DIR", help=folder
        ),
    ]
    audit.callback = callback


_EXPERIMENTS = "experiments.commands"
PLACES: Mapping[str, Place] = {
    "firm": Place("clients.firm_commands", "Join a consortium, take part in its training, see what privacy is spent."),
    "bank": Place("clients.bank_commands", "Join a consortium, ask for credit scores, and check the answers offline."),
    "coordinator": Place(
        "server.coordinator_commands",
        "Found a consortium, admit its members, run its services, order training, see how all stands.",
    ),
    "ledger": Place(
        "ledger.commands", "Found, run, witness, read and check a consortium's ledger.", more=_audit_rounds_too
    ),
    "audit": Place("server.audit_commands", "Recompute recorded rounds from the ledger and the store, bit for bit."),
    "task": Place("clients.task_commands", "Draft a task spec from a table, or show one."),
    "sandbox": Place("experiments.sandbox_commands", "A whole consortium on this machine, with real processes."),
    "demo": Place(_EXPERIMENTS, "The whole story on real data, on this machine.", "demo"),
    "simulate": Place(_EXPERIMENTS, "Simulate a federation on any table with a task spec.", "simulate"),
    "explain": Place("clients.explain_commands", "Say what an exit code or a reason means, and what to do.", "explain"),
    "version": Place(
        "clients.version_commands", "Show the versions of the program, its messages and homes.", "version"
    ),
    "bench": Place(_EXPERIMENTS, "Measure the project's figures, each beside what it is compared with.", "bench"),
}


class CommandLine(TyperGroup):
    """A group that knows its commands by name and one line, and imports the one that is called."""

    def __init__(self, places: Mapping[str, Place], **settings: Any) -> None:
        self._places = places
        self._loaded: dict[str, click.Command] = {}
        known = {name: click.Command(name, short_help=place.help) for name, place in places.items()}
        super().__init__(commands=known, suggest_commands=False, **settings)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table above, not of the alphabet."""
        return list(self._places)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called, imported now."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and self._load(str(name)), rest

    def _load(self, name: str) -> click.Command:
        if name not in self._loaded:
            self._loaded[name] = self._built(name)
        return self._loaded[name]

    def _built(self, name: str) -> click.Command:
        place = self._places[name]
        group = typer.main.get_group(import_module(place.module).app)
        group.suggest_commands = False  # click does it already
        place.more(group)
        return group if place.command is None else group.commands[place.command]

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Carry out a command line and leave the process."""
        sys.exit(run(sys.argv[1:] if args is None else args))


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"artesian {version('artesian')}")
        context.exit()


app = CommandLine(
    PLACES,
    name="artesian",
    help="Federated learning with privacy for supply chains: firms train together, their data stays where it is.",
    epilog="Example: artesian demo --out artesian-demo\n\n"
    "Example: artesian firm check --spec task.toml --data table.csv\n\n"
    "Exit codes: 0 done, 1 the answer is no, 2 wrong usage or input, 3 a peer could not be reached.",
    no_args_is_help=True,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and leave.",
        )
    ],
    context_settings={"help_option_names": ["--help", "-h"]},
)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; returns the exit code. Only an error that nobody expected comes out of it."""
    try:
        with app.make_context("artesian", list(arguments)) as context:
            app.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    except click.ClickException as error:
        return _say(_usage(error))
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has enough (`… | head`); what is still buffered must not raise again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        expected = _expected(error)
        if expected is None:
            raise
        problem, code = expected
        if "--json" in arguments:
            click.echo(json.dumps({"ok": False, "problem": problem}, ensure_ascii=False))
            return code
        return _say(problem, code)
    return 0


def _say(problem: str, code: int = WRONG_USAGE) -> int:
    click.echo(problem, err=True)
    return code


def _expected(error: Exception) -> tuple[str, int] | None:
    """The line and the exit code of an error that users can cause; None for a fault of ours."""
    from clients.errors import ClientError
    from experiments.errors import ExperimentError
    from ledger.errors import LedgerError
    from server.errors import ServerError

    match error:
        case LedgerError() | ClientError() | ServerError() | ExperimentError():
            return _one_line(str(error)), error.exit_code
        case ConnectionError() | TimeoutError():
            return _one_line(f"cannot be reached: {error}"), UNREACHABLE
        case OSError():
            where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
            return _one_line(f"{where}{error.strerror or error}"), WRONG_USAGE
        case UnicodeError():
            return _one_line(f"a file that should be text in UTF-8 is not: {error}"), WRONG_USAGE
    return None


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = f"{context.command_path}: " if context else ""
    more = f"; see {context.command_path} --help" if context else ""
    return _one_line(f"{where}{error.format_message().rstrip('.')}{more}")


def _one_line(text: str) -> str:
    """Text for a terminal, some of it of others: one line, control and direction characters shown, not obeyed."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))


def main() -> NoReturn:
    """The entry point of the `artesian` script."""
    start_lightly()
    app.main()


if __name__ == "__main__":
    main()
