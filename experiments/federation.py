"""A whole federation on one machine: real homes, keys, tables and a ledger for every member, under one directory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from clients.data import Table
from clients.firm import close_firms
from clients.homes import make_home, trust, write_firm_config
from clients.tasks.task import Task
from experiments.errors import ExperimentError
from experiments.firm_names import firm_names
from ledger.genesis import Founder
from ledger.keys import PublicKey
from server.founding import certify_member, found
from server.measurement_order import Order
from server.training_config import TrainingConfig

Engine = Literal["in-process", "ray"]


@dataclass(frozen=True)
class FederatedTask:
    """A task of the federation: `parts` holds the private table of each firm."""

    name: str
    task: Task
    spec_text: str
    parts: Sequence[Table]
    training: TrainingConfig


@dataclass(frozen=True)
class Terms:
    """What is the same for all members of a federation on one machine.

    Attributes:
        seed: makes noise, sampling and rounding reproducible; None uses the secure source.
        ledger: keep the ledger; without it nothing is recorded, for large simulations.
        in_memory: wallets, mirrors and artifacts are not written to disk (simulations without a ledger).
        limits: `[limits]` of every firm.
    """

    cid: str
    min_cohort: int
    seed: int | None
    ledger: bool
    in_memory: bool
    limits: Mapping[str, Any]
    banks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Federation:
    """Where everything lies. `holders` are enrolled as firms, and only hold the keys of encrypted sums."""

    home: Path
    firms: tuple[str, ...]
    banks: tuple[str, ...]
    holders: tuple[str, ...] = ()

    @property
    def coordinator(self) -> Path:
        return self.home / "coordinator"

    def member(self, name: str) -> Path:
        return self.home / ("banks" if name in self.banks else "firms") / name


def build(home: Path, tasks: Sequence[FederatedTask], terms: Terms) -> Federation:
    """Found the consortium and give every firm its tables.

    Raises:
        ExperimentError: the directory is in use.
    """
    if home.exists() and any(home.iterdir()):
        raise ExperimentError(f"{home}: is not empty; give an empty or new directory as --home")
    holders = tuple(sorted({one.training.aggregation.key_holder or "" for one in tasks} - {""}))
    federation = Federation(home, firm_names(len(tasks[0].parts)), terms.banks, holders)
    keys = {name: make_home(federation.member(name)) for name in (*federation.firms, *holders, *terms.banks)}
    for position, firm in enumerate(federation.firms):
        _furnish(federation.member(firm), firm, position, tasks, terms)
    for holder in holders:
        _furnish(federation.member(holder), holder, 0, [], terms)
    policy = found(
        federation.coordinator,
        terms.cid,
        [_founder(name, key, terms.banks) for name, key in keys.items()],
        min_cohort=terms.min_cohort,
        tasks=[_task_entry(one) for one in tasks],
        specs={f"tasks/{one.name}.toml": one.spec_text.encode() for one in tasks},
        ledger=terms.ledger,
        in_memory=terms.in_memory,
    )
    for name in keys:
        trust(federation.member(name), policy)
        if terms.ledger:
            certify_member(federation.coordinator, federation.member(name), name)
    return federation


def _founder(name: str, key: PublicKey, banks: tuple[str, ...]) -> Founder:
    return Founder(name, "bank" if name in banks else "firm", key, name.replace("-", " ").title())


def _task_entry(one: FederatedTask) -> dict[str, Any]:
    entry = {"name": one.name, "spec": f"tasks/{one.name}.toml"}
    return {**entry, **one.training.model_dump(mode="json", exclude_none=True)}


def _furnish(home: Path, firm: str, position: int, tasks: Sequence[FederatedTask], terms: Terms) -> None:
    """Write a firm's tables, task specs and `firm.toml`."""
    entries = []
    for one in tasks:
        table = one.parts[position]
        (home / "tasks").mkdir(exist_ok=True)
        (home / "data").mkdir(exist_ok=True)
        (home / "tasks" / f"{one.name}.toml").write_text(one.spec_text, encoding="utf-8")
        write_table(table, home / "data" / f"{one.name}.csv")
        units = round_figure(one.task.examples(table).units)
        spec, data = f"tasks/{one.name}.toml", f"data/{one.name}.csv"
        entries.append({"name": one.name, "spec": spec, "data": data, "units": units})
    document: dict[str, Any] = {"member": firm, "cid": terms.cid}
    if terms.seed is not None:
        document["experiment"] = {"seed": terms.seed, "in_memory": terms.in_memory}
    write_firm_config(home, {**document, "limits": dict(terms.limits), "task": entries})


def round_figure(count: int) -> int:
    """A number of units as an operator would declare it: two leading digits, one under 100."""
    step = max(10 ** (len(str(count)) - 2), 10 if count >= 10 else 5)
    return int(max(round(count / step) * step, 1))


def write_table(table: Table, path: Path) -> None:
    """Write a checked table as CSV, so that it reads back as the same table."""
    columns = {}
    for name, values in table.columns.items():
        if values.dtype.kind == "M":
            columns[name] = np.datetime_as_string(values, unit="D")
        else:
            columns[name] = values
    pd.DataFrame(columns).to_csv(path, index=False)


def run(
    federation: Federation,
    task: str,
    engine: Engine,
    progress: Callable[[str], None],
    seed: int = 0,
    measure: Sequence[Order] = (),
) -> None:
    """Train a task of the federation to its release, or measure what has been released."""
    from clients.app import app as client_app
    from server.app import app as server_app
    from server.engine import run_in_process, run_ray

    nodes = [{"home": str(federation.member(name))} for name in (*federation.firms, *federation.holders)]
    config = {"home": str(federation.coordinator), "task": task, "measure": "; ".join(one.text() for one in measure)}
    start = run_in_process if engine == "in-process" else run_ray
    with _listening(progress):
        try:
            start(server_app, client_app, nodes, config, seed)
        finally:
            close_firms()


@contextmanager
def _listening(progress: Callable[[str], None]) -> Iterator[None]:
    """Hand what the coordinator logs about its progress to `progress`."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO:
                progress(record.getMessage())

    logger = logging.getLogger("artesian.coordinator")
    handler, level, propagate = Handler(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a library that puts a handler of its own at the root would say everything twice
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
