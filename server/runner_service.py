"""The runner as a process: one a home, a step a second, until it is told to end."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from server.coordinator import CONFIG_FILE, Coordinator, load_coordinator_config
from server.engines.control import Control
from server.enrolment.ledger_access import LedgerAccess
from server.errors import ServerError
from server.roll_call import ByNodes
from server.run_orders import RunOrders, new_ticket
from server.runner import Runner, Surroundings
from server.status_facts import enrolled_in

LOCK = Path("run", "runner.lock")
_STEP_S = 1.0
log = logging.getLogger("artesian.coordinator")


class RunnerRuns(ServerError):
    """Another process is this home's runner."""

    exit_code = 1


def serve(home: Path, stop: threading.Event, now: Callable[[], float] = time.time) -> None:
    """Carry out the home's orders until `stop` is set.

    Raises:
        RunnerRuns: another process does.
        StateUnusable: the orders cannot be read or written.
    """
    with _only_one(home), Coordinator(home) as coordinator:
        ledger = LedgerAccess(home)
        control = flower_control(coordinator)
        orders = RunOrders(coordinator.store, new_ticket)
        runner = Runner(
            orders,
            Surroundings(
                control=control,
                load=lambda: load_coordinator_config(home / CONFIG_FILE),
                firms=ByNodes(control.nodes, lambda: enrolled_in(ledger)),
                now=now,
                home=str(home.resolve()),
            ),
        )
        problem = ""
        while not stop.is_set():
            runner.step()
            said = runner.problem
            if said and said != problem:
                log.warning("%s", said)
            problem = said
            stop.wait(_STEP_S)


def flower_control(coordinator: Coordinator) -> Control:
    """The SuperLink of this home."""
    from server.engines.flower_control import FlowerControl

    return FlowerControl(coordinator.home, coordinator.config.network)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the runner's lock. The kernel lets go of it when the process ends, however that is."""
    path = home / LOCK
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunnerRuns(f"{home}: another process is the runner of this home already") from None
        yield
    finally:
        os.close(descriptor)
