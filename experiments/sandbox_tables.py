"""`python -m experiments.sandbox_tables DIR FIRMS`: real loans dealt out as the private tables of a sandbox's firms.

In a process of its own, so that the one that stays is not as large as what it takes to read a table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from experiments.demo import features_of
from experiments.federation import round_figure, write_table
from experiments.firm_names import firm_names
from experiments.simulation import prepare
from experiments.simulation_config import load_simulation_config

HERE = Path(__file__).parent
CONFIG = HERE / "configs" / "loans.toml"
APPLICANT = "applicant.json"


def write_tables(folder: Path, firms: int) -> dict[str, int]:
    """Write `FIRM.csv` for each, and one applicant that none of them has seen; returns the units to declare."""
    config = load_simulation_config(CONFIG)
    config = config.model_copy(update={"partition": config.partition.model_copy(update={"firms": firms})})
    assert config.data.path is not None
    prepared = prepare(config, CONFIG.parent / config.data.spec, CONFIG.parent / config.data.path)
    folder.mkdir(parents=True, exist_ok=True)
    for firm, part in zip(firm_names(firms), prepared.parts, strict=True):
        write_table(part, folder / f"{firm}.csv")
    applicant = features_of(prepared.task.spec, prepared.held_out, 0)
    (folder / APPLICANT).write_text(json.dumps(applicant, ensure_ascii=False), encoding="utf-8")
    return {
        firm: round_figure(prepared.task.examples(part).units)
        for firm, part in zip(firm_names(firms), prepared.parts, strict=True)
    }


if __name__ == "__main__":
    print(json.dumps(write_tables(Path(sys.argv[1]), int(sys.argv[2]))))
