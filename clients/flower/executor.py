"""`python -m clients.flower.executor --home FIRM`: answers the messages that the firm's SuperNode took in.

It imports the app, and what the firm's tasks train with, once; each message is answered by a child of its own.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from clients.errors import ClientError
from clients.firm_config import FirmConfig, load_firm_config
from clients.flower.flower_api import over_socket
from clients.flower.forking import Executor, Start, Task, TokenBook, fork
from clients.flower.node_home import HEARTBEAT_S, NodeHome
from clients.flower.retrying import retry_sooner
from clients.flower.runtime_source import TIMEOUT_S, RuntimeSource
from clients.homes import FIRM_CONFIG
from clients.memory import limit_memory
from clients.process_log import log_to_stderr
from clients.process_start import start_lightly

_MOST_CHILDREN = 2  # a SuperNode hands out one message at a time; a second covers the one that ends
_STOP_WITHIN_S = 5.0
_TASK = "flwr-clientapp"
IMPORTED_LATE = (  # by libraries, when they first need it: each child would; the rest comes with the app
    "cryptography.hazmat.backends.openssl.backend",
    "encodings.utf_8_sig",
    "httpcore",
    "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
    "sklearn.metrics",
)
_TRAINS_WITH_TORCH = "gru-quantile"  # the other models have closed forms

log = logging.getLogger("artesian.executor")


def serve(home: Path) -> None:
    """Answer messages until SIGTERM or SIGINT.

    Raises:
        ClientError, LedgerError: the home cannot be used.
    """
    files = NodeHome(home)
    os.environ.update(files.environment)
    config = load_firm_config(home / FIRM_CONFIG)
    answer = warmed(home, config)
    source = RuntimeSource(over_socket(files.socket, TIMEOUT_S), "the SuperNode", files.secret, _TASK)
    book = TokenBook(files.folder / "tasks.json")
    start = within_memory(lambda task: answer(files.socket, task), config.machine.memory_mib)
    executor = Executor(source, book, start, most_children=_MOST_CHILDREN)
    until_stopped(executor, files.executor_ready)


def within_memory(answer: Callable[[Task], None], memory_mib: int | None) -> Start:
    """Starts a child that answers a task with so much memory and no more; see `limit_memory`."""

    def start(task: Task) -> int:
        def work() -> None:
            limit_memory(memory_mib)
            answer(task)

        return fork(work)

    return start


def until_stopped(executor: Executor, ready: Path) -> None:
    """Step until a signal says to stop; `ready` is touched before the first step."""
    stopping: list[int] = []
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, _frame: stopping.append(number))
    executor.fail_forgotten()
    ready.touch(mode=0o600)
    while not stopping:
        time.sleep(executor.step())
    executor.stop(_STOP_WITHIN_S)
    ready.unlink(missing_ok=True)


def warmed(home: Path, config: FirmConfig) -> Callable[[Path, Task], None]:
    """Import everything that an answer may need; returns what a child does with a task."""
    runner: Any = import_module("flwr.supernode.runtime.run_clientapp")

    from flwr.supercore.logger import FLOWER_LOGGER

    from clients.app import app
    from clients.disclosure import refuse
    from clients.flower.approvals import Approvals
    from clients.flower.gate import Gate

    FLOWER_LOGGER.setLevel(logging.WARNING)
    FLOWER_LOGGER.propagate = False
    _import_what_trains(home, config)
    approvals = Approvals(home)
    log.info("takes part with app bundle %s (artesian %s)", approvals.installed.sha256, approvals.installed.version)

    from clients.flower.runtime_client import socket_client

    for name in ("install_from_fab", "get_load_client_app_fn", "RuntimeHttpClient"):
        assert hasattr(runner, name), f"Flower has no {runner.__name__}.{name}"
    heartbeat: Any = import_module("flwr.supercore.heartbeat")
    heartbeat.HEARTBEAT_DEFAULT_INTERVAL = HEARTBEAT_S  # as the SuperNode counts
    retry_sooner()

    def answer(socket: Path, task: Task) -> None:
        def connect(*, interceptors: Any, retry_invoker: Any, **_: object) -> Any:
            return socket_client(socket, interceptors, retry_invoker)

        gate = Gate(home, app, refuse, approvals)
        runner.RuntimeHttpClient = SimpleNamespace(from_server_address=connect)
        runner.install_from_fab = lambda content, **_: gate.examine(content)
        runner.get_load_client_app_fn = lambda **_: lambda *_: gate
        runner.run_clientapp("", task.token, insecure=True, runtime_dependency_install=False)

    return answer


def _import_what_trains(home: Path, config: FirmConfig) -> None:
    """Import torch only where a task of this firm needs it: it is by far the largest."""
    from clients.tasks.spec import load_spec

    for late in IMPORTED_LATE:
        import_module(late)

    specs = [load_spec(home / task.spec) for task in config.task]
    if any(spec.model.kind == _TRAINS_WITH_TORCH for spec in specs):
        import opacus
        import torch

        assert opacus.__version__
        torch.set_num_threads(1)  # threads of a parent would be missing in its children


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    start_lightly()
    from clients.disclosure import told
    from ledger.errors import LedgerError

    parser = argparse.ArgumentParser(prog="python -m clients.flower.executor")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args(arguments).home.resolve()
    log_to_stderr("executor", told)
    try:
        serve(home)
    except (ClientError, LedgerError) as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
