"""A served ledger and its witnesses as real processes over TLS: the server is killed at work, and nothing is lost."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import make_certificates

from ledger.audit import audit
from ledger.errors import LedgerError
from ledger.founding import founding_of
from ledger.genesis import Founder, genesis_statements, record
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.receipt import verify_receipt
from ledger.service.client import LedgerClient, Placed, Unreachable
from ledger.service.tls import ClientTls
from ledger.service.tokens import Identity
from ledger.statement import sign_statement
from ledger.store import Store

pytestmark = pytest.mark.integration

CID, ORIGIN = "timber", "ledger.example/timber"
MEMBERS = ("firm-1", "firm-2", "firm-3", "bank-1")
PATIENCE_S = 60


class Processes:
    """Commands of ours in processes of their own, each with the lines that it has told."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen[str]] = []
        self._lines: dict[int, list[str]] = {}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "artesian", "ledger", *map(str, arguments)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self._all.append(process)
        lines = self._lines[process.pid] = []
        threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True).start()
        return process

    def wait_for(self, process: subprocess.Popen[str], words: str) -> str:
        """The first line with these words."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            found = [line for line in self._lines[process.pid] if words in line]
            if found:
                return found[0]
            assert process.poll() is None, self._lines[process.pid]
            time.sleep(0.02)
        raise AssertionError(self._lines[process.pid])

    def end(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.end()


class World:
    """Homes of the sequencer and of four members, founded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "sequencer"
        make_certificates(self.home)
        self.coordinator, self.keys = SigningKey.generate(), {name: SigningKey.generate() for name in MEMBERS}
        self.coordinator.save(self.home / "log.pem")
        founders = [Founder(name, name[:4], key.public, name) for name, key in self.keys.items()]
        genesis = genesis_statements(
            CID, self.coordinator, founders, min_cohort=1, ts=int(time.time()), entropy=os.urandom
        )
        with Log.create(self.home / "ledger.db", ORIGIN, self.coordinator, cid=CID) as log:
            log.append(genesis)
            self.policy = log.policy
        self.founding = founding_of(ORIGIN, genesis).fingerprint
        for name, key in self.keys.items():
            home = root / name
            home.mkdir()
            key.save(home / "signing.pem")
            (home / "ca.crt").write_bytes((self.home / "ca.crt").read_bytes())

    def statement(self, number: int) -> bytes:
        payload = record(
            "attest",
            cid=CID,
            record_id=os.urandom(16),
            ts=int(time.time()),
            subject=f"batch {number}",
            artifact=bytes(32),
        )
        return sign_statement(payload, issuer="firm-1", subject=f"batch {number}", key=self.keys["firm-1"])

    def client(self, address: str) -> LedgerClient:
        tls = ClientTls.from_files(self.home / "ca.crt")
        return LedgerClient(address, tls=tls, identity=Identity("firm-1", self.keys["firm-1"], ORIGIN), timeout_s=5)


def test_a_killed_server_loses_nothing_and_goes_on(tmp_path: Path, processes: Processes) -> None:
    world = World(tmp_path)
    server = processes.start("serve", "--home", world.home, "--address", "127.0.0.1:0")
    address = processes.wait_for(server, "serving").split()[-1]
    witnesses = [
        processes.start("witness", "--home", tmp_path / name, "--address", address, "--member", name,
                        "--founding", world.founding)
        for name in MEMBERS
    ]  # fmt: skip
    for witness in witnesses:
        processes.wait_for(witness, "cosigned 5 entries")
    statements = [world.statement(number) for number in range(60)]

    with world.client(address) as client:
        acknowledged = submit_until_killed(client, statements, server)
        witnesses[0].kill()
        assert [process.wait() for process in (server, witnesses[0])] == [-signal.SIGKILL] * 2
        witnesses[0] = processes.start("witness", "--home", tmp_path / MEMBERS[0], "--address", address)
        server = processes.start("serve", "--home", world.home, "--address", address)
        processes.wait_for(server, "serving")
        again = submitted(client, statements)
        assert [placed.index for placed in again] == sorted(placed.index for placed in again)
        for statement, placed in zip(statements, again, strict=True):
            assert acknowledged.get(statement, placed.index) == placed.index
        assert 0 < len(acknowledged) < len(statements)
        final = client.submit(statements, wait_s=PATIENCE_S)
        for statement, placed in zip(statements, final, strict=True):
            assert isinstance(placed, Placed)
            assert placed.receipt is not None
            assert verify_receipt(placed.receipt, statement, world.policy).index == placed.index

    for process in (*witnesses, server):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(PATIENCE_S) for process in (*witnesses, server)] == [0] * 5
    report = audit(world.home / "ledger.db", world.policy)
    assert (report.problems, report.entries, report.final_size) == ((), 65, 65)


def test_told_to_stop_under_load_nothing_acknowledged_is_lost(tmp_path: Path, processes: Processes) -> None:
    """SIGTERM, as a service manager sends it: the service and a witness end with exit code 0, and are started again."""
    world = World(tmp_path)
    serve = ["serve", "--home", world.home, "--checkpoint-s", "0.5", "--address"]
    server = processes.start(*serve, "127.0.0.1:0")
    address = processes.wait_for(server, "serving").split()[-1]
    who = ["witness", "--home", tmp_path / "bank-1", "--address", address]
    witness = processes.start(*who, "--member", "bank-1", "--founding", world.founding)
    processes.wait_for(witness, "cosigned 5 entries")

    load = Load(world, address)
    load.wait_for(100)
    witness.send_signal(signal.SIGTERM)
    assert witness.wait(PATIENCE_S) == 0
    load.wait_for(200)
    server.send_signal(signal.SIGTERM)
    assert server.wait(PATIENCE_S) == 0
    load.end()

    key = SigningKey.load(world.home / "log.pem")
    with Log.open(world.home / "ledger.db", key) as log:
        entries = log.entries(0, log.size)
    assert all(entries[place] == statement for place, statement in load.acknowledged.items())
    store = Store(world.home / "ledger.db", read_only=True)
    assert store.latest_checkpoint() == store.size() == len(entries)
    store.close()

    server = processes.start(*serve, address)
    processes.wait_for(server, "serving")
    witness = processes.start(*who)
    processes.wait_for(witness, f"cosigned {len(entries)} entries")


class Load:
    """Threads that submit one statement after the other, until the service is gone."""

    def __init__(self, world: World, address: str, threads: int = 4) -> None:
        self.acknowledged: dict[int, bytes] = {}
        self._world, self._address = world, address
        self._errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._submit, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Until so many statements have been acknowledged."""
        end_s = time.monotonic() + PATIENCE_S
        while len(self.acknowledged) < count:
            assert time.monotonic() < end_s, self._errors
            assert not self._errors
            time.sleep(0.005)

    def end(self) -> None:
        """The service is gone; each caller knows that what it asked last may be asked again."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert [type(error) for error in self._errors] == [Unreachable] * len(self._threads)

    def _submit(self) -> None:
        with self._world.client(self._address) as client:
            while True:
                statement = self._world.statement(0)
                try:
                    [placed] = client.submit([statement])
                except LedgerError as error:
                    self._errors.append(error)
                    return
                assert isinstance(placed, Placed)
                self.acknowledged[placed.index] = statement


def submit_until_killed(
    client: LedgerClient, statements: list[bytes], server: subprocess.Popen[str]
) -> dict[bytes, int]:
    """Submit one after the other; the server is killed at some moment after the tenth. Gives what it acknowledged."""
    acknowledged: dict[bytes, int] = {}
    tenth = threading.Event()
    killer = threading.Thread(target=lambda: tenth.wait(PATIENCE_S) and server.kill())
    killer.start()
    with contextlib.suppress(Unreachable):
        for statement in statements:
            [placed] = client.submit([statement])
            assert isinstance(placed, Placed)
            acknowledged[statement] = placed.index
            if len(acknowledged) == 10:
                tenth.set()
            time.sleep(0.002)
    killer.join()
    return acknowledged


def submitted(client: LedgerClient, statements: list[bytes]) -> list[Placed]:
    """Submit until there is an answer: a channel needs a moment to see that its server is back."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            results = client.submit(statements)
        except Unreachable:
            assert time.monotonic() < end_s
            time.sleep(0.1)
        else:
            return [result for result in results if isinstance(result, Placed)]
