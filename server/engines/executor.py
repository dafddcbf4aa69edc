"""`python -m server.engines.executor --home HOME`: runs the coordinator's ServerApp, one child a run.

It takes no code from SuperLink: what runs is the ServerApp that is installed here, for a bundle of this version only.
A run is long and begins seldom, so what a run imports is imported by its child: the parent stays small.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, NoReturn

from clients.flower.bundle import RUN_CONFIG, installed_bundle
from clients.flower.executor import until_stopped
from clients.flower.flower_api import over_tls
from clients.flower.forking import Executor, Task, TokenBook, fork
from clients.flower.retrying import retry_sooner
from clients.flower.runtime_source import TIMEOUT_S, RuntimeSource
from clients.process_log import log_to_stderr
from clients.process_start import start_lightly
from server.engines import EngineError
from server.engines.flower_home import FlowerHome
from server.engines.programs import EXECUTOR_READY
from server.errors import ServerError
from server.network import Network, load_network

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid

MOST_RUNS = 16
"""At once."""
MOST_SECONDS = 400 * 86400.0
"""A run may train for a year; each of its waits has a deadline of its own."""

POLL_S = 0.5
"""Between two questions for a run; each is a write in SuperLink's database."""

_TASK = "flwr-serverapp"

log = logging.getLogger("artesian.executor")


class BundleOfOthers(EngineError):
    """A run was submitted with another bundle than the installed version's."""


def serve(home: Path, network: Network) -> None:
    """Run ServerApps until SIGTERM or SIGINT."""
    files = FlowerHome(home, network)
    os.environ.update(files.environment)
    superlink = over_tls(files.address, files.authority, TIMEOUT_S)
    source = RuntimeSource(superlink, files.address, files.executor_secret, _TASK)
    executor = Executor(
        source,
        TokenBook(files.folder / "tasks.json"),
        lambda task: fork(lambda: run_task(files, task)),
        most_children=MOST_RUNS,
        most_s=MOST_SECONDS,
        poll_s=POLL_S,
    )
    ready = home / EXECUTOR_READY
    ready.parent.mkdir(mode=0o700, exist_ok=True)
    until_stopped(executor, ready)


def run_task(files: FlowerHome, task: Task) -> NoReturn:
    """Run the installed ServerApp for one task, in this process, which ends with it."""
    runner: Any = import_module("flwr.superlink.runtime.run_serverapp")

    from flwr.server.run_serverapp import run
    from flwr.supercore.logger import FLOWER_LOGGER, mirror_output_to_queue

    from server.app import app

    def run_installed(*, grid: Grid, context: Context, **_: object) -> Context:
        return run(grid, context, "", loaded_server_app=app)

    FLOWER_LOGGER.setLevel(logging.WARNING)
    FLOWER_LOGGER.propagate = False
    adapted = {
        "install_from_fab": lambda content, **_: require_installed(content),
        "get_project_config": lambda _: {"tool": {"flwr": {"app": {"components": {"serverapp": "server.app:app"}}}}},
        "get_fused_config_from_dir": lambda _, overrides: {**RUN_CONFIG, **overrides, "home": str(files.home)},
        "run_": run_installed,
    }
    for name, value in adapted.items():
        assert hasattr(runner, name), f"Flower has no {runner.__name__}.{name}"
        setattr(runner, name, value)
    retry_sooner()
    said: Queue[str | None] = Queue()
    mirror_output_to_queue(said)  # Flower keeps what a run says with the run
    authority = files.authority.read_bytes()
    runner.run_serverapp(files.address, said, task.token, False, authority, runtime_dependency_install=False)
    raise SystemExit(0)


def require_installed(content: bytes) -> None:
    """Insist that a run's bundle is that of the installed version.

    Raises:
        BundleOfOthers: it is not.
    """
    if hashlib.sha256(content).hexdigest() != installed_bundle().sha256:
        raise BundleOfOthers(
            "the run is of another version's app bundle than is installed here; if it was upgraded while it ran, stop "
            "and start artesian coordinator up, and the order is tried again"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    start_lightly()
    parser = argparse.ArgumentParser(prog="python -m server.engines.executor")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args(arguments).home.resolve()
    log_to_stderr("executor")
    try:
        serve(home, load_network(home))
    except ServerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
