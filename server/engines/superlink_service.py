"""`python -m server.engines.superlink_service --home HOME`: SuperLink, behind the fence, in one process.

One server with two listeners instead of a proxy beside SuperLink: members come in by `fleet_port`, the processes of
this home by `superlink_port` on loopback, and `server.engines.fence` tells them apart. TLS, SuperNode keys, process
isolation, no telemetry, nothing installed at run time. A renewed certificate is taken up without a restart.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from clients.flower.node_home import LOOPBACK
from clients.process_log import log_to_stderr
from server.engines import EngineError, EngineUnreachable
from server.engines.flower_home import FlowerHome
from server.errors import ServerError
from server.network import Network, load_network

if TYPE_CHECKING:
    from flwr.superlink.config_loader import SuperLinkLifespanConfig

    from server.engines.fence import Fence

MOST_REQUESTS = 512
"""At once; more are answered 503, and come again."""

_LOOK_EVERY_S = 60.0
_BACKLOG = 512

log = logging.getLogger("artesian.superlink")


def serve(home: Path, network: Network) -> None:
    """Run SuperLink until SIGTERM or SIGINT.

    Raises:
        EngineError: the home lacks its certificate.
        EngineUnreachable: a port is taken.
    """
    files = FlowerHome(home, network)
    os.environ.update(files.environment)  # before Flower is imported, which reads it then
    import uvicorn

    for path in (files.authority, files.certificate, files.key):
        if not path.is_file():
            raise EngineError(f"{path}: missing; found the consortium first: artesian coordinator init")
    config = uvicorn.Config(
        app=cast("Callable[..., object]", application(files)),
        ssl_certfile=str(files.certificate),
        ssl_keyfile=str(files.key),
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_REQUESTS,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    config.load()
    assert config.ssl is not None
    threading.Thread(target=follow_certificate, args=(config.ssl, files), daemon=True).start()
    listeners = [_listen(LOOPBACK, network.superlink_port), _listen(network.bind, network.fleet_port)]
    log.info("Fleet API for members on %s port %d", network.bind, network.fleet_port)
    uvicorn.Server(config).run(sockets=listeners)


def application(files: FlowerHome) -> Fence:
    """SuperLink's application behind the fence."""
    from flwr.supercore.logger import FLOWER_LOGGER
    from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
    from flwr.superlink.main import create_app

    from server.engines.fence import Application, Fence
    from server.engines.lighter_state import lighten
    from server.engines.waiting import Waiting

    lighten()
    FLOWER_LOGGER.setLevel(logging.WARNING)  # or a line for every call
    FLOWER_LOGGER.propagate = False
    inner = create_app(_lifespan(files), SuperLinkLifespan)
    return Fence(Waiting(cast("Application", inner)), files.control_secret, files.network.superlink_port)


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


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise EngineUnreachable(f"cannot listen on {host} port {port}: {error.strerror}") from None
    listener.listen(_BACKLOG)
    listener.set_inheritable(False)
    return listener


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m server.engines.superlink_service")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args(arguments).home.resolve()
    log_to_stderr("superlink")
    try:
        serve(home, load_network(home))
    except ServerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
