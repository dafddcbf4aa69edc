"""What the coordinator's exporter says: processes, ledger, rounds, refusals, nodes, stores, certificates."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clients.metrics import COMMON, Metric, Reading, Source, Table, home_sources
from clients.migration import state_version
from clients.reasons import pages
from clients.toml_files import load_toml
from ledger.commands.connecting import connected
from ledger.homes import SIGNING_KEY
from ledger.keys import SigningKey
from ledger.rules import COORDINATOR
from ledger.statement import decode_statement
from server.engines.flower_control import FlowerControl
from server.errors import ServerError
from server.ledger_service import LedgerService
from server.network import CONFIG_FILE, Network
from server.progress import progress_of
from server.store import StateStore

ENTRIES = Metric("ledger_entries", "gauge", (), "entries of the ledger")
CHECKPOINT = Metric("ledger_checkpoint_entries", "gauge", (), "entries that its newest checkpoint covers")
FINAL = Metric("ledger_final_entries", "gauge", (), "entries that are final")
WAITING = Metric("ledger_waiting_seconds", "gauge", (), "how long the oldest entry that is not final has waited")
LAG = Metric("ledger_witness_lag_entries", "gauge", ("member",), "entries of the newest checkpoint not cosigned by it")
RECORDS = Metric("ledger_records_total", "counter", ("type",), "entries by their type")
ROUNDS = Metric("rounds_total", "counter", ("task", "outcome"), "rounds on the ledger: opened, aggregated, aborted")
ROUND = Metric("run_round", "gauge", ("task",), "number of the round in the task's last run")
OF_ROUNDS = Metric("run_rounds", "gauge", ("task",), "rounds that this run is to have")
STEP = Metric("run_step_seconds", "gauge", ("task", "step"), "how long the run has been at its present step")
TAKEN_UP = Metric("run_taken_up_total", "counter", ("task",), "how often this run went on after it had stopped")
WAITED_FOR = Metric("run_waits_for_members", "gauge", ("task", "kind"), "members whose answer the run waits for")
DEADLINE = Metric("run_deadline_timestamp_seconds", "gauge", ("task",), "when that wait ends, in seconds since 1970")
REFUSALS = Metric("run_refusals", "gauge", ("task", "code"), "in this run: firms that were not in a round, by code")
FAILURES = Metric("run_failures", "gauge", ("task", "code"), "in this run: rounds that were given up, by code")
LAST_ROUND = Metric("last_round_seconds", "gauge", ("task",), "how long the newest finished round took")
NODES = Metric("flower_nodes", "gauge", ("state",), "SuperNodes: registered, online")
COORDINATOR_METRICS = Table(
    "at the coordinator",
    (
        *COMMON,
        *(ENTRIES, CHECKPOINT, FINAL, WAITING, LAG, RECORDS, ROUNDS),
        *(ROUND, OF_ROUNDS, STEP, TAKEN_UP, WAITED_FOR, DEADLINE, REFUSALS, FAILURES, LAST_ROUND),
        NODES,
    ),
)
_STORES = {
    "artifacts": "artifacts",
    "ledger": "ledger.db",
    "state": "state.db",
    "flower": "flower",
    "releases": "releases",
    "logs": "logs",
}
_OF_RUNS = frozenset({"Aborted", "RunFailed", "NotWitnessed", "HeldBetweenRounds", "Superseded", "Unreachable"})
_OUTCOMES = {"round": "opened", "aggregate": "aggregated", "abort": "aborted"}


def coordinator_sources(home: Path, now: Callable[[], float] = time.time) -> list[Source]:
    """The sources of the coordinator's home. The ledger is asked as a client, so the service has to run."""
    history = _History()
    return [
        *home_sources(home, _STORES),
        Source("ledger", lambda: _ledger(home, history)),
        Source("runs", lambda: _runs(home, now())),
        Source("reports", lambda: _reports(home)),
        Source("superlink", lambda: _nodes(home)),
    ]


class NotMeasurable(ServerError):
    """`coordinator.toml` does not say what there is to measure; the message names the file and the key."""


class _Task(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str


class _Measured(BaseModel):
    """Of `coordinator.toml` what a scrape needs: how tasks are trained it need not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ledger_service: LedgerService = LedgerService()
    network: Network = Network()
    task: tuple[_Task, ...] = ()


def _measured(home: Path) -> _Measured:
    state_version(home)  # files of a later release mean something else
    return load_toml(home / CONFIG_FILE, _Measured, NotMeasurable)


class _History:
    """Counts of the ledger's entries; each is fetched once in the exporter's life."""

    def __init__(self) -> None:
        self._size = 0
        self._types = Counter[str]()
        self._rounds = Counter[tuple[str, str]]()
        self._task_of: dict[bytes, str] = {}

    def follow(self, entries: Callable[[int, int], list[bytes]], size: int) -> None:
        """Count the entries up to `size`."""
        while self._size < size:
            for raw in entries(self._size, size):
                self._count(raw)
                self._size += 1

    def readings(self) -> Iterator[Reading]:
        """The counts."""
        yield from (Reading(RECORDS, count, (kind,)) for kind, count in self._types.items())
        yield from (Reading(ROUNDS, count, labels) for labels, count in self._rounds.items())

    def _count(self, raw: bytes) -> None:
        payload = decode_statement(raw).payload
        kind = payload["t"]
        self._types[kind] += 1
        if kind == "round":
            self._task_of[payload["id"]] = payload["task"]
        if kind in _OUTCOMES:
            task = self._task_of.get(payload["id"] if kind == "round" else payload["round"], "")
            self._rounds[task, _OUTCOMES[kind]] += 1


def _ledger(home: Path, history: _History) -> Iterator[Reading]:
    config = _measured(home)
    address = config.ledger_service.at(config.network.ledger_port)
    with connected(address, home, None, (COORDINATOR, SigningKey.load(home / SIGNING_KEY))) as client:
        health, _ = client.status()
        history.follow(client.entries, health.size)
    yield Reading(ENTRIES, health.size)
    yield Reading(CHECKPOINT, health.checkpoint_size)
    yield Reading(FINAL, health.final_size)
    yield Reading(WAITING, health.waiting_s)
    yield from (Reading(LAG, behind, (member,)) for member, behind in health.behind.items())
    yield from history.readings()


def _runs(home: Path, now_s: float) -> Iterator[Reading]:
    config = _measured(home)
    with StateStore.of_home(home) as store:
        found = [progress_of(store, task.name) for task in config.task]
    for one in found:
        if one is None:
            continue
        task = one.task
        yield Reading(ROUND, one.number, (task,))
        yield Reading(OF_ROUNDS, one.rounds, (task,))
        yield Reading(STEP, max(now_s - one.since_s, 0.0), (task, str(one.step)))
        yield Reading(TAKEN_UP, one.taken_up, (task,))
        if one.waiting is not None:
            yield Reading(WAITED_FOR, len(one.waiting.members), (task, one.waiting.kind))
            yield Reading(DEADLINE, one.waiting.deadline_s, (task,))
        for metric, said in ((REFUSALS, one.refusals), (FAILURES, one.failures)):
            codes = Counter(_label(single.code) for single in said)
            yield from (Reading(metric, count, (task, code)) for code, count in codes.items())


@cache
def _known_codes() -> frozenset[str]:
    return frozenset(page.code for page in pages())


def _label(code: str) -> str:
    """A code that has its page in the catalogue, else `other`: a member chooses its own, and may choose many."""
    known = code.partition("/")[0]
    return known if known.replace(" ", "-") in _known_codes() | _OF_RUNS else "other"


def _reports(home: Path) -> Iterator[Reading]:
    """What the runs have left in `runs/TASK.json`."""
    for path in sorted((home / "runs").glob("*.json")):
        seconds = json.loads(path.read_text(encoding="utf-8")).get("round_s", [])
        if seconds:
            yield Reading(LAST_ROUND, seconds[-1], (path.stem,))


def _nodes(home: Path) -> Iterator[Reading]:
    nodes = FlowerControl(home, _measured(home).network).nodes()
    yield Reading(NODES, len(nodes), ("registered",))
    yield Reading(NODES, sum(node.online for node in nodes), ("online",))
