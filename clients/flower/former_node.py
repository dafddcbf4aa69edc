"""The SuperNode that was here before this one, if its process has certainly ended: the coordinator is told so.

Flower refuses a key while its node counts as connected, which is half a minute after the last word of one that was
killed. Only who knows that the former process is gone may speak for it: it ran since the same boot, in this very
folder, and is no more. A copy of a home elsewhere knows nothing of the kind, and is refused as before.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clients.supervision.marked import started_at
from ledger.whole_file import write_whole

_FILE = "node.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")

log = logging.getLogger("artesian.supernode")


@dataclass(frozen=True)
class _Process:
    """One process, and the folder that it works in."""

    pid: int
    started: int | None
    boot: str
    folder: str


def remember(folder: Path, node_id: int) -> None:
    """Write down that this process is this node now."""
    me = _process(folder, os.getpid())
    # Not durable: after a power cut it says nothing of use.
    write_whole(folder / _FILE, json.dumps({"node": node_id, "process": asdict(me)}), durable=False)


def gone(folder: Path) -> int | None:
    """The node that this folder's former process was; None if there was none, or if it may still be there."""
    try:
        written = json.loads((folder / _FILE).read_text("utf-8"))
        node, former = int(written["node"]), _Process(**written["process"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    here = _process(folder, former.pid)
    if (former.boot, former.folder) != (here.boot, here.folder) or not here.boot:
        return None
    lives = here.started is not None and here.started == former.started and former.pid != os.getpid()
    return None if lives else node


def take_leave(fleet: str, authority: bytes, keys: Any, node_id: int) -> None:
    """Tell the coordinator, in the node's own name, that the node is not connected; if that cannot be said, let it be.

    Args:
        fleet: HOST:PORT.
        authority: the CA certificate, PEM.
        keys: the node's, private and public.
    """
    import httpx
    from flwr.proto.fleet_pb2 import DeactivateNodeRequest
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    version, sign = RuntimeVersionHttpInterceptor(component_name="SuperNode"), NodeAuthHttpInterceptor(*keys)
    try:
        with FleetHttpClient.from_server_address(fleet, False, authority, [version, sign]) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
    except (httpx.HTTPError, RuntimeError, ValueError, OSError) as error:  # it counts as gone already, or will soon
        log.debug("the coordinator was not told that the former SuperNode is gone: %s", error)


def _process(folder: Path, pid: int) -> _Process:
    about = folder.stat()
    try:
        boot = _BOOT.read_text("ascii").strip()
    except OSError:
        boot = ""
    return _Process(pid, started_at(pid), boot, f"{about.st_dev}:{about.st_ino}")
