"""A whole consortium on this machine, with real processes: the commands that operators type, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from clients.supervision.marked import VARIABLE, mark_of
from clients.supervision.program import Program, Touches
from clients.supervision.status import READY, RUN
from experiments.errors import ExperimentError

CID, BANK, TASK = "sandbox", "bank-1", "credit"
SPEC = Path(__file__).parent / "configs" / "tasks" / "loans.toml"
_STEP_S, _POLL_S = 300.0, 0.2

Say = Callable[[str], None]


class SandboxFailed(ExperimentError):
    """A step of the sandbox did not do what it is there for; the message is the step's own."""

    exit_code = 1


@dataclass(frozen=True)
class Sandbox:
    """Where everything is, and what runs.

    Attributes:
        home: the folder of all homes.
        firms: ids.
    """

    home: Path
    firms: tuple[str, ...]

    @property
    def coordinator(self) -> Path:
        return self.home / "coordinator"

    def member(self, name: str) -> Path:
        """A member's home."""
        return self.home / name

    @property
    def tables(self) -> Path:
        return self.home / "tables"

    def programs(self, python: str = sys.executable) -> list[Program]:
        """`coordinator up` and each `firm up`, which waits until the firm has joined."""

        def up(name: str, home: Path, role: str, *after: Path) -> Program:
            command = (python, "-m", "artesian", role, "up", "--home", str(home), "--log-format", "json")
            # The set below is ready in its own time: it has time-outs of its own.
            return Program(
                name,
                command,
                ready=Touches(home / RUN / READY),
                environment={"OMP_NUM_THREADS": "1"},
                ready_within_s=600,
                stop_within_s=60,
                after=after,
            )

        coordinator = up("coordinator", self.coordinator, "coordinator")
        firms = [up(firm, self.member(firm), "firm", self.member(firm) / "firm.toml") for firm in self.firms]
        return [coordinator, *firms]


@dataclass
class Commands:
    """Runs `artesian` commands as an operator would, each shown before.

    Attributes:
        say: shows a line.
        environment: of each.
    """

    say: Say
    environment: Mapping[str, str]
    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, *words: str | Path) -> dict[str, Any]:
        """Run `artesian WORDS --json`; returns its document.

        Raises:
            SandboxFailed: it did not answer yes.
        """
        self.say(f"$ artesian {' '.join(_shown(str(word)) for word in words)}")
        return self.quietly("-m", "artesian", *words, "--json")

    def quietly(self, *words: str | Path) -> dict[str, Any]:
        """Run Python with these words; returns the JSON document that it prints."""
        command = [sys.executable, *map(str, words)]
        with self._lock:
            if self._stopped:
                raise SandboxFailed("stopped before the round was trained")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=dict(self.environment),
            )
            self._running.add(process)
        try:
            output, trouble = process.communicate(timeout=_STEP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise SandboxFailed(f"{' '.join(map(str, words))}: no end after {_STEP_S:g} s") from None
        finally:
            with self._lock:
                self._running.discard(process)
        return _document(words, process.returncode, output, trouble)

    def stop(self) -> None:
        """End what runs, and run nothing more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def found(sandbox: Sandbox, ports: Sequence[int], rounds: int, run: Commands) -> str:
    """Make the coordinator's home, and say in `coordinator.toml` how the task is trained.

    Returns:
        The fingerprint of the CA, which the operator would tell every member by telephone.
    """
    names = ("enrolment", "ledger", "fleet", "scores", "superlink", "metrics", "dashboard")
    words: list[str | Path] = ["coordinator", "init", "--home", sandbox.coordinator, "--cid", CID, "--task", SPEC]
    for firm in sandbox.firms:
        words += ["--firm", firm]
    words += ["--bank", BANK]
    for name, port in zip(names, ports, strict=True):
        words += [f"--{name}-port", str(port)]
    fingerprint = str(run(*words)["authority"])
    path = sandbox.coordinator / "coordinator.toml"
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    document["task"][0] |= TRAINING | {"training": {**TRAINING["training"], "rounds": rounds}}
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    run.say(f"  (edited {path}: how the task is trained)")
    return fingerprint


def deal_out(sandbox: Sandbox, run: Commands) -> dict[str, int]:
    """Write each firm's private table; returns the units that each declares."""
    units = run.quietly("-m", "experiments.sandbox_tables", sandbox.tables, str(len(sandbox.firms)))
    return {firm: int(count) for firm, count in units.items()}


TRAINING: dict[str, Any] = {
    "training": {"rate": 8.0, "momentum": 0.8, "clip": 0.8},
    "privacy": {"mode": "distributed", "epsilon": 3.0, "delta": 1e-5, "colluders": 1},
    "aggregation": {"kind": "masked", "drop_outs": 0},
}
"""As experiments/configs/loans.toml has it; of three firms none may drop out."""


def join_and_train(sandbox: Sandbox, fingerprint: str, units: Mapping[str, int], run: Commands) -> None:
    """Everyone joins, the operator admits them, and one run is trained: while all that is `up` is up.

    Raises:
        SandboxFailed: a command did not do what it is there for.
    """
    joins = [_join(sandbox, name, fingerprint, units) for name in (*sandbox.firms, BANK)]
    with ThreadPoolExecutor(len(joins)) as pool:
        joining = [pool.submit(run, *words) for words in joins]  # each asks, and waits until it is admitted
        asked = [sandbox.member(firm) / "firm.toml" for firm in sandbox.firms]
        asked.append(sandbox.member(BANK) / "connection.toml")
        while not all(path.exists() for path in asked) and not any(one.done() for one in joining):
            time.sleep(_POLL_S)
        founded = False
        while not founded and not any(one.done() and one.exception() for one in joining):
            standing = run("coordinator", "admit", "--all", "--home", sandbox.coordinator)
            founded = bool(standing["founded"] or not standing["missing"])
        for one in joining:
            one.result()
    run("coordinator", "run", TASK, "--wait", "--home", sandbox.coordinator)


def _join(sandbox: Sandbox, name: str, fingerprint: str, units: Mapping[str, int]) -> list[str | Path]:
    invite = sandbox.coordinator / "invites" / f"{name}.txt"
    # What `firm up` runs finishes a firm's joining; a bank runs nothing, so its command waits.
    sure = ["--fingerprint", fingerprint, "--wait-s", "0" if name in units else "120"]
    words: list[str | Path] = [name.split("-")[0], "join", invite, "--home", sandbox.member(name), *sure]
    if name in units:
        words += ["--data", sandbox.tables.resolve() / f"{name}.csv", "--units", str(units[name])]
    return words


def what_next(sandbox: Sandbox, scores: str) -> list[str]:
    """Commands to try, each on a line."""
    coordinator, firm, bank = sandbox.coordinator, sandbox.member(sandbox.firms[0]), sandbox.member(BANK)
    applicant = sandbox.tables / "applicant.json"
    return [
        f"artesian coordinator processes --home {coordinator}",
        f"artesian firm wallet --home {firm}",
        f"artesian firm status --home {firm}",
        f"artesian bank score --home {bank} --address {scores} --features {applicant}",
        f"artesian coordinator run {TASK} --wait --home {coordinator}",
        f"artesian sandbox down --home {sandbox.home}",
    ]


def story_environment(environment: Mapping[str, str], token: str) -> dict[str, str]:
    """Of the commands: what they start belongs to the sandbox's supervisor and ends with it."""
    return {**environment, VARIABLE: mark_of(token, "story"), "OMP_NUM_THREADS": "1"}


def timed(clock: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """Seconds since now."""
    began = clock()
    return lambda: round(clock() - began, 1)


def _document(words: Sequence[str | Path], code: int, output: str, trouble: str) -> dict[str, Any]:
    last = (trouble.strip().splitlines() or ["it said nothing"])[-1]
    try:
        document = json.loads(output)
    except ValueError:
        document = None
    if code != 0 or not isinstance(document, dict):
        problem = document.get("problem") if isinstance(document, dict) else None
        raise SandboxFailed(f"{' '.join(map(str, words))}: ended with {code}: {problem or last}")
    return document


def _shown(word: str) -> str:
    return word if word.replace("-", "").replace("/", "").replace(".", "").isalnum() else f"'{word}'"
