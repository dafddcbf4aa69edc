"""`artesian simulate` on an audit's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result

from artesian import app
from experiments.benchmarks import privacy_audit
from experiments.privacy_audit.audit import prepare_subject
from experiments.privacy_audit.config import PrivacyAuditConfig, load_audit_config
from experiments.privacy_audit.faults import FAULTS

CONFIGS = Path(__file__).resolve().parents[2] / "experiments/configs"
SUBJECT: dict[str, Any] = {
    "simulation": str(CONFIGS / "loans.toml"),
    "rounds": 1,
    "modes": ["local"],
    "epsilons": [8.0],
    "fault_epsilons": [8.0],
    "faults": ["half-noise"],
}
SMALL: dict[str, Any] = {"kind": "privacy-audit", "canaries": {"count": 500}, "subject": [SUBJECT]}


def run(directory: Path, *options: object, **changes: Any) -> Result:
    path = directory / "audit.toml"
    path.write_text(tomli_w.dumps({**SMALL, **changes}))
    return CliRunner().invoke(app, ["simulate", str(path), *map(str, options)])


def test_an_audit_writes_what_it_prints(tmp_path: Path) -> None:
    done = run(tmp_path, "--out", tmp_path / "out", "--seed", 3, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (tmp_path / "out/summary.json").read_text()
    summary = json.loads(done.stdout)
    assert (summary["seed"], summary["config"]["kind"]) == (3, "privacy-audit")
    runs = summary["privacy_audit"]["runs"]
    assert [(one["fault"], one["above"]) for one in runs] == [("none", False), ("half-noise", True)]
    assert summary["privacy_audit"]["holds"] is True
    page = (tmp_path / "out/report.html").read_text().split("Everything in this report")[0]
    assert "<h1>Privacy audit: privacy-audit</h1>" in page
    assert "half the noise" in page
    assert f"{runs[1]['epsilon']:.2f}" in page
    assert "credit: federation 2 of 2" in done.stderr.splitlines()


def test_an_audit_for_people(tmp_path: Path) -> None:
    done = run(tmp_path, subject=[SUBJECT | {"faults": []}])
    assert done.exit_code == 0, done.stderr
    assert "credit, local" in done.stdout
    assert "Every claim holds: yes." in done.stdout


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"kind": "privacy"}, [], "audit.toml: kind: Input should be 'federation' or 'privacy-audit'"),
        ({"colour": "red"}, [], "colour: unknown key"),
        ({"subject": []}, [], "give a [[subject]] or a [membership] attack"),
        ({"subject": [SUBJECT | {"epsilons": [0.0]}]}, [], "epsilons.0: Input should be greater than 0"),
        ({"canaries": {"norm": 1.0}}, [], "canaries.norm: Input should be greater than 1"),
        ({"subject": [{"simulation": "none.toml"}]}, [], "none.toml: cannot be read"),
        ({}, ["--home", "somewhere"], "a privacy audit takes no --data, --home or --engine"),
    ],
)
def test_a_bad_audit_is_one_line_and_exit_2(
    tmp_path: Path, changes: dict[str, Any], options: list[str], words: str
) -> None:
    done = run(tmp_path, *options, **changes)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_benchmark_stands_beside_its_claim_and_its_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()

    def stub(config: PrivacyAuditConfig, *_: object) -> dict[str, Any]:
        asked.append(config.seed)
        common = {"task": "credit", "mode": "local", "algorithm": "", "claimed_epsilon": 8.0, "epsilon_steinke": 3.0}
        bare = common | {"fault": "none", "words": "as it is", "epsilon": 7.5 + config.seed, "epsilon_lower": 7.0}
        wrong = common | {"fault": "no-clip", "words": "no clip", "epsilon": 40.0, "epsilon_lower": 39.0}
        return {"privacy_audit": {"runs": [bare, wrong]}}

    monkeypatch.setattr(privacy_audit, "audit", stub)
    (figure,) = privacy_audit.run(3)
    assert asked == [1, 2, 3]
    assert (figure.name, figure.value) == ("credit, local: epsilon that canaries show", 9.5)
    beside = {"claimed": 8.0, "at least, 95 %": 7.0, "at least, Steinke et al.": 3.0, "no clip, at least": 39.0}
    assert figure.beside == beside


def test_the_audit_that_ships_can_be_read() -> None:
    config = load_audit_config(CONFIGS / "privacy-audit.toml")
    assert {subject.simulation for subject in config.subject} == {"loans.toml", "stores.toml"}
    assert config.canaries.count == 10_000
    assert all(set(subject.faults) <= set(FAULTS) and "none" not in subject.faults for subject in config.subject)
    others = [subject for subject in config.subject if subject.model]
    made = [prepare_subject(config, subject, CONFIGS).prepared.task.spec.model.kind for subject in others]
    assert made == ["mlp", "gru-quantile"]
