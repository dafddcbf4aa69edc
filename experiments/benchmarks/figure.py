"""One measured figure, and what it was compared with in the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A median over several runs; a mean where its confidence interval stands beside.

    Attributes:
        name: what was measured, in words.
        value: the median, or the mean.
        unit: its unit, such as `ms`, `bytes` or `AUC`.
        beside: {what: value} in the same unit, measured in the same run.
        runs: how many runs the median is over.
        command: what a reader types to measure it again.
    """

    name: str
    value: float
    unit: str
    beside: Mapping[str, float] = field(default_factory=dict)
    runs: int = 1
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """The figure as a JSON object, keys in the order of the attributes."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "beside": dict(self.beside),
            "runs": self.runs,
            "command": self.command,
        }
