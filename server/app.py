"""The Flower ServerApp of the coordinator: trains the tasks that the run names, one after the other.

Run config: `home` (the coordinator's directory) and `task` (one name, or several separated by commas; none has the
firms witness the ledger, deletes what `artesian coordinator prune` has recorded, and trains nothing). With `measure`,
an order like `what=evaluation epsilon=0.1` or several separated by commas, the tasks are measured and not trained.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator
from server.errors import ServerError
from server.measuring import Measuring, Order
from server.pruning import prune
from server.rounds import Run
from server.witnessing import witness

HOME_VARIABLE = "ARTESIAN_HOME"
log = logging.getLogger("artesian.coordinator")
app = ServerApp()


class RunConfigInvalid(ServerError):
    """A run whose configuration names no home."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train and publish."""
    home = context.run_config.get("home") or os.environ.get(HOME_VARIABLE)
    tasks = str(context.run_config.get("task") or "")
    orders = [Order.parse(text) for text in str(context.run_config.get("measure") or "").split(",") if text.strip()]
    if not home:
        raise RunConfigInvalid('run config: give home="/path/of/coordinator"')
    with Coordinator(Path(str(home))) as coordinator:
        for name in filter(None, (one.strip() for one in tasks.split(","))):
            for order in orders:
                Measuring(grid, coordinator, name, order, progress=log.info).measure()
            if not orders:
                Run(grid, coordinator, name, progress=log.info).run()
        if not tasks:
            witness(grid, coordinator)
            prune(coordinator, None, time.time)  # what was recorded earlier is final now
