"""A coordinator that asks for more than firms agreed to: real firms refuse, both sides see why, and nothing is paid.

It has changed the software that it submits, and its whole executor with it. What it asks for then is more epsilon with
less noise, a cohort that is too small, a task that a firm does not take part in, training outside a firm's hours. Once
it asks for what each `firm.toml` allows, with a bundle that the operators have approved, the same firms train.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from federation_world import TASK, federation, training

from clients.enrolment.consortium import CONSORTIUM, ConsortiumApp, ConsortiumPolicy
from clients.firm_config import load_firm_config
from clients.firm_wallet import wallet_path
from clients.flower.approvals import Approvals
from clients.flower.bundle import Bundle, differences, installed_bundle, listed_files
from clients.flower.node_home import NodeHome
from clients.homes import FIRM_CONFIG
from clients.refusal_log import RefusalLog
from clients.wallet import Wallet
from experiments.deployment import Deployment
from experiments.federation import Federation
from server.coordinator import CONFIG_FILE, Coordinator
from server.engines import flower_control
from server.engines.programs import coordinator_programs
from server.progress import progress_of
from server.releases import current_release

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
EPSILON = 4.0
AGREED = training(1, epsilon=EPSILON, deadline_s=60)
AGREED_NOISE = 1.08
"""A little less than what the agreed plan has."""
BUNDLE = "import sys; from clients.flower.bundle import installed_bundle as b; sys.stdout.buffer.write(b().content)"
Edit = Callable[[dict[str, Any]], object]


def edit(path: Path, change: Edit) -> None:
    """Change a TOML file, as its operator would."""
    document = tomllib.loads(path.read_text())
    change(document)
    path.write_text(tomli_w.dumps(document))


class Greedy:
    """A consortium whose coordinator runs changed software; its firms run what is installed here."""

    def __init__(self, built: Federation, deployment: Deployment) -> None:
        self.built, self._deployment = built, deployment

    @property
    def firms(self) -> tuple[str, ...]:
        return self.built.firms

    @property
    def cid(self) -> str:
        return load_firm_config(self.built.member(self.firms[0]) / FIRM_CONFIG).cid

    def limit(self, firm: str, **limits: Any) -> None:
        """What stands in a `firm.toml` from now on."""
        edit(self.built.member(firm) / FIRM_CONFIG, lambda document: document["limits"].update(limits))

    def ask_for(self, **privacy: Any) -> None:
        """Change the plan."""
        path = self.built.coordinator / CONFIG_FILE
        edit(path, lambda document: document["task"][0]["privacy"].update(privacy))

    def run(self) -> str:
        """Let it run; returns how that ended."""
        return self._deployment.control.run(self._deployment.run({"task": TASK})).phase

    def refused(self) -> dict[str, set[str]]:
        """By firm, the codes in its own list of refusals since the last time."""
        found = {}
        for firm in self.firms:
            home = self.built.member(firm)
            found[firm] = {one.code for one in RefusalLog(home).latest(20)}
            (home / "refusals.sqlite").unlink(missing_ok=True)
        return found

    def told(self) -> str:
        """What the coordinator has noted of refusals in its last run."""
        report = json.loads((self.built.coordinator / "runs" / f"{TASK}.json").read_text())
        return "\n".join(f"{who}: {why}" for _, who, why in report["refusals"])

    def failure(self) -> str:
        """What the coordinator says of its last run."""
        with Coordinator(self.built.coordinator) as coordinator:
            progress = progress_of(coordinator.store, TASK)
        assert progress is not None
        return progress.failures[-1].detail

    def paid(self) -> int:
        """Rows in all wallets."""
        rows = 0
        for firm in self.firms:
            home = self.built.member(firm)
            path = wallet_path(home, load_firm_config(home / FIRM_CONFIG))
            if path.exists():
                with Wallet(path) as wallet:
                    rows += len(wallet.purchases())
        return rows


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of processes with another version of the software."""
    folder = tmp_path_factory.mktemp("changed")
    for package in ("clients", "ledger"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "clients" / "what_firms_did_not_approve.py").write_text("")
    return {"PYTHONPATH": f"{folder}:{ROOT}", "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="module")
def bundle(changed: Mapping[str, str]) -> Bundle:
    """That version's bundle."""
    command, environment = [sys.executable, "-c", BUNDLE], {**os.environ, **changed}
    content = subprocess.run(command, capture_output=True, check=True, env=environment, cwd="/").stdout
    return Bundle(content, hashlib.sha256(content).hexdigest(), listed_files(content), "another")


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory, changed: Mapping[str, str], bundle: Bundle) -> Iterator[Greedy]:
    built = federation(tmp_path_factory.mktemp("greedy") / "f", 3, AGREED, seed=None)
    with Deployment(built, 380.0) as deployment, pytest.MonkeyPatch.context() as patch:
        deployment.start()
        executor = coordinator_programs(built.coordinator, deployment.network)[1]
        deployment.kill("coordinator", executor)
        environment = {**executor.environment, **changed}
        deployment.serve("coordinator", replace(executor, environment=environment))
        patch.setattr(flower_control, "installed_bundle", lambda: bundle)
        yield Greedy(built, deployment)


@pytest.fixture(scope="module")
def approved(greedy: Greedy, bundle: Bundle) -> Greedy:
    """Its bundle is approved by all operators: what is refused now is its plans."""
    for firm in greedy.firms:
        Approvals(greedy.built.member(firm)).approve(bundle.sha256)
    return greedy


def test_another_bundle_is_refused(greedy: Greedy, bundle: Bundle) -> None:
    assert greedy.run() == "failed"
    assert greedy.refused() == {firm: {"AppNotApproved"} for firm in greedy.firms}
    assert "node " not in greedy.told()
    for firm in greedy.firms:
        assert f"{firm}: AppNotApproved: the run is of app bundle" in greedy.told()
        home = greedy.built.member(firm)
        assert "+ clients/what_firms_did_not_approve.py" in differences(
            Approvals(home).asked()[bundle.sha256].files, installed_bundle().files
        )
        assert not (NodeHome(home).folder / "apps").exists()  # Flower would have unpacked the bundle there
    assert greedy.paid() == 0


def test_a_bundle_that_all_operators_approved_and_the_policy_does_not_name_is_refused(
    approved: Greedy, bundle: Bundle
) -> None:
    app = ConsortiumApp(sha256=installed_bundle().sha256, version="1.0.0")
    policy = ConsortiumPolicy(cid=approved.cid, name="What the members agreed on", app=(app,))
    for firm in approved.firms:
        (approved.built.member(firm) / CONSORTIUM).write_text(policy.text())
    try:
        assert approved.run() == "failed"
    finally:
        for firm in approved.firms:
            (approved.built.member(firm) / CONSORTIUM).unlink()
    assert approved.refused() == {firm: {"AppNotInPolicy"} for firm in approved.firms}
    why = f"AppNotInPolicy: the run is of app bundle {bundle.sha256[:16]}, {CONSORTIUM} names {app.sha256[:16]}"
    assert approved.told().count(why) == len(approved.firms)
    assert approved.paid() == 0


def test_neither_out_of_hours_nor_for_a_task_of_others(approved: Greedy) -> None:
    first, second, third = approved.firms
    path, hour = approved.built.member(second) / FIRM_CONFIG, time.gmtime().tm_hour
    kept = path.read_text()
    edit(path, lambda document: document.pop("task"))
    approved.limit(first, hours=f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00")
    try:
        assert approved.run() == "failed"
    finally:
        path.write_text(kept)
        approved.limit(first, hours="00:00-00:00")
    assert approved.refused() == {first: {"OutOfHours"}, second: set(), third: set()}
    assert f"OutOfHours: {first} trains again from" in approved.told()
    why = f"1 firms take part, the policy asks for 3; without this task in its firm.toml: {second}; "
    assert why in approved.failure()
    assert approved.paid() == 0


def test_a_plan_that_is_weaker_than_a_firm_allows_is_refused(approved: Greedy) -> None:
    first, second, third = approved.firms
    approved.limit(first, noise_least=AGREED_NOISE)
    approved.limit(second, epsilon_round=EPSILON + 1)
    approved.limit(third, min_cohort=4)
    approved.ask_for(epsilon=2 * EPSILON)
    assert approved.run() == "failed"
    asked = [sys.executable, "-m", "artesian", "firm", "refusals", "--home", str(approved.built.member(first))]
    assert (
        "noise: the noise multiplier is 0." in subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    )
    assert approved.refused() == {first: {"noise"}, second: {"OverAllowance"}, third: {"cohort"}}
    for words in (
        f"{first}: noise: the noise multiplier is 0.",
        f"{second}: OverAllowance: this round costs more than the firm allows for one round",
        f"{third}: cohort: 3 firms, this firm asks for at least 4",
    ):
        assert words in approved.told()
    assert approved.paid() == 0


def test_what_was_agreed_is_trained(approved: Greedy) -> None:
    first, second, third = approved.firms
    approved.limit(first, noise_least=AGREED_NOISE)
    approved.limit(second, epsilon_round=EPSILON + 1)
    approved.limit(third, min_cohort=3)
    approved.ask_for(epsilon=EPSILON)
    assert approved.run() == "completed"
    assert approved.refused() == {firm: set() for firm in approved.firms}
    assert approved.paid() == len(approved.firms)
    assert current_release(approved.built.coordinator, TASK) is not None
