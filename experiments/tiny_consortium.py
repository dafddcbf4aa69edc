"""A small consortium of real processes, founded and joined by operators' commands, whose processes can be killed.

For tests and benchmarks. Its id is that of research on one machine, so that a seed in `firm.toml` makes noise the same
in each run: what it trains can be held against the same federation in one process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import tomli_w

from clients.connection import CONNECTION
from clients.data import Table
from clients.firm_config import SIMULATION
from clients.homes import FIRM_CONFIG
from clients.supervision.marked import kill_all, marked, started_at
from clients.supervision.status import read_status
from experiments.errors import ExperimentError
from experiments.federation import round_figure, write_table
from experiments.firm_names import firm_names
from ledger.homes import SETTINGS
from ledger.whole_file import write_whole
from server.coordinator import CONFIG_FILE, Coordinator
from server.engines.loopback import free_ports
from server.network import Network, load_network
from server.progress import TaskProgress, progress_of
from server.run_orders import RunOrders, new_ticket

COORDINATOR = "coordinator"
CHILD = "child"
"""What an executor has forked, in the name of a process: `executor child`."""
_PORTS = ("enrolment", "ledger", "fleet", "scores", "superlink", "metrics", "dashboard")
_COMMAND_S, _STOP_S, _POLL_S = 120.0, 60.0, 0.2


class ConsortiumFailed(ExperimentError):
    """Something of the consortium did not do what it is there for; says what, and what it said."""

    exit_code = 1


@dataclass(frozen=True)
class Design:
    """What is trained, and by whom.

    Attributes:
        task: its name.
        spec: its spec's TOML.
        parts: each firm's table.
        training: `[task.training]` and so on of `coordinator.toml`.
        limits: of every firm.
        seed: of all firms' noise.
        witness_s: how long a round waits for the firms whose witnesses are away; None is what a coordinator has.
        runner: `[runner]` of `coordinator.toml`; None is what a coordinator has.
        banks: who joins beside the firms.
    """

    task: str
    spec: str
    parts: Sequence[Table]
    training: Mapping[str, Any]
    limits: Mapping[str, Any]
    seed: int
    witness_s: float | None = None
    runner: Mapping[str, Any] | None = None
    banks: tuple[str, ...] = ()

    @property
    def firms(self) -> tuple[str, ...]:
        return firm_names(len(self.parts))


class TinyConsortium:
    """The processes of one consortium, from `found` to the end of the context.

    Attributes:
        orders: of its coordinator, read beside it.
    """

    def __init__(self, home: Path, design: Design, deadline_s: float) -> None:
        """In the empty folder `home`; nothing is waited for any longer than `deadline_s` from now."""
        self.home, self.design = home, design
        self.end_s = time.monotonic() + deadline_s
        self._supervisors: dict[str, subprocess.Popen[bytes]] = {}
        self._tokens: set[str] = set()
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._open: Coordinator | None = None

    def __enter__(self) -> TinyConsortium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._remember_tokens()
        for one in self._supervisors.values():
            one.send_signal(signal.SIGTERM)
        for one in self._supervisors.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(60)
        for one in self._supervisors.values():
            if one.poll() is None:
                one.kill()
                one.wait()
        for token in self._tokens:
            kill_all(f"{token}/", 10)
        if self._open is not None:
            self._open.close()

    @property
    def firms(self) -> tuple[str, ...]:
        return self.design.firms

    def member(self, name: str) -> Path:
        """A home."""
        return self.home / name

    @property
    def coordinator(self) -> Path:
        return self.member(COORDINATOR)

    def run(self, *words: str | Path, ok: Collection[int] = (0,)) -> dict[str, Any]:
        """Give `artesian WORDS --json`; returns its document.

        Raises:
            ConsortiumFailed: it left with a code that is not in `ok`.
        """
        command = [sys.executable, "-m", "artesian", *map(str, words), "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment, check=False, timeout=_COMMAND_S
        )
        if done.returncode not in ok:
            raise ConsortiumFailed(
                f"{' '.join(map(str, words))}: ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-2000:]}"
            )
        return dict(json.loads(done.stdout))

    def found(self) -> None:
        """Make all homes, let all join, and keep the coordinator up; no firm is up yet."""
        spec = self.home / f"{self.design.task}.toml"
        spec.write_text(self.design.spec, encoding="utf-8")
        ports = [f"--{name}-port={port}" for name, port in zip(_PORTS, free_ports(len(_PORTS)), strict=True)]
        banks = self.design.banks
        invited = [word for firm in self.firms for word in ("--firm", firm)]
        invited += [word for bank in banks for word in ("--bank", bank)]
        where: list[str | Path] = ["--host", "127.0.0.1", "--cid", SIMULATION, "--task", spec]
        authority = self.run(COORDINATOR, "init", "--home", self.coordinator, *where, *invited, *ports)["authority"]
        self.edit(self.coordinator / CONFIG_FILE, self._say_how_to_train)
        self.up(COORDINATOR)
        self.wait_for(lambda: self.is_ready(COORDINATOR), "the join desk")
        with ThreadPoolExecutor(len(self.firms) + len(banks)) as pool:
            joining = [pool.submit(self._join, place, str(authority)) for place in range(len(self.firms))]
            joining += [pool.submit(self._ask, "bank", bank, str(authority)) for bank in banks]
            asked = [self.member(one) / CONNECTION for one in (*self.firms, *banks)]
            self.wait_for(lambda: all(one.exists() for one in asked) or _any_failed(joining), "all members to ask")
            if not _any_failed(joining):
                self.run(COORDINATOR, "admit", "--all", "--home", self.coordinator)
            for one in joining:
                one.result()

    def _say_how_to_train(self, document: dict[str, Any]) -> None:
        document["task"][0] |= self.design.training
        if self.design.witness_s is not None:
            document["ledger_service"] = {"witness_s": self.design.witness_s}
        if self.design.runner is not None:
            document["runner"] = dict(self.design.runner)

    def _join(self, place: int, authority: str) -> None:
        firm, part = self.firms[place], self.design.parts[place]
        home, table = self.member(firm), self.home / f"{firm}.csv"
        write_table(part, table)
        self._ask("firm", firm, authority, "--data", table, "--units", str(round_figure(part.rows)))
        self.edit(home / FIRM_CONFIG, self._say_what_it_agrees_to)

    def _ask(self, kind: str, name: str, authority: str, *more: str | Path) -> None:
        invite = self.coordinator / "invites" / f"{name}.txt"
        sure = ["--fingerprint", authority, "--wait-s", "100"]
        self.run(kind, "join", invite, "--home", self.member(name), *sure, *more)

    def _say_what_it_agrees_to(self, document: dict[str, Any]) -> None:
        document["limits"] |= self.design.limits
        document["experiment"] = {"seed": self.design.seed}

    def lead(self, firm: str, ledger: int, fleet: int) -> None:
        """Let a firm, before it is `up`, reach ledger and fleet by these ports of this machine."""

        def by_link(document: dict[str, Any]) -> None:
            document["ledger"], document["fleet"] = f"127.0.0.1:{ledger}", f"127.0.0.1:{fleet}"

        def settings(document: dict[str, Any]) -> None:
            document["address"] = f"127.0.0.1:{ledger}"

        self.edit(self.member(firm) / CONNECTION, by_link)
        self.edit(self.member(firm) / SETTINGS, settings)

    @property
    def network(self) -> Network:
        """The coordinator's addresses."""
        return load_network(self.coordinator)

    def edit(self, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a TOML file, as its operator would."""
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        change(document)
        write_whole(path, tomli_w.dumps(document))

    def up(self, name: str) -> None:
        """Give `up` for a home: `coordinator` or a firm's."""
        role = COORDINATOR if name == COORDINATOR else "firm"
        command = [sys.executable, "-m", "artesian", role, "up", "--home", str(self.member(name))]
        with (self.home / f"{name}.log").open("ab") as log:
            self._supervisors[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def down(self, name: str) -> None:
        """Stop what `up` runs for a home, and wait until it has ended."""
        self._remember_tokens()
        supervisor = self._supervisors.pop(name)
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(_STOP_S)

    def wait_for(self, what: Callable[[], bool], words: str, within_s: float = 300.0) -> None:
        """Wait until `what` is true.

        Raises:
            ConsortiumFailed: it is not, within the time or before the deadline of all.
        """
        end_s = min(self.end_s, time.monotonic() + within_s)
        while not what():
            if time.monotonic() > end_s:
                raise ConsortiumFailed(f"the deadline passed: {words}")
            time.sleep(_POLL_S)

    def is_ready(self, name: str) -> bool:
        """Whether a home is up and all that is essential is ready."""
        status = read_status(self.member(name))
        return status is not None and status.alive and status.state == "ready"

    # What is running, and its end.

    def pid(self, name: str, program: str) -> int | None:
        """The process of a home's program, or the newest child of its executor; None where there is none now."""
        status = read_status(self.member(name))
        if status is None or not status.alive:
            return None
        if program == "supervisor":
            return status.pid
        plain, _, child = program.partition(" ")
        found = next((one.pid for one in status.programs if one.name == plain), None)
        if found is None or child != CHILD:
            return found
        return max((one for one in marked(f"{status.token}/{plain}/") if _parent(one) == found), default=None)

    def kill(self, name: str, program: str) -> bool:
        """Kill -9 a process; False where there is none now. A supervisor that is killed is brought `up` again."""
        pid = self.pid(name, program)
        if pid is None:
            return False
        self._remember_tokens()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if program == "supervisor":
            self._supervisors[name].wait()
            self.up(name)
        return True

    def _remember_tokens(self) -> None:
        statuses = (read_status(self.member(name)) for name in self._supervisors)
        self._tokens |= {status.token for status in statuses if status is not None and status.token}

    # What the coordinator's journal says.

    @property
    def _read(self) -> Coordinator:
        if self._open is None:
            self._open = Coordinator(self.coordinator)
        return self._open

    def order(self) -> int:
        """Order the task to be trained; returns the order's number."""
        return int(self.run(COORDINATOR, "run", self.design.task, "--home", self.coordinator)["order"]["number"])

    def progress(self) -> TaskProgress | None:
        """Where the run is."""
        return progress_of(self._read.store, self.design.task)

    def mark(self) -> tuple[object, ...]:
        """What changes with each step that the run journals."""
        now = self.progress()
        if now is None:
            return ()
        return now.number, now.round, now.step, now.contributed, now.answered

    def outcome(self, order: int) -> str | None:
        """How an order ended; None while it has not."""
        found = RunOrders(self._read.store, new_ticket).get(order)
        return None if found is None or found.phase != "ended" else f"{found.outcome}: {found.reason}"


def _any_failed(joining: Sequence[Future[None]]) -> bool:
    return any(one.done() and one.exception() for one in joining)


def _parent(pid: int) -> int | None:
    if started_at(pid) is None:
        return None
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None
