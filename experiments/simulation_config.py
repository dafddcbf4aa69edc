"""The configuration of a simulation: any table with a task spec, divided among any number of firms."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from clients.toml_files import load_toml
from experiments.errors import ExperimentError
from experiments.partition import Kind
from server.measurement_order import Order
from server.training_config import TrainingConfig


class SimulationConfigInvalid(ExperimentError):
    """A simulation that cannot be run as written; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """The table and its task spec; paths are relative to the configuration file.

    `test_share` of the records (for demand: the spec's `test_days`) are set aside before anything else. With
    `evaluate = "validation"` the test part is not even evaluated: the training part is split again the same way, which
    is what hyper-parameters may be chosen on. `history_days` leaves out what series say before the last so many days
    that are trained on.
    """

    spec: str
    path: str | None = None
    test_share: float = Field(default=0.3, gt=0, lt=1)
    evaluate: Literal["test", "validation"] = "test"
    history_days: int | None = Field(default=None, ge=1)


class Partition(_Part):
    """How the training records are divided among firms."""

    kind: Kind = "dirichlet"
    firms: int = Field(default=8, ge=1, le=10_000)
    alpha: float = Field(default=0.5, gt=0)
    column: str | None = None


class Personal(_Part):
    """Each firm's own models on top of the federated one.

    `own_test_share` of a firm's records are set aside for judging them, before anything is trained (for demand: the
    last days of its own series, which are set aside anyway).
    """

    own_test_share: float = Field(default=0.3, gt=0, lt=1)


class SimulationConfig(TrainingConfig):
    """A whole simulation. `seed` decides everything: the split, the division, noise and rounding."""

    kind: Literal["federation"] = Field(default="federation", exclude=True)
    name: str = "simulation"
    seed: int = Field(default=1, ge=0)
    engine: Literal["in-process", "ray"] = "in-process"
    ledger: bool = True
    baselines: bool = True
    data: Data
    partition: Partition = Partition()
    personal: Personal | None = None
    measure: tuple[Order, ...] = ()  # rounds that measure the released model, each paid for

    def training_only(self) -> TrainingConfig:
        """The part that a coordinator needs."""
        return TrainingConfig(
            training=self.training, privacy=self.privacy, aggregation=self.aggregation, robust=self.robust
        )


class _AnyKind(BaseModel):
    """What every configuration that `artesian simulate` takes has in common."""

    kind: Literal["federation", "privacy-audit"] = "federation"


def kind_of(path: Path) -> str:
    """What a configuration describes: a `federation`, where it does not say, or a `privacy-audit` of some.

    Raises:
        SimulationConfigInvalid: missing, not TOML, or of no kind that there is.
    """
    return load_toml(path, _AnyKind, SimulationConfigInvalid).kind


def load_simulation_config(path: Path) -> SimulationConfig:
    """Read a simulation's configuration.

    Raises:
        SimulationConfigInvalid: missing, not TOML, or against the rules; one line says where.
    """
    return load_toml(path, SimulationConfig, SimulationConfigInvalid)
