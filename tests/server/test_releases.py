"""Releases: what was published is what answers, and nothing else ever does."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from federation_world import TASK, federation, opened, spec, train, training

from ledger.policy import Policy
from ledger.receipt import verify_receipt
from ledger.statement import decode_statement
from server.releases import (
    CURRENT,
    MANIFEST,
    RECEIPT,
    STATEMENT,
    ReleaseDamaged,
    current_release,
    is_current,
    load_scorers,
    release_spec,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    built = federation(tmp_path_factory.mktemp("trained") / "f", 3, training(2))
    with opened(built) as coordinator:
        train(built, coordinator)
    return built


@pytest.fixture
def home(trained: Any, tmp_path: Path) -> Path:
    """A copy of the coordinator's home that a test may spoil."""
    return Path(shutil.copytree(trained.coordinator, tmp_path / "coordinator"))


def folder_of(home: Path) -> Path:
    release = current_release(home, TASK)
    assert release is not None
    return release.folder


def test_the_manifest_names_the_model_its_task_its_firms_and_its_privacy(home: Path) -> None:
    release = current_release(home, TASK)
    assert release is not None
    manifest = release.manifest
    assert manifest["model"] == release.model.hex()
    assert manifest["firms"] == ["firm-1", "firm-2", "firm-3"]
    assert manifest["rounds"] == 2
    assert manifest["weighting"] == "declared"
    assert 0 < manifest["privacy"]["epsilon"] <= 4.0
    assert release_spec(release).hash == spec().hash
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((release.folder / name).read_bytes()).hexdigest() == digest


def test_the_receipt_proves_the_publication_to_a_member_offline(trained: Any, home: Path) -> None:
    folder = folder_of(home)
    policy = Policy.parse((trained.member("firm-2") / "policy.txt").read_text())
    statement = (folder / STATEMENT).read_bytes()
    verify_receipt((folder / RECEIPT).read_bytes(), statement, policy)
    payload = decode_statement(statement).payload
    assert payload["model"].hex() == folder.name
    assert payload["manifest"] == hashlib.sha256((folder / MANIFEST).read_bytes()).digest()


def test_a_release_scores_with_the_averaged_model(home: Path) -> None:
    release = current_release(home, TASK)
    assert release is not None
    (scorer,) = load_scorers(home).values()
    low = scorer.scorer.score({"income": 10.0, "sector": "building"})
    high = scorer.scorer.score({"income": 80.0, "sector": "trade"})
    assert low.pd > high.pd
    assert low.score < high.score
    assert scorer.model_hash == release.model


def test_nothing_published_is_no_release(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3)
    assert current_release(built.coordinator, TASK) is None
    assert load_scorers(built.coordinator) == {}
    assert not is_current(built.coordinator, TASK, None)


def flip(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: flip(folder / "average.safetensors"),
        lambda folder: flip(folder / "velocity.safetensors"),
        lambda folder: (folder / "parameters.safetensors").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: folder.rename(folder.with_name("0" * 64)),
        lambda folder: (folder.parent / CURRENT).write_text("0" * 64),
    ],
)
def test_a_damaged_release_is_refused_and_not_served(home: Path, spoil: Callable[[Path], Any]) -> None:
    folder = folder_of(home)
    spoil(folder)
    with pytest.raises(ReleaseDamaged, match=r"releases/credit") as caught:
        current_release(home, TASK)
    assert "\n" not in str(caught.value)
    with pytest.raises(ReleaseDamaged):
        load_scorers(home)


def edit_manifest(folder: Path, **fields: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **fields}, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("fields", [{"rounds": 99}, {"privacy": {"epsilon": 0.1}}])
def test_a_manifest_that_was_not_published_is_not_served(home: Path, fields: dict[str, Any]) -> None:
    edit_manifest(folder_of(home), **fields)
    with pytest.raises(ReleaseDamaged, match="another model or manifest"):
        load_scorers(home)


def test_a_spec_that_is_not_that_of_its_hash_is_refused(home: Path) -> None:
    release = current_release(home, TASK)
    assert release is not None
    edit_manifest(release.folder, spec={**release.manifest["spec"], "version": 2})
    again = current_release(home, TASK)
    assert again is not None
    with pytest.raises(ReleaseDamaged, match="not the one of its hash"):
        release_spec(again)


def test_a_release_whose_publication_is_not_final_is_not_served(home: Path) -> None:
    (folder_of(home) / RECEIPT).unlink()
    assert load_scorers(home) == {}
