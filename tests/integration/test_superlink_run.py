"""The real apps on a whole SuperLink deployment: one process a message, and still one masked, recorded, audited run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from federation_world import TASK, federation, spent, training

from ledger.keys import SigningKey
from ledger.log import Log
from ledger.policy import Policy
from server.audit import audit_copies
from server.coordinator import LEDGER_FILE, SIGNING_KEY
from server.engine import run_superlink
from server.releases import current_release, load_scorers

pytestmark = pytest.mark.integration
PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)
def test_three_firms_train_publish_and_can_be_audited(tmp_path: Path) -> None:
    built = federation(tmp_path / "federation", 3, training(2, deadline_s=120), seed=None)
    nodes = [{"home": str(built.member(name))} for name in built.firms]
    config = {"home": str(built.coordinator), "task": TASK}
    lines: list[str] = []
    run = run_superlink(PROJECT, nodes, config, work=tmp_path / "work", deadline_s=500, log=lines.append)
    runs = json.loads((built.coordinator / "runs" / f"{TASK}.json").read_text())
    print(f"superlink run of two rounds: {run.wall_s:.1f} s; rounds: {runs['round_s']}")
    assert runs["refusals"] == []
    release = current_release(built.coordinator, TASK)
    assert release is not None
    assert list(load_scorers(built.coordinator)) == [TASK]
    key = SigningKey.load(built.coordinator / SIGNING_KEY)
    with Log.open(built.coordinator / LEDGER_FILE, key) as log:
        assert log.final_size == log.size
        assert release.model in log.state.releases
        declared = {firm: log.state.spent.get((firm, TASK)) for firm in built.firms}
    for firm in built.firms:
        assert spent(built, firm) == declared[firm]
        assert any(spent(built, firm))
        policy = Policy.parse((built.member(firm) / "policy.txt").read_text())
        mirror = audit_copies(built.member(firm) / "mirror.db", built.coordinator / "artifacts", policy)
        assert mirror.ok, mirror
        assert len(mirror.rounds) == 2
