"""Models in the store: found by the hash that stands on the ledger, refused when any file differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clients.model_files import FILES, FILES_WITH_MEMORY, file_digests
from server.artifacts import ArtifactDamaged, ArtifactMissing, ArtifactStore
from server.descent import Descent
from server.model_store import load_model, store_model


def descent(seed: int = 1) -> Descent:
    rng = np.random.default_rng(seed)
    return Descent(rng.normal(size=4), rng.normal(size=4), rng.normal(size=4))


def test_a_model_is_found_by_its_digest() -> None:
    store = ArtifactStore(None)
    before = descent()
    name = store_model(store, before)
    assert name == before.digest
    after = load_model(store, name)
    assert after.files() == before.files()
    assert after.digest == name


def test_the_files_are_listed_in_the_order_of_the_digest() -> None:
    assert list(FILES) == sorted(descent().files())


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    store = ArtifactStore(tmp_path)
    before = descent()
    model = store_model(store, before)
    path = store.path(file_digests(before.files())[name])
    path.write_bytes(descent(2).files()[name])
    with pytest.raises(ArtifactDamaged, match=name):
        load_model(store, model)
    path.unlink()
    with pytest.raises(ArtifactMissing, match=name):
        load_model(store, model)


def test_a_model_with_a_memory_is_one_of_four_files() -> None:
    store = ArtifactStore(None)
    before = replace(descent(), memory=np.arange(5.0))
    assert sorted(before.files()) == list(FILES_WITH_MEMORY)
    after = load_model(store, store_model(store, before))
    assert after.files() == before.files()
    assert after.digest != descent().digest


def test_a_hash_of_something_else_is_no_model() -> None:
    store = ArtifactStore(None)
    with pytest.raises(ArtifactDamaged, match="no list of 3 files"):
        load_model(store, store.put(b"something"))
    with pytest.raises(ArtifactMissing, match="model"):
        load_model(store, bytes(32))
