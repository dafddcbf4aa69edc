"""Commands run as a person runs them, on homes that the commands themselves have made."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from typer.testing import CliRunner

from ledger.commands import app
from ledger.homes import SETTINGS, Settings, database_of, log_key_of
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.service.limits import Settings as Limits
from ledger.service.server import serving
from ledger.service.tls import ServerTls

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
    """The one line of a command that must fail with this code."""
    got, out, err = run(*arguments)
    assert (got, out, err.count("\n")) == (code, "", 1), err or out
    return err


class Homes:
    """A consortium of three firms and a bank: the home `coordinator`, and one for each member."""

    def __init__(self, folder: Path, sequencer: str = "coordinator") -> None:
        """`sequencer`: the home that serves the log: after a handover it is another than the coordinator's."""
        self.folder = folder
        self.coordinator = folder / sequencer

    @classmethod
    def found(cls, folder: Path, *init: object, hybrid: bool = False) -> Self:
        """Found it; nobody has witnessed anything yet."""
        folder.mkdir(exist_ok=True)
        extra = ["--hybrid"] if hybrid else []
        for name in MEMBERS:
            done("members", "key", "--home", folder / name, "--member", name, "--kind", name.split("-")[0], *extra)
        blocks = "".join((folder / name / "member.toml").read_text() for name in MEMBERS)
        (folder / "members.toml").write_text(blocks)
        homes = cls(folder)
        done("init", "--home", homes.coordinator, "--cid", "c-1", "--members", folder / "members.toml", *init)
        return homes

    @classmethod
    def witnessed(cls, folder: Path) -> Self:
        """Found it, and let every member mirror and cosign the founding; then the service stops."""
        homes = cls.found(folder)
        with homes.served() as address:
            for name in MEMBERS:
                where = ["--home", homes[name], "--address", address, "--founding", homes.founding]
                done("witness", *where, "--once")
            homes.witness()
        return homes

    @classmethod
    def handed_over(cls, folder: Path) -> Self:
        """Hand the log over to the home `sequencer`; all have cosigned that. What was said is in `start.txt`."""
        homes = cls.witnessed(folder)
        sequencer, proposal = folder / "sequencer", folder / "handover.proposal"
        done("handover", "propose", "--home", homes["firm-1"], "--to", sequencer, "--out", proposal)
        for name in MEMBERS[:3]:
            done("handover", "approve", proposal, "--home", homes[name], "--yes")
        started = done("handover", "start", proposal, "--home", homes["firm-1"], "--to", sequencer)
        (folder / "start.txt").write_text(started)
        after = cls(folder, "sequencer")
        after.make_final()
        return after

    def copied(self, folder: Path) -> Self:
        """The same in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return type(self)(folder, self.coordinator.name)

    def make_final(self) -> None:
        """Serve, let everybody cosign and learn that it is final, and stop."""
        with self.served(MEMBERS):
            self.witness()
        done("policy", "--home", self.coordinator, "--write")

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    @property
    def founding(self) -> str:
        return Settings.load(self.coordinator).founding

    @contextmanager
    def served(
        self, witnesses: Sequence[str] = (), tls: ServerTls | None = None, limits: Limits | None = None
    ) -> Iterator[str]:
        """The address of the running service, which all members' homes know; some of them witness what is new."""
        key = SigningKey.load(log_key_of(self.coordinator))
        with serving(Log.open(database_of(self.coordinator), key), key, tls=tls, settings=limits or Limits()) as server:
            for home in (self[name] for name in MEMBERS):
                if (home / SETTINGS).exists():
                    (home / SETTINGS).write_text(replace(Settings.load(home), address=server.address).toml())
            self.witness(witnesses)
            yield server.address

    def witness(self, names: Sequence[str] = MEMBERS) -> None:
        """Let members cosign what is new, at the address that they know."""
        for name in names:
            done("witness", "--home", self[name], "--once")
