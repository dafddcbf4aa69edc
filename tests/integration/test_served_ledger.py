"""The ledger's process is killed at work, again and again: who appends by way of it is only delayed."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from consortium_simulator import CID, ORIGIN, Consortium
from federation_world import TASK, Meddler, federation, opened, spent, train, training
from served_world import witnessed

from clients.messages import OPEN, TRAIN
from ledger.log import Log
from ledger.mirror import Mirror
from ledger.rules import Phase
from ledger.service.client import LedgerClient
from ledger.service.following import keep_witnessing
from ledger.service.served import ServedLedger
from ledger.service.tokens import Identity
from ledger.witness import Witness
from server.engines.loopback import free_ports

pytestmark = pytest.mark.integration

PATIENCE_S = 90.0
KILLS = 2
BATCHES = 60


class Ledger:
    """`artesian ledger serve` in a process of its own, to be killed."""

    def __init__(self, home: Path, address: str) -> None:
        self._command = [sys.executable, "-m", "artesian", "ledger", "serve", "--home", home, "--address", address]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE_S)

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def made(tmp_path: Path) -> Consortium:
    home = tmp_path / "coordinator"
    home.mkdir()
    made = Consortium(location=home / "ledger.db")
    made.log.close()
    made.keys["coordinator"].save(home / "signing.pem")
    return made


@pytest.fixture
def ledger(made: Consortium, tmp_path: Path) -> Iterator[tuple[Ledger, str]]:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    running = Ledger(tmp_path / "coordinator", address)
    running.start()
    yield running, address
    running.kill()


def client(made: Consortium, address: str, member: str) -> LedgerClient:
    return LedgerClient(address, identity=Identity(member, made.keys[member], ORIGIN))


def test_appends_survive_kills_of_the_ledger_once_each_and_in_place(
    made: Consortium, ledger: tuple[Ledger, str], tmp_path: Path
) -> None:
    process, address = ledger
    chance, stop = random.Random(7), threading.Event()
    batches = [
        [
            made.statement("attest", "firm-0", subject=f"batch-{number}", artifact=made.hash())
            for _ in range(1 + number % 3)
        ]
        for number in range(BATCHES)
    ]
    clients = [client(made, address, member) for member in made.members]
    witnesses = [Witness(None, made.keys[member], member, made.log.vkey, CID) for member in made.members]
    threads = [
        threading.Thread(target=keep_witnessing, args=(witness, follows), kwargs={"stop": stop})
        for witness, follows in zip(witnesses, clients, strict=True)
    ]
    for thread in threads:
        thread.start()
    places, failures = list[list[int]](), list[Exception]()
    mirror = Mirror(tmp_path / "mirror.db", made.log.vkey, CID)
    with ServedLedger(client(made, address, "coordinator"), mirror, reach_s=PATIENCE_S) as served:

        def append() -> None:
            try:
                for batch in batches:
                    places.append(served.append(batch))
                    time.sleep(0.02)
            except Exception as error:
                failures.append(error)

        appending = threading.Thread(target=append)
        appending.start()
        for kill in range(1, KILLS + 1):
            while len(places) < kill * BATCHES // (KILLS + 2) and appending.is_alive():
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.03))
            process.kill()
            process.start()
        appending.join(PATIENCE_S)
        assert not failures
        assert served.wait_final(served.size, PATIENCE_S)
        mirrored = served.entries(0, served.size)
    stop.set()
    for follows in clients:
        follows.close()
    for thread in threads:
        thread.join(PATIENCE_S)
    process.kill()
    with Log.open(tmp_path / "coordinator" / "ledger.db", made.keys["coordinator"]) as log:
        entries = log.entries(0, log.size)
    process.start()  # for the fixture's end
    appended = [raw for batch in batches for raw in batch]
    assert entries[6:] == appended  # nothing lost, nothing doubled, in order
    assert [place for batch in places for place in batch] == list(range(6, 6 + len(appended)))
    assert mirrored == entries


def test_a_round_goes_on_after_kills_of_the_ledger_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(2))
    address = f"localhost:{free_ports(1)[0]}"
    process = Ledger(built.coordinator, address)
    process.start()
    killed = list[str]()

    def before(kind: str, member: str, message: object) -> None:
        if kind not in killed and kind in (TRAIN, OPEN):  # once before the contributions, once before the aggregate
            killed.append(kind)
            process.restart()

    meddler = Meddler(before)
    try:
        with (
            witnessed(built, address, "artesian/simulation", built.firms, reach_s=PATIENCE_S, final_s=PATIENCE_S),
            opened(built) as coordinator,
        ):
            train(built, coordinator, app=meddler)
            phases = sorted(one.phase for one in coordinator.ledger.state.rounds.values())
            assert phases == [Phase.AGGREGATED, Phase.PUBLISHED]
            booked = {firm: coordinator.ledger.state.spent.get((firm, TASK)) for firm in built.firms}
    finally:
        process.kill()
    assert killed == [TRAIN, OPEN]
    assert Counter(kind for kind, _ in meddler.asked if kind in (TRAIN, OPEN)) == {TRAIN: 6, OPEN: 6}
    assert {firm: spent(built, firm) for firm in built.firms} == booked
