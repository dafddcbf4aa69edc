"""Real processes on loopback: three firms train; one of another version refuses, says so, and can be let take part.

The firm's executor is killed in between, as a crash would.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from federation_world import TASK, federation, training

from clients.flower.approvals import Approvals
from clients.flower.bundle import installed_bundle
from clients.flower.node_home import NodeHome
from clients.refusal_log import RefusalLog
from experiments.deployment import Deployment
from server.releases import current_release

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    built = federation(tmp_path_factory.mktemp("deployment") / "f", 3, training(1, deadline_s=60), seed=None)
    with Deployment(built, 380.0) as deployment:
        deployment.start()
        yield deployment


def test_three_firms_train_and_publish(deployed: Deployment) -> None:
    run = deployed.run({"task": TASK})
    assert deployed.control.run(run).phase == "completed"
    assert current_release(deployed.coordinator, TASK) is not None
    assert json.loads((deployed.coordinator / "runs" / f"{TASK}.json").read_text())["refusals"] == []
    for firm in deployed.firms:
        assert RefusalLog(deployed.member(firm)).latest(5) == []


def test_a_firm_of_another_version_refuses_until_its_operator_approves(deployed: Deployment, tmp_path: Path) -> None:
    for package in ("clients", "ledger"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "clients" / "of_another_version.py").write_text("")
    firm = deployed.firms[0]
    home, executor = deployed.member(firm), deployed.programs(firm)[1]
    deployed.kill(firm, executor)
    other = {**executor.environment, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONSAFEPATH": "1"}
    deployed.serve(firm, replace(executor, environment=other))

    before = current_release(deployed.coordinator, TASK)
    assert before is not None
    deployed.run({"task": TASK})
    assert {one.code for one in RefusalLog(home).latest(5)} == {"AppNotApproved"}
    assert installed_bundle().sha256 in Approvals(home).asked()
    assert not (NodeHome(home).folder / "apps").exists()  # Flower would have unpacked the bundle there
    after = current_release(deployed.coordinator, TASK)
    assert after is not None
    assert after.model == before.model

    Approvals(home).approve(installed_bundle().sha256)
    run = deployed.run({"task": TASK})
    assert deployed.control.run(run).phase == "completed"
    assert current_release(deployed.coordinator, TASK) != before
