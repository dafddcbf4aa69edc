"""`firm.toml`: who this firm is, where its tables are, and what it will never agree to. Never leaves the firm."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clients.errors import ClientError
from clients.memory import LEAST_MIB
from clients.size_buckets import bucket, buckets_around
from clients.sql_settings import SqlTable
from clients.tasks.spec import Slug
from clients.toml_files import load_toml
from clients.training_hours import DAYS, TrainingHours

log = logging.getLogger("artesian.firm")
SIMULATION = "simulation"
"""The id of consortia that exist on one machine, for research."""


class FirmConfigInvalid(ClientError):
    """A `firm.toml` that cannot be used; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TaskAtFirm(_Part):
    """A task that this firm takes part in. Paths are relative to the firm's home.

    Its records are in a file, `data`, or in a database, `sql`. Of a database the owner has to name the `dataset`: the
    same records can be asked for in many ways, so that nothing but the owner can say which account of the wallet pays.

    `units` is the number of privacy units that the firm *declares*: a round figure that its operator makes public,
    not a count that a program takes from the data, since an exact count would say something about every unit. A figure
    that is not round is rounded before anything else sees it. Where a plan sums weights it weighs nothing: it sizes
    what a firm may send, and may be larger than the truth.
    """

    name: Slug
    spec: str
    data: str | None = None
    sql: SqlTable | None = None
    dataset: str | None = None  # tables with the same name share one account in the wallet
    units: int = Field(ge=1)

    @field_validator("units")
    @classmethod
    def _is_a_round_figure(cls, units: int) -> int:
        declared = bucket(units)
        if declared != units:
            nearest = " or ".join(map(str, buckets_around(units)))
            log.warning("units: %d tells others too much, %d is declared; write %s", units, declared, nearest)
        return declared

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.data is None) == (self.sql is None):
            raise ValueError(f"task {self.name!r}: give either 'data', a table file, or [task.sql], a url and a query")
        if self.sql is not None and not self.dataset:
            raise ValueError(
                f"task {self.name!r}: name the 'dataset' beside [task.sql]: the wallet's account of these records, the "
                "same name for every query that reads any of them"
            )
        return self

    @property
    def location(self) -> str:
        """Where the records are: the file's path, or the database and a hash of the query; never a password."""
        return self.sql.location if self.sql is not None else str(self.data)


class Raising(_Part):
    """The owner's decision to raise the cap that holds: once from this epsilon to the one that `limits` names.

    It is recorded in the wallet with its reason. Later caps are higher still only by another decision, since then
    another epsilon holds; and where the cap has fallen back to the same one, it rises only for another reason.
    """

    from_epsilon: float = Field(gt=0)
    reason: str = Field(min_length=1, max_length=200)


class Limits(_Part):
    """What the firm insists on; a plan outside is refused and costs nothing."""

    min_cohort: int = Field(default=5, ge=3)
    colluders: int = Field(default=1, ge=0)  # firms that may side with a lying coordinator
    smallest_group: int = Field(default=2, ge=2)  # fewest honest firms whose sum may ever be opened
    aggregation: tuple[Literal["masked", "encrypted", "plain"], ...] = ("masked",)
    key_holders: tuple[Slug, ...] = ()  # who may hold the key of encrypted sums; itself, if it agrees to
    epoch_days: int = Field(default=30, ge=1, le=3650)  # masking secrets that are older are destroyed
    without_privacy: bool = False
    without_ledger: bool = False
    answer_step_s: int = Field(default=0, ge=0, le=3600)  # answers leave after whole steps; 0 at once
    measurements: tuple[Literal["units", "evaluation", "columns", "fairness"], ...] = ()  # what may be measured
    epsilon: float = Field(default=8.0, gt=0)  # the cap over the lifetime of a data set
    delta: float = Field(default=1e-5, gt=0, lt=1)
    raising: Raising | None = None
    epsilon_round: float | None = Field(default=None, gt=0)  # most that one round may cost
    epsilon_year: float | None = Field(default=None, gt=0)  # most that a data set may pay in 365 days
    noise_least: float = Field(default=0.0, ge=0)  # least noise multiplier of a plan with privacy
    hours: str | None = None  # when this firm trains, e.g. "20:00-06:00"; None is always
    days: tuple[str, ...] = DAYS  # on which those hours begin
    time_zone: str = "UTC"  # of hours and days

    @cached_property
    def training_hours(self) -> TrainingHours | None:
        """When this firm trains; None is always."""
        return None if self.hours is None else TrainingHours.read(self.hours, self.days, self.time_zone)

    @model_validator(mode="after")
    def _has_hours_that_can_be(self) -> Self:
        if self.hours is None and self.days != DAYS:
            raise ValueError("limits: days: say at which hours, e.g. hours = '00:00-00:00'")
        try:
            assert self.training_hours is None or self.hours
        except ValueError as error:
            raise ValueError(f"limits: {error}") from None
        return self

    @model_validator(mode="after")
    def _names_whom_it_trusts(self) -> Self:
        if "encrypted" in self.aggregation and not self.key_holders:
            raise ValueError(
                "limits: aggregation 'encrypted' lets whoever holds the key read each update it gets hold of: "
                "name in key_holders whom this firm trusts with that"
            )
        return self


class Machine(_Part):
    """What this firm gives of its machine.

    `memory_mib` is the most that the process of one message may take; None is three quarters of what there is.
    """

    memory_mib: int | None = Field(default=None, ge=LEAST_MIB)


class Experiment(_Part):
    """For research on one machine only: noise from a seed, and if wanted nothing kept on disk.

    Whoever knows the seed can take the noise off, so a seed is accepted in the consortium `SIMULATION` and no other.
    """

    seed: int
    in_memory: bool = False
    gradients: Literal["auto", "opacus"] = "auto"


class MetricsAtFirm(_Part):
    """Where `artesian firm up` answers the firm's own Prometheus: a port on loopback. Without it, nowhere."""

    port: int = Field(ge=1, le=65535)


class FirmConfig(_Part):
    """A whole `firm.toml`.

    `founding` is the fingerprint of the ledger's founding, compared with the other members by another way than the
    network; with it, a ledger that was founded otherwise is refused. Without it that of joining is kept to.
    `wallet` is where the privacy wallet is, relative to the home: homes in several consortia whose tables hold the same
    records name one file.
    """

    member: Slug
    cid: str = Field(min_length=1)
    founding: str | None = None
    wallet: str = "wallet.sqlite"
    task: tuple[TaskAtFirm, ...] = ()
    limits: Limits = Limits()
    metrics: MetricsAtFirm | None = None
    machine: Machine = Machine()
    experiment: Experiment | None = None

    @model_validator(mode="after")
    def _seeds_in_simulations_only(self) -> Self:
        if self.experiment is not None and self.cid != SIMULATION:
            raise ValueError(f"experiment: a seed makes noise predictable: for the consortium {SIMULATION!r} only")
        return self

    @model_validator(mode="after")
    def _each_task_once(self) -> Self:
        names = [task.name for task in self.task]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"task {name!r} is named twice")
        return self


def load_firm_config(path: Path) -> FirmConfig:
    """Read a `firm.toml`.

    Raises:
        FirmConfigInvalid: missing, not TOML, or against the rules; one line says where.
    """
    return load_toml(path, FirmConfig, FirmConfigInvalid)


class _MetricsAlone(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    metrics: MetricsAtFirm | None = None


def metrics_port(home: Path) -> int | None:
    """The port of `[metrics]` in a home's `firm.toml`; None where it names none, or where there is no such file.

    The rest of the file may be wrong: who says that is not who asks for the port.

    Raises:
        FirmConfigInvalid: it is not TOML, or what it says of metrics is wrong.
    """
    path = home / "firm.toml"
    if not path.exists():
        return None
    metrics = load_toml(path, _MetricsAlone, FirmConfigInvalid).metrics
    return None if metrics is None else metrics.port
