"""From submitting a statement to its finality by ten witness processes, beside its durability without witnesses.

The ledger is served on loopback by a process of its own; each witness is one more, with its own mirror on disk:
it replays the rules over what is new, makes it durable, and hands in its cosignature. All are the commands that
a consortium runs.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import perf_counter

from experiments.benchmarks.figure import Figure
from experiments.errors import ExperimentError
from ledger.founding import founding_of
from ledger.genesis import Founder, genesis_statements, record
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.note import Vkey
from ledger.service.client import LedgerClient, Placed
from ledger.service.tokens import Identity
from ledger.statement import sign_statement

COMMAND = "artesian bench ledger_quorum"
_CID, _ORIGIN = "quorum", "quorum.example/ledger"
PATIENCE_S = 60.0
_WARM_UP = 5


def run(statements: int = 100, witnesses: int = 10) -> list[Figure]:
    """Submit `statements` statements, one after the other, without witnesses and with them.

    Raises:
        ExperimentError: a process did not come up, or a statement was not final in a minute.
    """
    with tempfile.TemporaryDirectory(prefix="artesian-quorum-") as root:
        world = QuorumWorld(Path(root), [f"firm-{number}" for number in range(1, witnesses + 1)])
        with ExitStack() as running:
            address = running.enter_context(world.serving())
            client = running.enter_context(world.client(address))
            durable_ms = [_submit_ms(world, client, 0.0) for _ in range(_WARM_UP + statements)][_WARM_UP:]
            for member in world.keys:
                running.enter_context(world.witnessing(member, address))
            final_ms = [_submit_ms(world, client, PATIENCE_S) for _ in range(_WARM_UP + statements)][_WARM_UP:]
    beside = {
        "its median": _percentile(final_ms, 50),
        "durable, no witnesses, median": _percentile(durable_ms, 50),
        "durable, no witnesses, p95": _percentile(durable_ms, 95),
    }
    name = f"submit to final, {witnesses} witness processes on loopback, p95"
    return [Figure(name, _percentile(final_ms, 95), "ms", beside, statements, COMMAND)]


@dataclass
class QuorumWorld:
    """Homes of a founded consortium; every member is a witness."""

    root: Path
    members: list[str]
    keys: dict[str, SigningKey] = field(default_factory=dict)
    founding: str = ""

    def __post_init__(self) -> None:
        coordinator = SigningKey.generate()
        self.keys = {member: SigningKey.generate() for member in self.members}
        founders = [Founder(member, "firm", key.public, member) for member, key in self.keys.items()]
        now_s = int(time.time())
        genesis = genesis_statements(_CID, coordinator, founders, min_cohort=1, ts=now_s, entropy=os.urandom)
        self.founding = founding_of(_ORIGIN, genesis).fingerprint
        for name, key in {"sequencer": coordinator, **self.keys}.items():
            (self.root / name).mkdir()
            key.save(self.root / name / "signing.pem")
        with Log.create(self.root / "sequencer" / "ledger.db", _ORIGIN, coordinator, cid=_CID) as log:
            log.append(genesis)

    @property
    def cid(self) -> str:
        """The consortium's id."""
        return _CID

    @property
    def log(self) -> Vkey:
        """The key that the log was founded with."""
        return Vkey.of_log(_ORIGIN, SigningKey.load(self.root / "sequencer" / "signing.pem").public)

    @contextmanager
    def serving(self) -> Iterator[str]:
        with _process("serve", "--home", self.root / "sequencer", "--address", "127.0.0.1:0") as lines:
            yield _line_with(lines, "serving").split()[-1]

    @contextmanager
    def witnessing(self, member: str, address: str) -> Iterator[None]:
        named = ("--member", member, "--address", address, "--founding", self.founding)
        with _process("witness", "--home", self.root / member, *named) as lines:
            _line_with(lines, "cosigned")
            yield

    def client(self, address: str) -> LedgerClient:
        """One that calls as the first member."""
        member, key = next(iter(self.keys.items()))
        return LedgerClient(address, identity=Identity(member, key, _ORIGIN), timeout_s=PATIENCE_S)

    def statement(self) -> bytes:
        member, key = next(iter(self.keys.items()))
        now_s, artifact = int(time.time()), os.urandom(32)
        payload = record("attest", cid=_CID, record_id=os.urandom(16), ts=now_s, subject="batch", artifact=artifact)
        return sign_statement(payload, issuer=member, subject="batch", key=key)


def _submit_ms(world: QuorumWorld, client: LedgerClient, wait_s: float) -> float:
    statement = world.statement()
    began_s = perf_counter()
    [placed] = client.submit([statement], wait_s=wait_s)
    took_ms = (perf_counter() - began_s) * 1000
    if not isinstance(placed, Placed) or (wait_s and placed.receipt is None):
        raise ExperimentError(f"ledger_quorum: a statement was not final within {wait_s:.0f} s: {placed}")
    return took_ms


@contextmanager
def _process(*arguments: object) -> Iterator[queue.Queue[str]]:
    """One of our ledger commands while the block runs; gives the lines that it tells."""
    command = [sys.executable, "-m", "artesian", "ledger", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: deque(map(lines.put, process.stderr or ()), 0), daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(10)


def _line_with(lines: queue.Queue[str], words: str) -> str:
    told: list[str] = []
    end_s = perf_counter() + PATIENCE_S
    while (left_s := end_s - perf_counter()) > 0:
        try:
            told.append(lines.get(timeout=left_s))
        except queue.Empty:
            break
        if words in told[-1]:
            return told[-1]
    raise ExperimentError(f"ledger_quorum: a process did not say {words!r}: {' '.join(told).strip()}")


def _percentile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]
