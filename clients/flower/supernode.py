"""`python -m clients.flower.supernode --home FIRM`: Flower's SuperNode, which only ever calls the coordinator.

It holds messages for the executor, on a Unix socket of its home, and runs nothing itself. Other than Flower's own it
takes leave for one before it that was killed (whose key is refused for `2 * HEARTBEAT_S` otherwise), tries again until
its key is accepted, asks often while there is something to do and seldom when there is not, and takes nothing from a
run's bundle, not even its configuration.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, cast

from clients.connection import NODE_KEY, Connection, load_connection
from clients.errors import ClientError
from clients.flower import former_node
from clients.flower.node_home import HEARTBEAT_S, NodeHome
from clients.flower.own_socket import listen_at
from clients.flower.retrying import retry_sooner
from clients.process_log import log_to_stderr
from clients.process_start import start_lightly
from ledger.whole_file import write_whole

QUICKEST_S, SLOWEST_S = 0.2, 3.0
"""Between two questions for messages: just after one, and when there has been none for long."""
REPLY_POLL_S = 0.05
"""Between two looks for the executor's answer."""

_FLOWER_IDLE_S = 3  # what Flower's loop sleeps when there is no message; it sleeps less only while an answer is awaited
_KEPT_S = 2.0  # a question that took longer was kept waiting for its answer
_SLOWING = 10  # the pause is so many times shorter than the time without a message
_FIRST_RETRY_S, _LONGEST_RETRY_S = 2.0, 10.0
_STATUS = "supernode.json"

log = logging.getLogger("artesian.supernode")


class NotAccepted(ClientError):
    """The coordinator does not let this SuperNode in: its key is not registered, or still counts as connected."""

    exit_code = 3


@dataclass(frozen=True)
class NodeStatus:
    """`run/supernode.json`: how the SuperNode stands with the coordinator.

    Attributes:
        connected: whether it is let in.
        since_s: of that, seconds since 1970.
        detail: why not, for people.
    """

    connected: bool
    since_s: float
    detail: str = ""


class Pace:
    """Stands in for the module `time` in Flower's loop: how long it sleeps hangs on when there was something to do.

    Args:
        sleep, clock: of the real module.
    """

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep, self._clock = sleep, clock
        self._busy_s = self._woke_s = clock()

    def sleep(self, seconds: float) -> None:
        """Sleep instead of `seconds`."""
        now_s = self._clock()
        if seconds < _FLOWER_IDLE_S:
            self._busy_s = now_s
            self._sleep(REPLY_POLL_S)
        elif now_s - self._woke_s >= _KEPT_S:
            self._sleep(REPLY_POLL_S)  # the coordinator keeps the question until there is something: ask again
        else:
            self._sleep(min(SLOWEST_S, max(QUICKEST_S, (now_s - self._busy_s) / _SLOWING)))
        self._woke_s = self._clock()


def serve(home: Path) -> NoReturn:
    """Be the firm's SuperNode until SIGTERM or SIGINT.

    Raises:
        ClientError, KeyFileError: the home cannot be used.
    """
    files, connection = NodeHome(home), load_connection(home)
    if not connection.fleet:
        raise ClientError(f"{home}: connection.toml names no fleet: only firms have a SuperNode")
    os.environ.update(files.environment)
    if connection.proxy:
        os.environ.update(HTTPS_PROXY=connection.proxy, https_proxy=connection.proxy)
    keys = node_keys(home)
    state = adapted_flower()
    _serve_runtime(files, state)
    pause_s, before = _FIRST_RETRY_S, ""
    while True:
        began_s = time.monotonic()
        try:
            _connect(home, connection, keys, state, files)
            why = "the connection ended"
        except NotAccepted as error:
            why = str(error)
        if time.monotonic() - began_s > _LONGEST_RETRY_S:
            pause_s = _FIRST_RETRY_S
        if why != before:
            log.warning("%s; trying again", why)
            write_status(files.run, NodeStatus(False, time.time(), why))
        before = why
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_RETRY_S)


def adapted_flower() -> Any:
    """Flower's modules with our settings, and the state that its two halves share."""
    names = ("supercore.heartbeat", "supernode.fleet_http_connection", "supercore.corestate.in_memory_corestate")
    heartbeat, fleet, state = (import_module(f"flwr.{name}") for name in names)
    loop = import_module("flwr.supernode.start_client_internal")

    from flwr.supercore.logger import FLOWER_LOGGER

    from clients.flower.node_state import AnsweringStates

    FLOWER_LOGGER.setLevel(logging.WARNING)
    FLOWER_LOGGER.propagate = False
    adapted: list[tuple[Any, str, Any]] = [
        (loop, "time", Pace()),
        (loop, "get_fused_config_from_fab", lambda *_: {}),  # what a firm does hangs on no run's words
        (loop, "_pull_and_store_message", fetched_or_failed(loop._pull_and_store_message)),
        (fleet, "flwr_exit", _not_accepted),
        *((module, "HEARTBEAT_DEFAULT_INTERVAL", HEARTBEAT_S) for module in (heartbeat, fleet, state)),
    ]
    retry_sooner()
    for module, name, value in adapted:
        assert hasattr(module, name), f"Flower has no {module.__name__}.{name}"
        setattr(module, name, value)
    return AnsweringStates()


def node_keys(home: Path) -> Any:
    """The SuperNode's key pair.

    Raises:
        KeyFileError: missing, or readable by others.
        ClientError: it is no EC key in OpenSSH's form.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    from ledger.secret_files import read_secret_file

    content = read_secret_file(home / NODE_KEY, "the SuperNode's key")
    try:
        key = load_ssh_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ClientError(f"{home / NODE_KEY}: not an EC private key in OpenSSH's form; join again to have one made")
    return key, key.public_key()


def write_status(folder: Path, status: NodeStatus) -> None:
    """Say how the SuperNode stands, whole or not at all."""
    write_whole(folder / _STATUS, json.dumps(asdict(status)), mode=0o644, durable=False)


def read_status(home: Path) -> NodeStatus | None:
    """How the SuperNode of a home says that it stands; None where it has not said."""
    try:
        return NodeStatus(**json.loads((home / "run" / _STATUS).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _connect(home: Path, connection: Connection, keys: Any, states: Any, files: NodeHome) -> None:
    """Take messages until the connection ends.

    Raises:
        NotAccepted: it could not be made.
    """
    from flwr.common.constant import ISOLATION_MODE_PROCESS
    from flwr.supernode.start_client_internal import start_client_internal

    def connected(node_id: int) -> None:
        former_node.remember(files.folder, node_id)
        write_status(files.run, NodeStatus(True, time.time()))

    states.state().on_connected(connected)
    if (node_id := former_node.gone(files.folder)) is not None:
        former_node.take_leave(connection.fleet, (home / "ca.crt").read_bytes(), keys, node_id)
    start_client_internal(
        state_factory=states,
        server_address=connection.fleet,
        node_config={"home": str(home)},
        root_certificates=(home / "ca.crt").read_bytes(),
        insecure=False,
        authentication_keys=keys,
        isolation=ISOLATION_MODE_PROCESS,
        superexec_auth_secret=files.secret,
        runtime_dependency_install=False,
    )


def _serve_runtime(files: NodeHome, states: Any) -> None:
    """Hand out tasks on a Unix socket, in a thread.

    Raises:
        ClientError: the socket cannot be made.
    """
    import uvicorn
    from flwr.supernode.main import create_app

    from clients.flower.kept_answer import Application
    from clients.flower.node_state import Patient

    try:
        listener = listen_at(files.socket)
    except OSError as error:
        raise ClientError(f"{files.socket}: cannot listen there: {error}") from None
    app = create_app(state_factory=states, superexec_auth_secret=files.secret)
    patient = Patient(cast("Application", app), states.state().has_work)
    config = uvicorn.Config(
        cast("Callable[..., Any]", patient),
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=3600,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True, name="runtime").start()


def fetched_or_failed(fetch: Callable[..., int | None]) -> Callable[..., int | None]:
    """Flower's function, which fails as any other where a message's run is over by then.

    Flower's loop lets such a message be, with its task: a process has taken that already, and waits for what never
    comes, or answers it. Then the loop takes that answer for the next message's, and asks for another one too early.
    """

    def fetched(*, pull_object: Any, confirm_message_received: Any, **named: Any) -> int | None:
        confirm = _failing(confirm_message_received)
        return fetch(pull_object=_failing(pull_object), confirm_message_received=confirm, **named)

    return fetched


def _failing(ask: Callable[..., Any]) -> Callable[..., Any]:
    from flwr.supercore.run import RunNotRunningException

    def asked(*arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except RunNotRunningException:  # a BaseException, which the loop's own clean-up does not see
            raise ClientError("the message's run is over") from None

    return asked


def _not_accepted(_code: int, message: str | None = None, **_: object) -> NoReturn:
    """In place of Flower's exit when no connection can be made, which would end the process."""
    lines = [line for line in (message or "").splitlines() if line][1:]
    raise NotAccepted(f"the coordinator does not accept this SuperNode: {' '.join(lines) or 'no reason given'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    start_lightly()
    from ledger.errors import LedgerError

    parser = argparse.ArgumentParser(prog="python -m clients.flower.supernode")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args(arguments).home.resolve()
    log_to_stderr("supernode")
    try:
        serve(home)
    except (ClientError, LedgerError) as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)


if __name__ == "__main__":
    raise SystemExit(main())
