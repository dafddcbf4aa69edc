"""The memory of a whole coordinator with many firms that are connected and have nothing to do.

The coordinator is founded and brought up by the commands that operators use: all processes of `artesian coordinator
up`, the supervisor and its guard included. Its founding firms, real ones, train and release a model, so that the score
service has one, and go. Then come the firms that idle: threads of another process that speak Flower's Fleet API, each
with a key, let in, and asking for messages. All the while the metrics are read every few seconds, as Prometheus does.

What is measured is resident memory, from the operating system: added up as it stands, in which libraries that several
processes share count once for each, and by proportional set size, in which they count once.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.flower.node_home import LOOPBACK
from clients.supervision.status import read_status
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.resident import NOTHING, Resident, family, processor_s, resident
from experiments.benchmarks.small_task import SPEC, TASK, table
from experiments.tiny_consortium import COORDINATOR, ConsortiumFailed, Design, TinyConsortium
from server.certificates import AUTHORITY_CERTIFICATE
from server.engines.flower_control import FlowerControl
from server.engines.light_node import LightNode

COMMAND = "artesian bench idle_nodes"
NODES, SECONDS, FOUNDERS = 100, 40.0, 3
_DEADLINE_S, _HEARTBEAT_S, _SCRAPE_S, _SETTLE_S = 1200.0, 600, 5.0, 10.0
_OPENSSH = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
_TRAINING = {
    "training": {"rounds": 1},
    "privacy": {"mode": "distributed", "epsilon": 8.0},
    "aggregation": {"kind": "masked", "deadline_s": 200},
}
_LIMITS = {"min_cohort": 3, "colluders": 0, "epsilon": 200.0, "delta": 1e-5}


def run(nodes: int = NODES, seconds: float = SECONDS) -> list[Figure]:
    """Found a coordinator, measure; train, connect so many nodes, let them idle for so long, and measure again."""
    design = Design(TASK, SPEC, [table(number) for number in range(FOUNDERS)], _TRAINING, _LIMITS, 1)
    with tempfile.TemporaryDirectory() as folder, TinyConsortium(Path(folder), design, _DEADLINE_S) as consortium:
        consortium.found()
        consortium.wait_for(lambda: _all_ready(consortium), "all processes of the coordinator")
        _idle(consortium, _SETTLE_S)
        before = _memory(consortium)
        _train(consortium)
        stop = threading.Event()
        threads = [_node(consortium, number, stop) for number in range(nodes)]
        before_s = _processor_s(consortium)
        _idle(consortium, seconds)
        spent_s = _processor_s(consortium) - before_s
        found, online = _memory(consortium), _online(consortium)
        stop.set()
    for thread in threads:
        thread.join(30)
    return _figures(online, before, found, 60 * spent_s / seconds)


def _figures(online: int, before: dict[str, Resident], found: dict[str, Resident], processor_s: float) -> list[Figure]:
    where, all_of_it = f"{online} idle nodes connected", "all processes of the coordinator"
    was, now = _total(before), _total(found)
    founded = "founded, no model, no node"
    figures = [
        Figure(f"resident memory of {all_of_it}, {where}", now.rss, "MiB", {founded: was.rss}, 1, COMMAND),
        Figure(
            f"the same, what they share counted once (PSS), {where}", now.pss, "MiB", {founded: was.pss}, 1, COMMAND
        ),
        Figure(f"processor time a minute of {all_of_it}, {where}", processor_s, "s", {}, 1, COMMAND),
    ]
    for name, memory in found.items():
        beside = {founded: before.get(name, NOTHING).rss, "PSS": memory.pss}
        figures.append(Figure(f"resident memory of {name}, {where}", memory.rss, "MiB", beside, 1, COMMAND))
    return figures


def _memory(consortium: TinyConsortium) -> dict[str, Resident]:
    """The coordinator's processes by name, and the memory of each."""
    found = dict[str, Resident]()
    for pid, name in _processes(consortium).items():
        found[name] = found.get(name, NOTHING) + resident(pid)
    return found


def _total(found: dict[str, Resident]) -> Resident:
    return sum(found.values(), NOTHING)


def _processor_s(consortium: TinyConsortium) -> float:
    return sum(processor_s(pid) for pid in _processes(consortium))


def _processes(consortium: TinyConsortium) -> dict[int, str]:
    status = read_status(consortium.coordinator)
    if status is None or not status.alive:
        raise ConsortiumFailed("the coordinator is not up any more")
    return family(status.pid, {one.pid: one.name for one in status.programs if one.pid is not None})


def _all_ready(consortium: TinyConsortium) -> bool:
    status = read_status(consortium.coordinator)
    return status is not None and all(one.state == "ready" for one in status.programs)


def _idle(consortium: TinyConsortium, seconds: float) -> None:
    """Read the metrics now and then until so long has passed."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        httpx.get(f"http://{LOOPBACK}:{consortium.network.metrics_port}/metrics", timeout=60).raise_for_status()
        time.sleep(_SCRAPE_S)


def _train(consortium: TinyConsortium) -> None:
    """Have the founding firms train and release a model, which the score service then has; they go afterwards."""
    for firm in consortium.firms:
        consortium.up(firm)
    consortium.wait_for(lambda: all(map(consortium.is_ready, consortium.firms)), "the founding firms")
    order = consortium.order()
    consortium.wait_for(lambda: consortium.outcome(order) is not None, "the run to end", _DEADLINE_S)
    outcome = str(consortium.outcome(order))
    if not outcome.startswith("completed"):
        raise ConsortiumFailed(f"the run: {outcome}")
    for firm in consortium.firms:
        consortium.down(firm)
    consortium.kill(COORDINATOR, "scores")  # it reads a release when it is asked, or when it starts
    consortium.wait_for(lambda: _all_ready(consortium), "the score service")


def _online(consortium: TinyConsortium) -> int:
    return sum(node.online for node in FlowerControl(consortium.coordinator, consortium.network).nodes())


def _node(consortium: TinyConsortium, number: int, stop: threading.Event) -> threading.Thread:
    """A node that is let in and asks for messages until it is stopped."""
    key = ec.generate_private_key(ec.SECP384R1())
    control = FlowerControl(consortium.coordinator, consortium.network)
    control.register(f"idle-{number}", key.public_key().public_bytes(*_OPENSSH))
    thread = threading.Thread(target=_ask, args=(consortium, key, stop), daemon=True)
    thread.start()
    return thread


def _ask(consortium: TinyConsortium, key: ec.EllipticCurvePrivateKey, stop: threading.Event) -> None:
    fleet = f"{LOOPBACK}:{consortium.network.fleet_port}"
    node = LightNode(fleet, consortium.coordinator / AUTHORITY_CERTIFICATE, key, _HEARTBEAT_S)
    while not stop.is_set():
        try:
            node.ask()
        except httpx.HTTPError:  # SuperLink goes first
            time.sleep(1)
    node.close()
