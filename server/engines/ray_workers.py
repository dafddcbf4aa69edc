"""The Ray engine: nodes are called in Ray worker processes, on this machine or on a cluster.

Flower's `RayBackend` owns the workers; ids, order and contexts are ours (`DirectGrid`), so a run gives the
same bytes here and in process. Flower's whole simulation loop is not used: it polls, draws node ids at
random, and gives a node nothing but a number.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import ServerApp

from server.engines import EngineError, EngineUnreachable
from server.engines.answering import answer, failure, logger
from server.engines.control import RunConfig
from server.engines.grid import DirectGrid, NodeConfig, run_server_app

START_TRIES = 3  # of Ray on this machine


class _Answering:
    """Called by Flower's actor in place of the ClientApp, so that errors become replies in the worker."""

    def __init__(self, client_app: ClientApp) -> None:
        self._client_app = client_app

    def __call__(self, message: Message, context: Context) -> Message:
        return answer(self._client_app, message, context)


def run_ray(
    server_app: ServerApp,
    client_app: ClientApp,
    nodes: Sequence[NodeConfig],
    run_config: RunConfig,
    seed: int = 0,
    *,
    workers: int | None = None,
) -> Context:
    """Run the ServerApp here and the nodes in Ray workers; same arguments and results as `run_in_process`.

    Args:
        server_app: called once, in this process.
        client_app: pickled by reference to its module, so that module must be importable in the workers; what
            it keeps in globals lives as long as a worker and is not tied to a node.
        nodes: one node_config a node, in order of partition id.
        run_config: read by both apps as `context.run_config`.
        seed: decides run and node ids.
        workers: processes, one CPU each; None takes every CPU. With RAY_ADDRESS set, the cluster's.

    Returns:
        The ServerApp's context. Every Ray process that was started here has been stopped.

    Raises:
        EngineError: Ray is missing or already running in this process, or as `run_in_process`.
        EngineUnreachable: Ray did not start, or the cluster does not answer.
        Exception: whatever the ServerApp raises.
    """
    with _backend(client_app, workers) as backend:

        def call_node(message: Message, context: Context) -> tuple[Message, Context]:
            try:
                reply, after = backend.process_message(message, context)
            except Exception as error:  # the worker died: out of memory, a crash in native code
                logger.warning("node %d: its worker failed", context.node_id, exc_info=True)
                return failure(message, ErrorCode.UNKNOWN, f"{type(error)}: the worker failed"), context
            return reply, after

        grid = DirectGrid(nodes, run_config, call_node, seed=seed, workers=backend.num_workers)
        return run_server_app(server_app, grid, run_config)


@contextmanager
def _backend(client_app: ClientApp, workers: int | None) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns at every start
    try:
        import ray
    except ImportError as error:
        raise EngineError("engine: Ray is not installed: pip install 'flwr[simulation]'") from error
    if ray.is_initialized():
        raise EngineError("engine: Ray already runs in this process and would be stopped at the end: shut it down")
    with _python_path_kept(), _at_cluster() if "RAY_ADDRESS" in os.environ else _on_this_machine(workers) as backend:
        app = cast(ClientApp, _Answering(client_app))  # all that the actor does with it is call it
        try:
            backend.build(lambda: app)
            yield backend
        finally:
            backend.terminate()


@contextmanager
def _at_cluster() -> Iterator[Any]:
    try:
        backend = _connected()
    except Exception as error:
        address = os.environ["RAY_ADDRESS"]
        raise EngineUnreachable(
            f"engine: the Ray cluster at RAY_ADDRESS={address} does not answer ({_first_line(error)}): start it, or "
            "unset RAY_ADDRESS to run on this machine"
        ) from error
    yield backend


@contextmanager
def _on_this_machine(workers: int | None) -> Iterator[Any]:
    """A start that fails is tried again: nothing has been computed yet, and Ray gives its processes 30 s at most,
    which is not enough for them on a machine that does much else."""
    for left in reversed(range(START_TRIES)):
        # In /tmp because Ray puts sockets below it and their paths may have 107 bytes at most.
        with tempfile.TemporaryDirectory(prefix="artesian-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
            try:
                backend = _connected(num_cpus=workers or os.cpu_count() or 1, _temp_dir=folder)
            except Exception as error:
                if not left:
                    raise EngineUnreachable(
                        f"engine: Ray did not start in {START_TRIES} tries ({_first_line(error)}): "
                        "try again when the machine has less to do, or use the in-process engine"
                    ) from error
                logger.warning("engine: Ray did not start (%s): trying again", _first_line(error))
                continue
            yield backend
            return


def _connected(**init_args: Any) -> Any:
    import ray
    from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend

    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        config: Any = {"init_args": quiet | init_args, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
        return RayBackend(config)
    except BaseException as error:
        _end_processes(error)
        ray.shutdown()
        raise


def _end_processes(error: BaseException) -> None:
    """End what a start that failed has left: Ray keeps no hold of a node that did not come up, only its frame does."""
    from ray._private.node import Node

    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        if isinstance(node, Node):
            node.kill_all_processes(check_alive=False, wait=True)
            return


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


@contextmanager
def _python_path_kept() -> Iterator[None]:
    """Flower's backend lengthens PYTHONPATH at each start and leaves it so."""
    python_path = os.environ.get("PYTHONPATH")
    try:
        yield
    finally:
        if python_path is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = python_path
