"""The Flower ServerApp of the coordinator: trains the tasks that the run names, one after the other.

Run config: `home` (the coordinator's directory) and `task` (one name, or several separated by commas; none has the
firms witness the ledger, deletes what `artesian coordinator prune` has recorded, and trains nothing). With `measure`,
an order like `what=evaluation epsilon=0.1` or several separated by commas, the tasks are measured and not trained.
With `ticket`, the run is the runner's, and trains only while its order stands.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator
from server.errors import ServerError
from server.measuring import Measuring, Order
from server.ordered_run import OrderedRun, training_alone
from server.pruning import prune
from server.rounds import Run
from server.run_orders import RunOrders, new_ticket
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
    ticket, run_id = str(context.run_config.get("ticket") or ""), context.run_id
    with Coordinator(Path(str(home))) as coordinator, ExitStack() as stack:
        before_round: Callable[[int, int], None] = _nothing
        if ticket:
            ordered = OrderedRun(RunOrders(coordinator.store, new_ticket), ticket, run_id, time.time)
            before_round = stack.enter_context(ordered).before_round
        if not coordinator.config.in_memory:
            stack.enter_context(training_alone(coordinator.home))
        for name in filter(None, (one.strip() for one in tasks.split(","))):
            for order in orders:
                Measuring(grid, coordinator, name, order, progress=log.info).measure()
            if not orders:
                Run(grid, coordinator, name, progress=log.info, before_round=before_round).run()
        if not tasks:
            witness(grid, coordinator)
            prune(coordinator, None, time.time)  # what was recorded earlier is final now


def _nothing(_done: int, _total: int) -> None:
    """A run that no runner has ordered is held by nobody."""
