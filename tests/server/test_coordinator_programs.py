"""The coordinator's set: what waits for the founding, what for the ledger, where each listens."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from artesian import app
from clients.supervision.program import Listens, Program, in_order
from server.coordinator_programs import coordinator_programs
from server.network import NetworkInvalid


def programs(home: Path, network: str = "") -> dict[str, Program]:
    (home / "coordinator.toml").write_text(f'cid = "c"\n[network]\n{network}')
    return {one.name: one for one in coordinator_programs(home)}


def test_only_the_join_desk_starts_before_the_founding(tmp_path: Path) -> None:
    found = programs(tmp_path)
    waiting = {name for name, one in found.items() if one.after}
    assert {found[name].after_words for name in waiting} == {"all founders to be admitted"}
    for one in in_order(list(found.values())):
        if waiting & set(one.needs):
            waiting.add(one.name)
    assert set(found) - waiting == {"enrolment"}


def test_they_listen_where_the_configuration_says(tmp_path: Path) -> None:
    found = programs(tmp_path, 'bind = "0.0.0.0"\nledger_port = 7\nscores_port = 8\nenrolment_port = 9\n')
    assert [found[name].ready for name in ("ledger", "scores", "enrolment")] == [
        Listens(f"127.0.0.1:{port}") for port in (7, 8, 9)
    ]
    assert "0.0.0.0:7" in found["ledger"].command
    found = programs(tmp_path, 'bind = "::1"\nledger_port = 7\n')
    assert found["ledger"].ready == Listens("[::1]:7")


def test_no_model_need_be_released_for_the_set_to_be_ready(tmp_path: Path) -> None:
    assert [name for name, one in programs(tmp_path).items() if not one.essential] == ["scores", "metrics"]


def test_all_are_told_to_reach_each_other_round_a_proxy(tmp_path: Path) -> None:
    assert all("127.0.0.1" in one.environment["no_proxy"] for one in programs(tmp_path).values())


def test_what_they_start_is_there(tmp_path: Path) -> None:
    for one in programs(tmp_path).values():
        if one.command[1:3] == ("-m", "artesian"):
            _, group = app.resolve_command(click.Context(app), [one.command[3]])[0:2]
            command = getattr(group, "commands", {})[one.command[4]]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in one.command if word.startswith("--")} <= known


def test_without_a_configuration_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(NetworkInvalid, match=r"coordinator\.toml"):
        coordinator_programs(tmp_path)


def test_what_only_measures_or_plans_noise_is_not_in_every_process() -> None:
    asked = "import sys, server.coordinator; print([one for one in ('sklearn', 'scipy.stats') if one in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
