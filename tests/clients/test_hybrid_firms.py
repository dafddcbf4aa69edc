"""Firms whose signing keys have a post-quantum half take part in masked rounds like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation_world import federation, opened, phases, train, training

from ledger.keys import SigningKey
from server.audit import audit_all


def test_a_masked_round_of_hybrid_firms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = SigningKey.generate
    with monkeypatch.context() as patch:
        patch.setattr(SigningKey, "generate", lambda hybrid=True: generate(hybrid=True))
        built = federation(tmp_path / "f", 3, training(1), seed=None)
    assert SigningKey.load(built.member("firm-1") / "signing.pem").public.is_hybrid
    with opened(built) as coordinator:
        train(built, coordinator)
        assert phases(coordinator) == ["published"]
    assert audit_all(built.coordinator).ok
