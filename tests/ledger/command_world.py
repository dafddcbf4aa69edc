"""Commands run as a person runs them, on homes that the commands themselves have made."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ledger.commands import app
from ledger.homes import Settings, database_of, log_key_of
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.service.server import serving

MEMBERS = ("firm-1", "firm-2", "firm-3", "bank-1")


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `artesian ledger …`."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def done(*arguments: object) -> str:
    """The standard output of a command that must succeed."""
    code, out, err = run(*arguments)
    assert code == 0, err or out
    return out


def facts(*arguments: object, code: int = 0) -> dict[str, Any]:
    """The JSON document of a command: the only thing on its standard output."""
    got, out, err = run(*arguments, "--json")
    assert got == code, err or out
    document = json.loads(out)
    assert isinstance(document, dict)
    return document


def refused(*arguments: object, code: int = 2) -> str:
    """The one line of a command that must fail with this code; with --json the same is a document."""
    got, out, err = run(*arguments)
    assert (got, out, err.count("\n")) == (code, "", 1), err or out
    return err


class Homes:
    """A founded consortium of three firms and a bank: `coordinator`, and a home for each member."""

    def __init__(self, folder: Path, *init: object, hybrid: bool = False) -> None:
        self.folder = folder
        extra = ["--hybrid"] if hybrid else []
        for name in MEMBERS:
            done("members", "key", "--home", folder / name, "--member", name, "--kind", name.split("-")[0], *extra)
        blocks = "".join((folder / name / "member.toml").read_text() for name in MEMBERS)
        (folder / "members.toml").write_text(blocks)
        self.coordinator = folder / "coordinator"
        settings = ["--home", self.coordinator, "--cid", "c-1", "--members", folder / "members.toml"]
        self.founded = facts("init", *settings, *init)

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    @property
    def founding(self) -> str:
        return str(self.founded["founding"])

    @contextmanager
    def served(self, names: Sequence[str] = MEMBERS) -> Iterator[str]:
        """The address of the running service, when these members have mirrored and cosigned everything."""
        key = SigningKey.load(log_key_of(self.coordinator))
        with serving(Log.open(database_of(self.coordinator), key), key) as server:
            for name in names:
                known = Settings.load(self[name]).founding
                more = [] if known else ["--founding", self.founding]
                done("witness", "--home", self[name], "--address", server.address, "--once", *more)
            yield server.address

    def witness(self) -> None:
        """Let every member cosign what is new, at the address that it knows."""
        for name in MEMBERS:
            done("witness", "--home", self[name], "--once")
