"""Tables of benchmarks: those that ship, and those that a reader puts into the folder that ARTESIAN_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "ARTESIAN_DATA"
SHIPPED = Path(__file__).parent.parent / "datasets"
CONFIGS = Path(__file__).parent.parent / "configs"


def find_table(name: str) -> Path | None:
    """The table of this file name, or None where it is not on this machine."""
    folder = os.environ.get(VARIABLE)
    for place in (Path(folder) if folder else None, SHIPPED):
        if place is not None and (place / name).is_file():
            return place / name
    return None
