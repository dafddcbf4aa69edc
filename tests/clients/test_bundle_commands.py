"""`artesian firm apps`, `approve-app`, `refusals`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clients.firm_commands import app
from clients.flower.approvals import Approvals
from clients.flower.bundle import installed_bundle
from clients.refusal_log import RefusalLog

OTHER = "b" * 64


def run(*words: str) -> str:
    answer = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert answer.exit_code == 0
    return answer.stdout


def test_a_refused_bundle_is_shown_with_what_differs_and_can_be_approved(tmp_path: Path) -> None:
    files = {**installed_bundle().files, "clients/app.py": "0" * 64, "clients/new\x1b.py": "1" * 64}
    Approvals(tmp_path).note(OTHER, files)
    text = run("apps", "--home", str(tmp_path))
    assert installed_bundle().sha256 in text
    assert "~ clients/app.py" in text
    assert "\x1b" not in text
    document = json.loads(run("apps", "--home", str(tmp_path), "--json"))
    assert document["refused"][0]["differences"] == ["~ clients/app.py", "+ clients/new\x1b.py"]
    run("approve-app", OTHER, "--home", str(tmp_path))
    document = json.loads(run("apps", "--home", str(tmp_path), "--json"))
    assert [one["sha256"] for one in document["approved"]] == [OTHER]
    assert document["refused"] == []
    assert "no more approved" in run("approve-app", OTHER, "--withdraw", "--home", str(tmp_path))
    assert Approvals(tmp_path).approved() == {}


@pytest.mark.parametrize("refused", [0, 3])
def test_refusals_are_listed(tmp_path: Path, refused: int) -> None:
    for number in range(refused):
        RefusalLog(tmp_path).note("train.update", bytes([number]) * 16, "OverCap", f"number {number}")
    text = run("refusals", "--home", str(tmp_path), "--most", "2")
    assert text.count("OverCap") == min(refused, 2)
    assert ("Nothing" in text) == (not refused)
    document = json.loads(run("refusals", "--home", str(tmp_path), "--json"))
    assert len(document["refusals"]) == refused
    assert document["by_code"] == ({"OverCap": 3} if refused else {})
