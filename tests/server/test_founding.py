"""Founding a consortium: homes, keys, certificates, the first entries, and the policy that members trust."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from federation_world import SPEC, TASK, federation, opened, spec

from clients.homes import HomeExists, make_home
from experiments.errors import ExperimentError
from ledger.genesis import Founder
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.policy import Policy
from server.coordinator import CONFIG_FILE, Coordinator, CoordinatorConfigInvalid, load_coordinator_config
from server.founding import AlreadyFounded, found

TASKS = [{"name": TASK, "spec": "tasks/credit.toml"}]


def founded(home: Path) -> Policy:
    founders = [Founder(f"firm-{k}", "firm", SigningKey.generate().public, f"Firm {k}") for k in range(3)]
    specs = {"tasks/credit.toml": SPEC.encode()}
    return found(home, "test", founders, min_cohort=3, tasks=TASKS, specs=specs, now=lambda: 1_800_000_000.0)


def test_the_home_opens_again_with_what_was_founded(tmp_path: Path) -> None:
    policy = founded(tmp_path / "c")
    with Coordinator(tmp_path / "c") as coordinator:
        assert coordinator.config.cid == "test"
        assert coordinator.spec(TASK).hash == spec().hash
        assert coordinator.log.policy.text() == policy.text()
        assert [member.member for member in coordinator.log.state.active("firm")] == ["firm-0", "firm-1", "firm-2"]
        assert coordinator.log.state.terms.min_cohort == 3
        assert coordinator.log.size == 4
        assert coordinator.log.final_size == 0  # until the members' witnesses cosign


def test_private_keys_are_their_owners_alone(tmp_path: Path) -> None:
    built = federation(tmp_path / "f")
    private = [path for path in (tmp_path / "f").rglob("*") if path.suffix in (".pem", ".key")]
    assert len(private) >= 2 * (len(built.firms) + 1)
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in private} == {0}


def test_nothing_is_founded_twice_or_over_something(tmp_path: Path) -> None:
    founded(tmp_path / "c")
    with pytest.raises(AlreadyFounded, match="has been founded here"):
        founded(tmp_path / "c")
    make_home(tmp_path / "m")
    with pytest.raises(HomeExists, match="has a key already"):
        make_home(tmp_path / "m")
    with pytest.raises(ExperimentError, match="not empty"):
        federation(tmp_path / "c")


def test_a_founding_that_was_cut_short_leaves_no_ledger_and_says_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", power_cut)
        with pytest.raises(KeyboardInterrupt):
            founded(tmp_path / "c")
    with pytest.raises(AlreadyFounded, match=r"was not finished.*remove"):
        founded(tmp_path / "c")


def test_members_trust_the_founding_policy(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", banks=("bank-1",))
    texts = {(built.member(name) / "policy.txt").read_text() for name in (*built.firms, *built.banks)}
    assert len(texts) == 1
    with opened(built) as coordinator:
        assert texts == {coordinator.log.policy.text()}
        assert coordinator.log.state.is_enrolled("bank-1", "bank")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cid = 3", "cid"),
        ("cid = 'x'\ncolour = 1", "colour"),
        ("cid = ", "not valid TOML"),
        ("cid = 'x'\n[[task]]\nname = 'Credit!'\nspec = 'a'", "name"),
    ],
)
def test_a_wrong_configuration_is_one_line_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / CONFIG_FILE
    path.write_text(text)
    with pytest.raises(CoordinatorConfigInvalid, match=problem) as caught:
        load_coordinator_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_home_or_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(CoordinatorConfigInvalid, match=r"nowhere.*cannot be read"):
        Coordinator(tmp_path / "nowhere")
    founded(tmp_path / "c")
    with pytest.raises(CoordinatorConfigInvalid, match=r"no task 'demand' \(known: credit\)"):
        Coordinator(tmp_path / "c").task("demand")


def test_epochs_are_never_used_twice(tmp_path: Path) -> None:
    founded(tmp_path / "c")
    assert [Coordinator(tmp_path / "c").next_epoch() for _ in range(3)] == [1, 2, 3]
    (tmp_path / "c" / "epoch").write_text("many")
    with pytest.raises(CoordinatorConfigInvalid, match="not a number"):
        Coordinator(tmp_path / "c").next_epoch()
