"""Real processes on loopback: three firms train while each kind of Flower's processes is killed, and nothing is lost.

What a firm does with another bundle, and with plans that it did not agree to, is in test_greedy_coordinator.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from federation_world import TASK, federation, opened, spent, train, training

from clients.refusal_log import RefusalLog
from experiments.deployment import Deployment
from experiments.federation import Federation
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.policy import Policy
from server.audit import audit_copies
from server.coordinator import LEDGER_FILE, SIGNING_KEY, Coordinator
from server.engines.programs import coordinator_programs
from server.progress import TaskProgress, progress_of
from server.releases import current_release, load_scorers

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
ROUNDS, WITHIN_S = 3, 120.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    return federation(tmp_path_factory.mktemp("deployment") / "f", 3, training(ROUNDS, deadline_s=60))


@pytest.fixture(scope="module")
def deployed(built: Federation) -> Iterator[Deployment]:
    with Deployment(built, 380.0) as deployment:
        deployment.start()
        yield deployment


class Watcher:
    """Sees from the journal where a run is, and what its processes do."""

    def __init__(self, deployed: Deployment) -> None:
        self._deployed = deployed
        self._coordinator = Coordinator(deployed.coordinator)

    def close(self) -> None:
        self._coordinator.close()

    def wait_for(self, what: Callable[[TaskProgress], bool]) -> None:
        """Look often: a firm answers within a tenth of a second."""
        end_s = time.monotonic() + WITHIN_S
        while (now := progress_of(self._coordinator.store, TASK)) is None or not what(now):
            assert now is None or not now.over, now
            assert time.monotonic() < end_s, now
            time.sleep(0.002)

    def trains_in(self, number: int, firm: str) -> Callable[[TaskProgress], bool]:
        """Whether the firm's executor has a child busy with a round's second message; the first is its witness's."""
        pid = self._deployed.pid(firm, self._deployed.programs(firm)[1])
        children, seen = Path(f"/proc/{pid}/task/{pid}/children"), set[str]()

        def trains(now: TaskProgress) -> bool:
            busy = children.read_text().split()
            if now.number == number and now.round and firm not in now.contributed:
                seen.update(busy)
            return bool(busy) and len(seen) == 2

        return trains


@pytest.fixture
def watcher(deployed: Deployment) -> Iterator[Watcher]:
    made = Watcher(deployed)
    yield made
    made.close()


def test_what_is_killed_in_a_run_changes_nothing_in_what_it_trains(
    deployed: Deployment, watcher: Watcher, tmp_path: Path
) -> None:
    first, second, _ = deployed.firms
    run = deployed.control.submit({"task": TASK})
    executor = deployed.programs(first)[1]
    watcher.wait_for(watcher.trains_in(1, first))
    deployed.kill(first, executor)  # with the task that it has under way
    deployed.serve(first, executor)
    node = deployed.programs(second)[0]
    watcher.wait_for(lambda now: now.number == 2 and bool(now.round))
    deployed.kill(second, node)
    deployed.serve(second, node)
    superlink = coordinator_programs(deployed.coordinator, deployed.network)[0]
    watcher.wait_for(lambda now: now.number == 3 and bool(now.round))
    deployed.kill("coordinator", superlink)
    deployed.serve("coordinator", superlink)
    deployed.wait_until(lambda: deployed.control.run(run).phase not in ("pending", "running"), "the run to end")
    assert deployed.control.run(run).phase == "completed"
    release = current_release(deployed.coordinator, TASK)
    assert release is not None

    undisturbed = federation(tmp_path / "undisturbed", 3, training(ROUNDS))
    with opened(undisturbed) as coordinator:
        assert train(undisturbed, coordinator).model == release.model


def test_what_was_trained_is_recorded_paid_and_can_be_audited(deployed: Deployment, built: Federation) -> None:
    assert list(load_scorers(built.coordinator)) == [TASK]
    release = current_release(built.coordinator, TASK)
    assert release is not None
    with Log.open(built.coordinator / LEDGER_FILE, SigningKey.load(built.coordinator / SIGNING_KEY)) as log:
        assert log.final_size == log.size
        assert release.model in log.state.releases
        declared = {firm: log.state.spent.get((firm, TASK)) for firm in built.firms}
    for firm in built.firms:
        assert RefusalLog(built.member(firm)).latest(5) == []
        assert spent(built, firm) == declared[firm]
        assert any(spent(built, firm))
        policy = Policy.parse((built.member(firm) / "policy.txt").read_text())
        mirror = audit_copies(built.member(firm) / "mirror.db", built.coordinator / "artifacts", policy)
        assert mirror.ok, mirror
        assert len(mirror.rounds) == ROUNDS
