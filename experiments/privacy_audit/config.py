"""The configuration of a privacy audit: what is audited, under which claims, with which faults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clients.toml_files import load_toml
from experiments.errors import ExperimentError
from experiments.privacy_audit.faults import FaultName, Mode

KIND = "privacy-audit"
Epsilon = Annotated[float, Field(gt=0)]


class AuditConfigInvalid(ExperimentError):
    """An audit that cannot be run as written; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Canaries(_Part):
    """`norm` is a canary's gradient before it is clipped, over the clip: above 1, or a missing clip is not seen."""

    count: int = Field(default=10_000, ge=200, le=1_000_000)
    norm: float = Field(default=4.0, gt=1)


class Subject(_Part):
    """A simulation whose task, table, division and steps are audited; its path is relative to the audit's.

    Runs as the code is are made at each of `epsilons`, runs with a fault at each of `fault_epsilons`. Above 1,
    `applications` rows each of a credit table become one customer's, the privacy unit. `sampling_rate`, `local_steps`
    and `bands` (of correlated noise) are those of the training; `model` changes keys of the task spec's `[model]`.
    """

    simulation: str
    rounds: int = Field(default=4, ge=1, le=1000)
    applications: int = Field(default=1, ge=1, le=100)
    modes: tuple[Mode, ...] = Field(default=("distributed", "local"), min_length=1)
    epsilons: tuple[Epsilon, ...] = (1.0, 3.0, 8.0)
    fault_epsilons: tuple[Epsilon, ...] = (1.0, 8.0)
    faults: tuple[FaultName, ...] = ("half-noise", "no-clip", "wrong-unit", "linear-shares", "missing-share")
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    local_steps: int = Field(default=1, ge=1)
    bands: int = Field(default=1, ge=1)
    model: dict[str, Any] = Field(default_factory=dict)

    @property
    def algorithm(self) -> str:
        """What is unusual about the training, in words."""
        told = [
            str(self.model.get("kind", "")),
            f"sampled {self.sampling_rate:g}" if self.sampling_rate < 1 else "",
            f"{self.local_steps} local steps" if self.local_steps > 1 else "",
            f"{self.bands} bands" if self.bands > 1 else "",
        ]
        return ", ".join(filter(None, told))

    @property
    def steps(self) -> dict[str, Any]:
        """What the training of the simulation is changed to."""
        options = {"sampling_rate": self.sampling_rate, "local_steps": self.local_steps, "bands": self.bands}
        return {"rounds": self.rounds, **options}


class Membership(_Part):
    """A membership inference attack on `models` models of a credit simulation, each of a random half of its records."""

    simulation: str
    models: int = Field(default=128, ge=16, le=100_000)
    epsilons: tuple[Epsilon, ...] = (1.0, 8.0)
    mode: Mode = "distributed"


class PrivacyAuditConfig(_Part):
    """A whole audit.

    `confidence` is that of each bound by itself. Whether a claim holds is judged by a bound that is corrected for how
    many claims are tested (Bonferroni), so that the whole audit errs with a probability of 1 - confidence.
    """

    kind: Literal["privacy-audit"]
    name: str = KIND
    seed: int = Field(default=1, ge=0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    delta: float = Field(default=1e-5, ge=1e-9, lt=1)
    canaries: Canaries = Canaries()
    subject: tuple[Subject, ...] = ()
    membership: Membership | None = None

    @model_validator(mode="after")
    def _has_work(self) -> Self:
        if not self.subject and self.membership is None:
            raise ValueError("give a [[subject]] or a [membership] attack")
        return self


def load_audit_config(path: Path) -> PrivacyAuditConfig:
    """Read an audit's configuration.

    Raises:
        AuditConfigInvalid: missing, not TOML, or against the rules; one line says where.
    """
    return load_toml(path, PrivacyAuditConfig, AuditConfigInvalid)
