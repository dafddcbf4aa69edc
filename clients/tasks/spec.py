"""Task specs: what is learned, from which columns, with which public bins, for which privacy unit.

A spec is a TOML file that every member of a consortium reads and whose hash stands on the ledger. All that
preprocessing needs (bounds, bins, categories, scales) is written in it, so nothing about preprocessing is ever
learned from private data.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clients.errors import ClientError
from clients.tasks.spec_rules import check_spec
from clients.toml_files import SLUG, load_toml, validated

Slug = Annotated[str, Field(pattern=SLUG)]


class TaskSpecInvalid(ClientError):
    """A task spec that cannot be used; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Column(_Part):
    """One column of the private table: its kind, its public bounds or categories, its missing values."""

    name: str
    kind: Literal["number", "category", "flag", "date", "text"]  # text: an identifier, never a feature
    unit: str | None = None  # unit of measure, for people
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] = ()  # the categories; any other value is a violation
    missing: Literal["refused", "allowed"] = "refused"
    missing_values: tuple[str, ...] = ()  # spellings of "missing" besides the empty cell

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "number":
            if self.min is None or self.max is None:
                raise ValueError(f"column {self.name!r}: a number needs public bounds, min and max")
            if not self.min < self.max:
                raise ValueError(f"column {self.name!r}: min must be below max")
        if self.kind == "category" and len(set(self.values)) < 2:
            raise ValueError(f"column {self.name!r}: a category needs at least two values")
        return self


class Derived(_Part):
    """A number computed from other columns of the same record by a public formula."""

    name: str
    op: Literal["ratio", "difference", "sum", "mean", "max", "min", "count_above"]
    of: tuple[str, ...] = Field(min_length=1)
    value: float = 0.0  # the threshold of count_above

    @model_validator(mode="after")
    def _arity(self) -> Self:
        if self.op in ("ratio", "difference") and len(self.of) != 2:
            raise ValueError(f"derived {self.name!r}: {self.op} takes exactly two columns in 'of'")
        return self


class Feature(_Part):
    """One group of public bins; exactly one bin of it is active for a record.

    A number takes `bins` (the inner edges: `edges[i-1] <= x < edges[i]`), a category its own values or the
    `groups` of values named here, a flag nothing, and a `cross` the product of the bins of other features.
    """

    code: Slug
    text: str  # what a person is told when this group costs points
    source: str | None = Field(default=None, alias="from")
    bins: tuple[float, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    cross: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.source is None) == (not self.cross):
            raise ValueError(f"feature {self.code!r}: give either 'from' or 'cross'")
        if any(a >= b for a, b in zip(self.bins, self.bins[1:], strict=False)):
            raise ValueError(f"feature {self.code!r}: bins must increase")
        if self.cross and len(self.cross) < 2:
            raise ValueError(f"feature {self.code!r}: a cross takes at least two features")
        return self


class Trees(_Part):
    """Random oblivious trees that widen a scorecard: each asks `depth` questions about the bins of plain features.

    The trees follow from the spec alone (`clients.tasks.trees`), so all members and banks have the same ones. They are
    public: the seed is fixed before anybody looks at data. To choose among seeds by what records say is tuning, which
    an account of privacy has to pay for as for any other choice made on data.
    """

    count: int = Field(ge=1, le=1000)
    depth: int = Field(ge=1, le=6)
    seed: str = Field(pattern=r"^[ -~]{1,64}$")
    features: tuple[str, ...] = ()  # codes of the plain features that are asked about; none: every one


class Label(_Part):
    """What is predicted for one record: `positive` values mean default, `negative` ones mean paid."""

    column: str
    positive: tuple[str, ...] = Field(min_length=1)
    negative: tuple[str, ...] = Field(min_length=1)
    base_rate: float = Field(gt=0, lt=1)  # public share of positives: the model's offset


class Series(_Part):
    """Daily series of one value, forecast `horizon_days` ahead from the last `lookback_days`."""

    id: str
    date: str
    value: str
    open: str | None = None  # a flag; closed days are neither learned nor judged
    promotion: str | None = None  # a flag known for the whole horizon
    holiday: str | None = None  # a flag known for the whole horizon
    horizon_days: int = Field(default=14, ge=1, le=60)
    lookback_days: int = Field(default=28, ge=14, le=120)
    window_step_days: int = Field(default=7, ge=1)  # between the starts of windows inside one block
    test_days: int = Field(default=84, ge=1)  # set aside at the end of every series, for evaluation
    months: bool = False  # a feature for each month; only where series are longer than a year


class Unit(_Part):
    """The privacy unit: all that one row, entity, block of days of one series, or series contributes."""

    unit: Literal["row", "entity", "block", "series"]
    entity: str | None = None  # the column that names the entity
    max_rows: int = Field(default=1, ge=1)  # at most so many rows of one entity are used
    block_days: int | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.unit == "entity") != (self.entity is not None):
            raise ValueError("privacy: 'entity', the column that names it, belongs to unit 'entity', which needs it")
        if (self.unit == "block") != (self.block_days is not None):
            raise ValueError("privacy: 'block_days' belongs to unit 'block', which needs it")
        if self.unit != "entity" and self.max_rows != 1:
            raise ValueError("privacy: 'max_rows' belongs to unit 'entity'")
        return self

    def words(self, series: Series | None) -> str:
        """The unit as it is told to people."""
        if self.unit == "entity":
            return f"one {self.entity} (at most {self.max_rows} rows)"
        if self.unit == "block" and series is not None:
            return f"{self.block_days} days of one {series.id}"
        if self.unit == "series" and series is not None:
            return f"the whole series of one {series.id}"
        return "one row"


class Model(_Part):
    """The model and its loss. `scorecard` is logistic regression on public bins; its offset is the base rate.

    `gru-quantile` lets a gated recurrent unit read the lookback, beside the columns of `linear-quantile`.
    """

    kind: Literal["scorecard", "mlp", "linear-quantile", "gru-quantile"]
    hidden: tuple[int, ...] = ()
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    smoothing: float = Field(default=0.03, gt=0)  # width of the smoothed pinball loss, in units of the scale

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind in ("mlp", "gru-quantile")) != bool(self.hidden):
            raise ValueError("model: 'hidden' belongs to kind 'mlp' or 'gru-quantile', which needs it")
        if self.kind == "gru-quantile" and len(self.hidden) != 1:
            raise ValueError("model: kind 'gru-quantile' takes one number in 'hidden', the width of its state")
        ordered = all(a < b for a, b in zip(self.quantiles, self.quantiles[1:], strict=False))
        if not ordered or not all(0 < q < 1 for q in self.quantiles) or 0.5 not in self.quantiles:
            raise ValueError("model: quantiles must increase inside (0, 1) and include 0.5")
        return self


class ScoreScale(_Part):
    """Points: `base_score` at `base_odds` (paid : default), `points_to_double` the odds."""

    base_score: float = 600.0
    base_odds: float = Field(default=20.0, gt=0)
    points_to_double: float = Field(default=40.0, gt=0)


class TaskSpec(_Part):
    """A whole task spec. `hash` binds it; the ledger's `task` record carries it."""

    name: Slug
    kind: Literal["credit", "demand"]
    version: int = Field(default=1, ge=1)
    description: str = ""
    privacy: Unit
    model: Model
    column: tuple[Column, ...] = Field(min_length=1)
    derived: tuple[Derived, ...] = ()
    feature: tuple[Feature, ...] = ()
    trees: Trees | None = None
    label: Label | None = None
    series: Series | None = None
    score: ScoreScale = ScoreScale()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_spec(self)
        return self

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the spec's canonical JSON (32 bytes): the same for every spelling of the same spec."""
        document = self.model_dump(mode="json", by_alias=True)
        if self.trees is None:  # a key that came later: specs without it keep the hash that stands on ledgers
            del document["trees"]
        if self.series is not None and not self.series.months:
            del document["series"]["months"]
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).digest()


def load_spec(path: Path) -> TaskSpec:
    """Read and check a task spec.

    Raises:
        TaskSpecInvalid: the file is missing, is not TOML, or breaks a rule; one line says where.
    """
    return load_toml(path, TaskSpec, TaskSpecInvalid)


def parse_spec(document: dict[str, object], where: str) -> TaskSpec:
    """Build a task spec from parsed TOML; `where` names it in errors."""
    return validated(document, TaskSpec, TaskSpecInvalid, where)
