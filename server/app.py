"""The Flower ServerApp of the coordinator: trains the tasks that the run names, one after the other.

Run config: `home` (the coordinator's directory) and `task` (one name, or several separated by commas; none has the
firms witness the ledger, deletes what `artesian coordinator prune` has recorded, and trains nothing). With `measure`,
an order like `what=evaluation epsilon=0.1` or several separated by semicolons, the tasks are measured and not trained.
With `ticket`, the run is the runner's, and trains only while its order stands.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator
from server.errors import ServerError
from server.measurement_order import Order
from server.measurement_report import told_of
from server.measuring import Measuring
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
    orders = Order.parse_all(str(context.run_config.get("measure") or ""))
    if not home:
        raise RunConfigInvalid('run config: give home="/path/of/coordinator"')
    ticket, run_id = str(context.run_config.get("ticket") or ""), context.run_id
    with Coordinator(Path(str(home))) as coordinator, ExitStack() as stack:
        ordered: OrderedRun | None = None
        if ticket:
            if "," in tasks or len(orders) > 1:
                raise RunConfigInvalid("run config: a run with a ticket trains one task, or makes one measurement")
            ordered = stack.enter_context(
                OrderedRun(RunOrders(coordinator.store, new_ticket), ticket, run_id, time.time)
            )
        if not coordinator.config.in_memory:
            stack.enter_context(training_alone(coordinator.home))
        for name in filter(None, (one.strip() for one in tasks.split(","))):
            for order in orders:
                _measure(grid, coordinator, name, order, ordered)
            if not orders:
                _train(grid, coordinator, name, ordered)
        if not tasks:
            witness(grid, coordinator)
            prune(coordinator, None, time.time)  # what was recorded earlier is final now


def _train(grid: Grid, coordinator: Coordinator, task: str, ordered: OrderedRun | None) -> None:
    """Train and publish, unless the order's run came to its end and its process before it could say so."""
    if ordered is None:
        Run(grid, coordinator, task, progress=log.info).run()
        return
    run = Run(grid, coordinator, task, progress=log.info, before_round=ordered.before_round, begins=ordered.begins)
    if not run.is_over(ordered.carried_by):
        run.run()


def _measure(grid: Grid, coordinator: Coordinator, task: str, order: Order, ordered: OrderedRun | None) -> None:
    """The same of a measurement."""
    if ordered is None:
        Measuring(grid, coordinator, task, order, progress=log.info).measure()
        return
    measuring = Measuring(grid, coordinator, task, order, progress=log.info, begins=ordered.begins)
    if measuring.is_over(ordered.carried_by):
        ordered.completes(told_of(measuring.measured()))
        return
    ordered.at(f"measuring {order.what}")
    ordered.completes(told_of(measuring.measure()))
