"""Bring a sandbox up: its supervisors in the foreground, and beside them the commands that make it a consortium."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import typer

from clients.supervision.status import SetStatus
from clients.supervision.up import keep_up
from experiments.errors import ExperimentError
from experiments.firm_names import firm_names
from experiments.sandbox import (
    CID,
    TASK,
    Commands,
    Sandbox,
    SandboxFailed,
    deal_out,
    found,
    join_and_train,
    story_environment,
    timed,
    what_next,
)
from ledger.whole_file import write_whole
from server.engines.loopback import free_ports
from server.network import load_network

_DONE = "sandbox.json"


def bring_up(home: Path, firms: int, rounds: int, *, once: bool, verbose: bool, as_json: bool) -> dict[str, Any]:
    """Found (the first time), keep up, join and train (the first time); returns what came of it.

    Raises:
        SandboxFailed: a step failed; everything has ended then.
        AlreadyUp: it is up already.
    """
    story = _Story(home, firms, rounds, once=once, as_json=as_json)
    try:
        story.prepare()
        keep_up(home, story.sandbox.programs(), "text" if verbose else "none", story.begin)
    finally:
        story.end()
    if story.fault is not None:
        raise story.fault
    return story.result


class _Story:
    def __init__(self, home: Path, firms: int, rounds: int, *, once: bool, as_json: bool) -> None:
        self._state, self._once, self._as_json, self._rounds = home / _DONE, once, as_json, rounds
        known = json.loads(self._state.read_text()) if self._state.exists() else {}
        self._trained: bool = known.get("trained", False)
        self._fingerprint: str = known.get("authority", "")
        self.sandbox = Sandbox(home, tuple(known.get("firms", firm_names(firms))))
        self.fault: ExperimentError | None = None
        self.result: dict[str, Any] = {"ok": True, "home": str(home), "firms": list(self.sandbox.firms)}
        self._elapsed = timed()
        self._commands = Commands(self._say, os.environ)
        self._thread: threading.Thread | None = None
        self._beside = ThreadPoolExecutor(1)
        self._units: Future[dict[str, int]] | None = None

    def prepare(self) -> None:
        """Make the coordinator's home, unless it is there."""
        home = self.sandbox.home
        if home.exists() and not home.is_dir():
            raise ExperimentError(f"{home}: is a file; give a folder that is new or empty")
        if not self._state.exists() and home.exists() and any(home.iterdir()):
            raise ExperimentError(f"{home}: is not empty; give a new folder for the sandbox")
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._trained:  # while the coordinator comes up
            self._units = self._beside.submit(deal_out, self.sandbox, self._commands)
        if self._state.exists():
            return
        self._fingerprint = found(self.sandbox, free_ports(7), self._rounds, self._commands)
        self._remember(trained=False)

    def begin(self, status: SetStatus) -> None:
        """The supervisors are there: do the rest in a thread of its own."""
        self._commands.environment = story_environment(os.environ, status.token)
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Nothing of the story goes on after this."""
        self._commands.stop()
        self._beside.shutdown()
        if self._thread is not None:
            self._thread.join()

    def _tell(self) -> None:
        try:
            if self._units is not None:
                join_and_train(self.sandbox, self._fingerprint, self._units.result(), self._commands)
                self._remember(trained=True)
            self._show_end()
        except ExperimentError as error:
            self.fault = error
        except Exception as error:
            self.fault = SandboxFailed(f"the sandbox has a fault: {error!r}")
        if self._once or self.fault is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    def _show_end(self) -> None:
        seconds = self._elapsed()
        network = load_network(self.sandbox.coordinator)
        commands = what_next(self.sandbox, network.address(network.scores_port))
        self.result |= {"consortium": CID, "task": TASK, "seconds": seconds, "next": commands}
        if self._as_json:
            if not self._once:
                typer.echo(json.dumps(self.result))
            return
        typer.echo(f"{len(self.sandbox.firms)} firms and a bank are up, and a round is trained: {seconds} s.")
        if not self._once:
            typer.echo("Try, in another terminal:")
            for command in commands:
                typer.echo(f"  {command}")
            typer.echo("Ctrl-C ends it all.")

    def _remember(self, *, trained: bool) -> None:
        facts = {"firms": self.sandbox.firms, "authority": self._fingerprint, "trained": trained}
        write_whole(self._state, json.dumps(facts))

    def _say(self, line: str) -> None:
        typer.echo(f"[{self._elapsed():5.1f} s] {line}", err=True)
