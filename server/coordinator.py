"""The coordinator at home: its configuration, key, ledger, artifacts and tasks, opened from one directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from clients.migration import state_version
from clients.tasks.spec import Slug, TaskSpec, load_spec
from clients.toml_files import load_toml
from ledger.homes import Settings, log_key_of
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.open_ledger import OpenLedger
from ledger.postgresql import is_url
from ledger.store import Store
from ledger.whole_file import write_whole
from server.artifacts import ArtifactStore
from server.errors import ServerError
from server.ledger_service import LedgerService, connect
from server.network import Network
from server.retention import DISPUTE_DAYS, MOST_DAYS, RetentionPolicy
from server.schedule import Patience, Schedule
from server.store import StateStore
from server.training_config import TrainingConfig

if TYPE_CHECKING:
    from ledger.service.served import ServedLedger

LEDGER_FILE = "ledger.db"
SIGNING_KEY = "signing.pem"
CONFIG_FILE = "coordinator.toml"


class CoordinatorConfigInvalid(ServerError):
    """A `coordinator.toml` that cannot be used; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskAtCoordinator(TrainingConfig):
    """A task, how it is trained, and when. `spec` is relative to the coordinator's home."""

    name: Slug
    spec: str
    schedule: Schedule | None = None  # without one it is trained when the operator says so
    firms: int | None = Field(default=None, ge=1)  # fewest that must be connected before a run begins


class Retention(_Part):
    """How many days after its release a round can be recomputed from this store; without it, for ever."""

    days: int = Field(strict=True, ge=DISPUTE_DAYS, le=MOST_DAYS)


class CoordinatorConfig(_Part):
    """A whole `coordinator.toml`."""

    cid: str = Field(min_length=1)
    ledger: bool = True  # False only for simulations, whose firms must allow it
    in_memory: bool = False  # artifacts too: for simulations
    ledger_service: LedgerService | None = None
    retention: Retention | None = None
    network: Network = Network()
    runner: Patience = Patience()
    task: tuple[TaskAtCoordinator, ...] = ()

    @property
    def retention_policy(self) -> RetentionPolicy | None:
        """What may be deleted; None keeps everything."""
        return None if self.retention is None else RetentionPolicy(self.retention.days)


def load_coordinator_config(path: Path) -> CoordinatorConfig:
    """Read a `coordinator.toml`.

    Raises:
        CoordinatorConfigInvalid: missing, not TOML, or against the rules; one line says where.
    """
    return load_toml(path, CoordinatorConfig, CoordinatorConfigInvalid)


class Coordinator:
    """What the coordinator's processes share. Open the ledger in one of them at a time."""

    def __init__(self, home: Path) -> None:
        self.home = home
        state_version(home)  # files of a later release are not for this one to write
        self.config = load_coordinator_config(home / CONFIG_FILE)

    @cached_property
    def key(self) -> SigningKey:
        return SigningKey.load(self.home / SIGNING_KEY)

    @property
    def ledger(self) -> OpenLedger:
        """The consortium's ledger: as it is served, if `[ledger_service]` says so, or opened here."""
        return self.log if self.config.ledger_service is None else self.served

    @cached_property
    def log(self) -> Log:
        """The ledger, opened in this process, which sequences it meanwhile.

        Raises:
            Locked: another process does.
        """
        return Log.open(self.database, SigningKey.load(log_key_of(self.home)))

    @cached_property
    def served(self) -> ServedLedger:
        """The ledger that `artesian ledger serve` has opened.

        Raises:
            Unreachable: it does not answer.
        """
        service, port = self.config.ledger_service or LedgerService(), self.config.network.ledger_port
        return connect(self.home, self.config.cid, service, port, self.key)

    def require_sound(self) -> None:
        """Raise what keeps the served ledger from being used by this process ever again, if anything does."""
        if "served" in self.__dict__:
            self.served.require_sound()

    @property
    def database(self) -> str:
        """Where the ledger's database is: a path, or the URL of a PostgreSQL database."""
        named = Settings.load(self.home).database
        return named if is_url(named) else str(self.home / (named or LEDGER_FILE))

    def read_entries(self) -> list[bytes]:
        """All entries of the ledger; nothing is changed, and no lock taken.

        Raises:
            LedgerError: it cannot be read or reached.
        """
        if self.config.ledger_service is not None:
            return self.served.entries(0, self.served.size)
        database = Store(self.database, read_only=not is_url(self.database))
        try:
            return list(database.entries(0, database.size()))
        finally:
            database.close()

    @cached_property
    def store(self) -> StateStore:
        """The coordinator's own tables; opened when they are first needed."""
        return StateStore(None) if self.config.in_memory else StateStore.of_home(self.home)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        return ArtifactStore(None if self.config.in_memory else self.home / "artifacts")

    def task(self, name: str) -> TaskAtCoordinator:
        """How a task is trained.

        Raises:
            CoordinatorConfigInvalid: there is no such task.
        """
        for task in self.config.task:
            if task.name == name:
                return task
        known = ", ".join(task.name for task in self.config.task) or "none"
        raise CoordinatorConfigInvalid(f"{self.home / CONFIG_FILE}: no task {name!r} (known: {known})")

    def spec(self, name: str) -> TaskSpec:
        """A task's spec."""
        return load_spec(self.home / self.task(name).spec)

    def next_epoch(self, known: int = 0) -> int:
        """A number of masking epoch that was never used before, on disk before it is returned.

        Args:
            known: the highest that is known from elsewhere; the file may be lost, or be another home's.
        """
        path = self.home / "epoch"
        try:
            epoch = max(int(path.read_text(encoding="ascii")) if path.exists() else 0, known) + 1
        except ValueError:
            raise CoordinatorConfigInvalid(
                f"{path}: not a number; write one that is higher than any epoch that the firms have seen"
            ) from None
        write_file(path, f"{epoch}\n".encode())
        return epoch

    def close(self) -> None:
        """Give the ledger and the store back."""
        for name in ("log", "served", "store"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content, mode=0o644)


def write_json(path: Path, document: object) -> bytes:
    """Write a JSON file with sorted keys, whole or not at all; returns its bytes."""
    content = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
    write_file(path, content)
    return content


Progress = Callable[[str], None]
"""Told one line for people after each step of long work."""
