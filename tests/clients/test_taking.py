"""Releases at a firm: it takes what its own mirror of the ledger says is published, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import TASK, Lost, Meddler, federation, on_grid, opened, train, training
from typer.testing import CliRunner

from clients.firm import Firm, NotTakingPart
from clients.firm_commands import app
from clients.messages import RELEASE, Refusal
from clients.model_files import AVERAGE, VELOCITY, write_vector
from clients.releases import MANIFEST, NoReleaseFolder, OfferedRelease, ReleaseNotTaken, check_release
from clients.taking import current_release, deliver, take_from_folder
from clients.tasks.task import task_for
from experiments.federation import Federation
from ledger.errors import LedgerError
from ledger.receipt import verify_receipt
from server.delivery import TAKEN, Delivery
from server.recording import MessagedRecord
from server.releases import current_release as coordinators_release
from server.statements import Statements
from server.witnessing import witness


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation that has published, while firm-3 heard nothing of the release."""
    built = federation(tmp_path_factory.mktemp("trained") / "f", 4, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(deaf("firm-3")))
    return built


def deaf(firm: str) -> Callable[[str, str, Any], None]:
    def before(kind: str, member: str, message: Any) -> None:
        if kind == RELEASE and member == firm:
            raise Lost

    return before


@pytest.fixture
def world(trained: Federation, tmp_path: Path) -> Federation:
    """A copy that a test may spoil."""
    return replace(trained, home=Path(shutil.copytree(trained.home, tmp_path / "f")))


@contextmanager
def firm_of(world: Federation, name: str) -> Iterator[Firm]:
    firm = Firm(world.member(name))
    try:
        yield firm
    finally:
        firm.close()


def published(world: Federation) -> Path:
    release = coordinators_release(world.coordinator, TASK)
    assert release is not None
    return release.folder


def request(world: Federation, **changes: Any) -> dict[str, Any]:
    offered = OfferedRelease.from_folder(published(world))
    fields = {"task": TASK, "files": dict(offered.files), "manifest": offered.manifest}
    return {**fields, "statement": offered.statement, "receipt": offered.receipt, **changes}


def taken(world: Federation, firm: str) -> list[Path]:
    return sorted((world.member(firm) / "releases" / TASK).glob("*"))


def test_firms_hold_the_release_after_a_run_as_the_coordinator_does(world: Federation) -> None:
    folder = published(world)
    for firm in ("firm-1", "firm-2", "firm-4"):
        (held,) = taken(world, firm)
        assert held.name == folder.name
        for path in held.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600
            if path.suffix != ".receipt":  # theirs is under a later checkpoint
                assert path.read_bytes() == (folder / path.name).read_bytes()
        with firm_of(world, firm) as opened_firm:
            current = current_release(opened_firm, TASK)
        assert current.model.hex() == folder.name
        assert current.parameters.shape == (9,)
    assert not taken(world, "firm-3")


def test_a_firm_that_was_away_gets_it_with_the_next_run_of_any_kind(world: Federation, tmp_path: Path) -> None:
    again = replace(world, home=Path(shutil.copytree(world.home, tmp_path / "again")))
    name = published(world).name
    with opened(world) as coordinator:
        meddler = Meddler()
        on_grid(world, lambda grid: witness(grid, coordinator), app=meddler)
    assert [path.name for path in taken(world, "firm-3")] == [name]
    assert [asked for asked in meddler.asked if asked[0] == RELEASE] == [(RELEASE, "firm-3")]  # the others have it
    lines: list[str] = []
    with opened(again) as coordinator:
        train(again, coordinator, lines=lines)
    assert "credit: firm-3 has taken the release that it missed" in lines
    assert len(taken(again, "firm-3")) == 2
    with opened(again) as coordinator:  # who had it before there was a store is known as well
        (published(again).parent / TAKEN).write_text(json.dumps({"model": "ab" * 32, "firms": ["firm-9"]}))
        delivery = Delivery(coordinator, TASK, MessagedRecord(coordinator.log))
        assert delivery.lacking([*again.firms, "firm-9"]) == ["firm-9"]
        assert delivery._taken("ab" * 32) == {"firm-9"}
        assert not (published(again).parent / TAKEN).exists()


def revoke(world: Federation) -> None:
    """Revoke the release on the ledger, and have every firm's mirror follow."""
    with opened(world) as coordinator:
        sign = Statements("simulation", lambda: coordinator.key, lambda: 1_900_000_000.0).make
        model = bytes.fromhex(published(world).name)
        coordinator.log.append([sign("revoke", "credit", model=model, reason="a test")])
        on_grid(world, lambda grid: witness(grid, coordinator))


def test_a_revoked_release_is_neither_taken_nor_used_nor_sent(world: Federation) -> None:
    revoke(world)
    assert not taken(world, "firm-3")
    with firm_of(world, "firm-3") as firm:
        with pytest.raises(ReleaseNotTaken, match="revoked at entry"):
            take_from_folder(firm, published(world))
        with pytest.raises(Refusal, match="revoked at entry"):
            deliver(firm, request(world))
    with firm_of(world, "firm-1") as firm, pytest.raises(ReleaseNotTaken, match="was revoked; wait for the next"):
        current_release(firm, TASK)
    assert not taken(world, "firm-3")


def swapped(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {**files, AVERAGE: files[VELOCITY], VELOCITY: files[AVERAGE]}


def other_names(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same digest under names that would make another file the one that answers."""
    return dict(zip(("a.safetensors", AVERAGE, "velocity.safetensors"), files.values(), strict=True))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda one: {"files": {**one["files"], AVERAGE: write_vector(np.zeros(9))}}, "another model or manifest"),
        (lambda one: {"files": swapped(one["files"])}, "another model or manifest"),
        (lambda one: {"files": other_names(one["files"])}, "no more and no less"),
        (lambda one: {"files": dict.fromkeys(one["files"], 7)}, "must be bytes"),
        (lambda one: {"manifest": one["manifest"].replace(b'"rounds": 1', b'"rounds": 9')}, "another model or"),
        (lambda one: {"receipt": one["receipt"][:-1]}, "not a receipt"),
        (lambda one: {"statement": one["statement"][:-1] + bytes([one["statement"][-1] ^ 1])}, "inclusion|statement"),
        (lambda one: {"task": "demand"}, "takes no part"),
    ],
)
def test_a_delivery_that_is_not_what_the_ledger_says_is_refused(
    world: Federation, change: Callable[[dict[str, Any]], dict[str, Any]], problem: str
) -> None:
    sent = request(world)
    with firm_of(world, "firm-3") as firm, pytest.raises((Refusal, NotTakingPart, LedgerError), match=problem):
        deliver(firm, {**sent, **change(sent)})
    assert not taken(world, "firm-3")


def test_a_release_that_the_own_mirror_lacks_is_refused_whatever_its_receipt(world: Federation) -> None:
    (world.member("firm-3") / "mirror.db").unlink()
    with firm_of(world, "firm-3") as firm, pytest.raises(Refusal, match="not in firm-3's mirror"):
        deliver(firm, request(world))
    with firm_of(world, "firm-3") as firm, pytest.raises(LedgerError, match="no entries yet"):
        take_from_folder(firm, published(world))


def test_a_release_that_is_not_final_in_the_own_mirror_is_not_taken(
    world: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clients import taking

    known = taking.mirror_standing(world.member("firm-3"))
    assert known is not None
    (release,) = known.state.releases.values()
    monkeypatch.setattr(taking, "mirror_standing", lambda home: replace(known, final_size=release.index))
    with firm_of(world, "firm-3") as firm, pytest.raises(ReleaseNotTaken, match="not final there yet"):
        take_from_folder(firm, published(world))


def test_a_release_of_another_version_of_the_spec_is_refused(world: Federation) -> None:
    offered = OfferedRelease.from_folder(published(world))
    with firm_of(world, "firm-1") as firm:
        proof = verify_receipt(offered.receipt, offered.statement, firm.trusted)
        other = firm.declared(TASK).spec.model_copy(update={"version": 2})
        with pytest.raises(ReleaseNotTaken, match="another version of the task spec"):
            check_release(task_for(other), offered, proof, firm.witness.state)


def test_a_damaged_release_at_the_firm_is_said_and_taken_anew(world: Federation) -> None:
    (folder,) = taken(world, "firm-1")
    whole = (folder / AVERAGE).read_bytes()
    for name in (AVERAGE, MANIFEST):
        (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"\x01")
        with firm_of(world, "firm-1") as firm:
            with pytest.raises(ReleaseNotTaken, match="not what was published"):
                current_release(firm, TASK)
            take_from_folder(firm, published(world))
            assert current_release(firm, TASK).model.hex() == folder.name
    assert (folder / AVERAGE).read_bytes() == whole
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_command_takes_a_folder_and_says_what_it_took(world: Federation, tmp_path: Path) -> None:
    home = str(world.member("firm-3"))
    done = CliRunner().invoke(app, ["take-release", str(published(world)), "--home", home, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == published(world).name
    assert [path.name for path in taken(world, "firm-3")] == [published(world).name]
    refused = CliRunner().invoke(app, ["take-release", str(tmp_path), "--home", home])
    assert isinstance(refused.exception, NoReleaseFolder)
    assert refused.exception.exit_code == 2
    assert "not a release's folder" in str(refused.exception)
