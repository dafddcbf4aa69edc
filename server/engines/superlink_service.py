"""`python -m server.engines.superlink_service --home HOME`: SuperLink, behind the fence, in one process.

Two listeners in one loop instead of a proxy beside SuperLink: members come in by `fleet_port`, the processes of this
home by `superlink_port` on loopback. Each has its side of `server.engines.fence` and its own connections, so what
happens at the public one (`server.engines.doorway`) takes no room at the other. TLS, SuperNode keys, process isolation,
no telemetry, nothing installed at run time. A renewed certificate is taken up without a restart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from clients.flower.node_home import LOOPBACK
from clients.process_log import log_to_stderr
from clients.process_start import start_lightly
from ledger.errors import LedgerError
from ledger.service.peers import peers_of_home
from server.engines import EngineError, EngineUnreachable
from server.engines.doorway import Doorway, Strangers
from server.engines.flower_home import FlowerHome
from server.errors import ServerError
from server.network import Network, load_network

if TYPE_CHECKING:
    import uvicorn
    from flwr.superlink.config_loader import SuperLinkLifespanConfig

    from clients.flower.kept_answer import Application
    from server.engines.fence import Fence

_LOOK_EVERY_S = 60.0
_OPEN_FILES = 4096

log = logging.getLogger("artesian.superlink")


def serve(home: Path, network: Network) -> None:
    """Run SuperLink until SIGTERM or SIGINT.

    Raises:
        EngineError: the home lacks its certificate.
        EngineUnreachable: a port is taken.
        BadRevocations: the home lacks its list of revoked certificates.
    """
    files = FlowerHome(home, network)
    os.environ.update(files.environment)  # before Flower is imported, which reads it then
    import uvicorn

    for path in (files.authority, files.certificate, files.key):
        if not path.is_file():
            raise EngineError(f"{path}: missing; found the consortium first: artesian coordinator init")
    strangers = Strangers()
    fence = application(files, strangers)
    inside, outside = _config(fence.inside, files, "on"), _config(fence.outside, files, "off")
    inside.load()
    outside.load()
    assert inside.ssl is not None
    outside.ssl = inside.ssl  # one certificate, renewed once
    threading.Thread(target=follow_certificate, args=(inside.ssl, files), daemon=True).start()
    _allow_files()
    listeners = [
        _listen(LOOPBACK, network.superlink_port, lambda: socket.create_server((LOOPBACK, network.superlink_port))),
        _listen(network.bind, network.fleet_port, lambda: Doorway(network.bind, network.fleet_port, strangers)),
    ]
    log.info("Fleet API for members on %s port %d", network.bind, network.fleet_port)
    servers = [uvicorn.Server(one) for one in (inside, outside)]
    asyncio.run(_until_stopped(servers, listeners))


def _config(app: Application, files: FlowerHome, lifespan: Literal["on", "off"]) -> uvicorn.Config:
    import uvicorn

    return uvicorn.Config(
        app=cast("Callable[..., object]", app),
        interface="asgi3",
        lifespan=lifespan,
        loop="asyncio",  # another loop would accept connections itself, uncounted
        ssl_certfile=str(files.certificate),
        ssl_keyfile=str(files.key),
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


async def _until_stopped(servers: Sequence[uvicorn.Server], listeners: Sequence[socket.socket]) -> None:
    """Serve until a signal comes or one of the servers ends; then all end."""

    def stop() -> None:
        for one in servers:
            one.should_exit = True

    async def run(server: uvicorn.Server, listener: socket.socket) -> None:
        try:
            await server.serve([listener])
        finally:
            stop()

    for one in servers:
        setattr(one, "capture_signals", contextlib.nullcontext)  # noqa: B010 - one's own handlers would replace the other's
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.gather(*(run(*one) for one in zip(servers, listeners, strict=True)))


def _allow_files() -> None:
    """Strangers and members together may hold more files than many systems allow by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def application(files: FlowerHome, strangers: Strangers) -> Fence:
    """SuperLink's application behind the fence."""
    from anyio import to_thread
    from flwr.supercore.constant import NodeStatus
    from flwr.supercore.logger import FLOWER_LOGGER
    from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
    from flwr.superlink.main import create_app

    from server.engines.fence import Fence
    from server.engines.lighter_middleware import lighten_middleware
    from server.engines.lighter_state import lighten
    from server.engines.lost_messages import tell_of_lost_messages
    from server.engines.node_signature import Members
    from server.engines.waiting import Waiting

    lighten()
    tell_of_lost_messages()
    FLOWER_LOGGER.setLevel(logging.WARNING)  # or a line for every call
    FLOWER_LOGGER.propagate = False
    inner = create_app(_lifespan(files), SuperLinkLifespan)
    lighten_middleware(inner)
    states = inner.state.linkstate_factory

    def keys() -> dict[bytes, str]:
        nodes = states.state().get_node_info()
        return {one.public_key: one.name for one in nodes if one.status != NodeStatus.UNREGISTERED}

    peers = peers_of_home(files.home)
    members = Members(lambda: to_thread.run_sync(keys), frozenset if peers is None else peers.shut_out)
    return Fence(Waiting(cast("Application", inner)), files.control_secret, members, strangers.is_member)


def follow_certificate(
    context: ssl.SSLContext, files: FlowerHome, sleep: Callable[[float], None] = time.sleep, rounds: int | None = None
) -> None:
    """Load the certificate again whenever its file has changed; a file that is half of a pair is tried again.

    Args:
        rounds: how often to look; None for ever.
    """
    loaded = files.certificate.stat().st_mtime_ns
    while rounds is None or rounds > 0:
        sleep(_LOOK_EVERY_S)
        rounds = None if rounds is None else rounds - 1
        try:
            now = files.certificate.stat().st_mtime_ns
            if now != loaded:
                context.load_cert_chain(files.certificate, files.key)
                loaded = now
                log.info("took up the renewed certificate")
        except (OSError, ssl.SSLError) as error:
            log.warning("%s: cannot be used (%s); the former one still serves", files.certificate, error)


def _lifespan(files: FlowerHome) -> SuperLinkLifespanConfig:
    from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
    from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
    from flwr.superlink.config_loader import SuperLinkLifespanConfig

    pair = (files.authority, files.certificate, files.key)
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=LOOPBACK,
        port=files.network.superlink_port,
        insecure=False,
        certificates=cast("tuple[bytes, bytes, bytes]", tuple(path.read_bytes() for path in pair)),
        superexec_auth_secret=files.executor_secret,
        authn_plugin=NoOpControlAuthnPlugin(),  # the fence has asked for the home's secret before
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(files.authority),
        ssl_certfile=str(files.certificate),
        ssl_keyfile=str(files.key),
        database=str(files.database),
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )


def _listen(host: str, port: int, made: Callable[[], socket.socket]) -> socket.socket:
    try:
        return made()
    except OSError as error:
        raise EngineUnreachable(f"cannot listen on {host} port {port}: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    start_lightly()
    parser = argparse.ArgumentParser(prog="python -m server.engines.superlink_service")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args(arguments).home.resolve()
    log_to_stderr("superlink")
    try:
        serve(home, load_network(home))
    except (ServerError, LedgerError) as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
