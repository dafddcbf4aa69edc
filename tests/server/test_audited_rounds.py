"""The audit recomputes what was recorded, from copies alone, and names the first thing that was tampered with."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from federation_world import federation, opened, rounds, train, training
from typer.testing import CliRunner

from clients.masking.contribution import Header
from ledger.errors import StoreError
from ledger.keys import SigningKey
from ledger.policy import Policy
from ledger.statement import decode_statement, sign_statement
from server.artifacts import ArtifactStore
from server.audit import NoSuchRound, audit_all, audit_copies, audit_round
from server.audit_commands import app
from server.coordinator import Coordinator
from server.descent import Descent
from server.statements import Statements
from server.training_round import TrainingRound


@dataclass(frozen=True)
class Copy:
    """What an auditor has: copies of the ledger, the artifacts and the policy, and nothing else."""

    ledger: Path
    artifacts: Path
    policy: Policy

    def audit(self) -> Any:
        return audit_copies(self.ledger, self.artifacts, self.policy)

    @property
    def entries(self) -> list[bytes]:
        with sqlite3.connect(self.ledger) as database:
            return [raw for (raw,) in database.execute("SELECT raw FROM entries ORDER BY idx")]


def copy_of(built: Any, folder: Path) -> Copy:
    folder.mkdir()
    shutil.copy(built.coordinator / "ledger.db", folder / "ledger.db")
    shutil.copytree(built.coordinator / "artifacts", folder / "artifacts")
    policy = Policy.parse((built.member("firm-1") / "policy.txt").read_text())
    return Copy(folder / "ledger.db", folder / "artifacts", policy)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("audited")
    built = federation(folder / "f", 5, training(2))
    with opened(built) as coordinator:
        train(built, coordinator)
    return built


@pytest.fixture
def copy(audited: Any, tmp_path: Path) -> Copy:
    return copy_of(audited, tmp_path / "copy")


def test_every_round_is_recomputed_from_copies_alone(copy: Copy) -> None:
    audit = copy.audit()
    assert audit.ok
    assert audit.trusted
    assert audit.final_size == audit.entries == len(copy.entries)
    assert [one.number for one in audit.rounds] == [1, 2]
    assert all(len(one.firms) == 5 and one.problem is None for one in audit.rounds)
    store = ArtifactStore(copy.artifacts)
    assert audit_round(copy.entries, store, audit.rounds[1].round_id) == audit.rounds[1]
    with pytest.raises(NoSuchRound):
        audit_round(copy.entries, store, bytes(16))


def test_a_members_mirror_serves_as_well_as_the_ledger(audited: Any, copy: Copy) -> None:
    home = copy.ledger.parent / "firm"
    home.mkdir()
    for name in ("mirror.db", "policy.txt"):
        shutil.copy(audited.member("firm-3") / name, home / name)
    shutil.copytree(copy.artifacts, home / "artifacts")
    audit = audit_all(home)
    assert audit.ok
    assert audit.trusted
    assert len(audit.rounds) == 2


def test_a_running_coordinator_is_not_disturbed(audited: Any, tmp_path: Path) -> None:
    home = Path(shutil.copytree(audited.coordinator, tmp_path / "coordinator"))
    with Coordinator(home) as coordinator:
        size = coordinator.log.size
        assert audit_all(home).ok
        make = Statements("simulation", lambda: coordinator.key, lambda: 1.0).make
        coordinator.log.append([make("task", "other", task="other", spec=bytes(32))])
        assert audit_all(home).entries == coordinator.log.size == size + 1


@pytest.mark.parametrize("mode", ["none", "local"])
def test_plain_rounds_are_recomputed_too(tmp_path: Path, mode: str) -> None:
    built = federation(tmp_path / "f", 3, training(2, mode=mode, kind="plain"))
    with opened(built) as coordinator:
        train(built, coordinator)
    audit = audit_copies(built.coordinator / "ledger.db", built.coordinator / "artifacts")
    assert audit.ok, [one.problem for one in audit.rounds]
    assert not audit.trusted


def artifact_of(copy: Copy, kind: str) -> bytes:
    """The name of one artifact of the second round."""
    from server.ledger_copy import LedgerCopy

    recorded = list(LedgerCopy.index(copy.entries).values())[1]
    assert recorded.aggregate is not None
    assert recorded.publication is not None
    commit = recorded.contributions["firm-2"].commit
    header = Header.from_bytes(ArtifactStore(copy.artifacts).get(commit))
    return bytes(
        {
            "header of firm-2": commit,
            "masked values of firm-2": header.masked,
            "pair hashes of firm-2": header.pair_seeds,
            "session": header.sid,
            "unmasking record": recorded.aggregate["unmask"],
            "model": recorded.aggregate["model"],
            "manifest of the release": recorded.publication["manifest"],
        }[kind]
    )


ARTIFACTS = (
    "header of firm-2",
    "masked values of firm-2",
    "pair hashes of firm-2",
    "session",
    "unmasking record",
    "model",
    "manifest of the release",
)


@pytest.mark.parametrize("kind", ARTIFACTS)
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_tampered_artifact_is_named(copy: Copy, kind: str, how: str) -> None:
    path = ArtifactStore(copy.artifacts).path(artifact_of(copy, kind))
    raw = path.read_bytes()
    path.unlink()
    if how == "changed":
        path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    audit = copy.audit()
    assert [one.ok for one in audit.rounds] == [True, False]
    assert str(audit.rounds[1].problem).startswith(f"{kind}:")
    assert not audit.ok


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE entries SET raw = CAST(x'00' || substr(raw, 2) AS BLOB) WHERE idx = 9", "entry 9"),
        ("DELETE FROM entries WHERE idx = 10", "entry 10"),
        ("DELETE FROM checkpoints", "quorum"),
        ("UPDATE entries SET raw = (SELECT raw FROM entries WHERE idx = 9) WHERE idx = 8", "entry 8"),
        ("UPDATE meta SET value = 'other' WHERE key = 'origin'", "the fact 'origin'"),
    ],
)
def test_a_tampered_ledger_is_named_and_nothing_is_audited(copy: Copy, statement: str, problem: str) -> None:
    with sqlite3.connect(copy.ledger) as database:
        database.execute(statement)
    audit = copy.audit()
    assert not audit.ok
    assert problem in str(audit.problem)
    assert audit.rounds == ()


def test_a_ledger_of_other_people_is_not_this_one(copy: Copy, tmp_path: Path) -> None:
    other = federation(tmp_path / "other", 3, training(1))
    with opened(other) as coordinator:
        train(other, coordinator)
    mine = audit_copies(other.coordinator / "ledger.db", other.coordinator / "artifacts", copy.policy)
    assert not mine.ok
    with pytest.raises(StoreError, match="no ledger here"):
        audit_copies(tmp_path / "nothing.db", copy.artifacts, copy.policy)


def resigned(copy: Copy, built: Any, kind: str, change: Callable[[dict[str, Any]], None]) -> list[bytes]:
    """The entries with the last record of a kind changed and signed again by its issuer."""
    entries = copy.entries
    index = max(at for at, raw in enumerate(entries) if decode_statement(raw).payload["t"] == kind)
    payload = deepcopy(dict(decode_statement(entries[index]).payload))
    change(payload)
    issuer = decode_statement(entries[index]).issuer
    home = built.coordinator if issuer == "coordinator" else built.member(issuer)
    entries[index] = sign_statement(payload, issuer=issuer, subject="s", key=SigningKey.load(home / "signing.pem"))
    return entries


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("aggregate", lambda record: record["inputs"].reverse(), "its inputs are not the round's contributions"),
        ("aggregate", lambda record: record["inputs"].pop(), "its inputs are not the round's contributions"),
        ("aggregate", lambda record: record.update(model=record["unmask"]), "model: "),
        ("round", lambda record: record["plan"].update(threshold=5), "session: its threshold is not that of the round"),
        ("round", lambda record: record["plan"].update(rate_micro=1), "model: the contributions give"),
        ("round", lambda record: record["cohort"].pop(), "session: its roster is not that of the round"),
        ("round", lambda record: record.update(parent_model=None), "no model to start from"),
        ("publish", lambda record: record.update(model=bytes(32)), "is not the round's aggregate"),
        ("task", lambda record: record.update(spec=bytes(32)), "another model, round or task spec"),
        ("epoch_key", lambda record: record.update(key=bytes(1216)), "session: its roster is not that of the round"),
        ("epoch_key", lambda record: record.update(epoch=2), "no key of firm-5 for the masking epoch 1 when it was"),
        ("epoch_key", lambda record: record.update(purpose="other"), "no key of firm-5 for the masking epoch 1"),
    ],
)
def test_records_that_do_not_fit_the_artifacts_are_named(
    audited: Any, copy: Copy, kind: str, change: Any, problem: str
) -> None:
    """Even where the coordinator has signed them and no rule was there to refuse them."""
    round_id = copy.audit().rounds[1].round_id
    found = audit_round(resigned(copy, audited, kind, change), ArtifactStore(copy.artifacts), round_id)
    assert problem in str(found.problem)


Lie = Callable[[Descent], Descent]


def lying(monkeypatch: pytest.MonkeyPatch, lie: Lie) -> None:
    """A coordinator that records another model than the contributions give."""
    honest = TrainingRound._close

    def close(self: Any, offer: Any, sums: Any, opened_sums: Any, evidence: Any, after: Descent) -> None:
        honest(self, offer, sums, opened_sums, evidence, lie(after))

    monkeypatch.setattr(TrainingRound, "_close", close)


def test_a_model_that_is_not_the_sum_of_the_contributions_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(monkeypatch, lambda after: Descent(after.parameters + 1e-9, after.velocity, after.average))
    built = federation(tmp_path / "f", 3, training(1))
    with opened(built) as coordinator:
        with pytest.raises(Exception, match="not the one that the round's aggregate recorded"):
            train(built, coordinator)  # the rules refuse to publish the true one
        assert rounds(coordinator)[0].model is not None
    (one,) = audit_all(built.coordinator).rounds
    assert str(one.problem).startswith("model: the contributions give ")
    assert "1e-09" in str(one.problem)


def test_commands_say_yes_and_no(copy: Copy, audited: Any) -> None:
    where = ["--ledger", str(copy.ledger), "--artifacts", str(copy.artifacts)]
    policy = ["--policy", str(audited.member("firm-1") / "policy.txt")]
    good = CliRunner().invoke(app, ["all", *where, *policy, "--json"])
    document = json.loads(good.stdout)
    assert (good.exit_code, document["ok"], len(document["rounds"])) == (0, True, 2)
    assert "recomputed bit for bit" in CliRunner().invoke(app, ["all", *where]).stdout
    second = document["rounds"][1]["round"]
    one = CliRunner().invoke(app, ["round", second[:8], *where, *policy])
    assert one.exit_code == 0
    assert "credit round 2" in one.stdout
    assert "credit round 1" not in one.stdout
    assert isinstance(CliRunner().invoke(app, ["round", "zz", *where]).exception, NoSuchRound)
    ArtifactStore(copy.artifacts).path(artifact_of(copy, "unmasking record")).unlink()
    bad = CliRunner().invoke(app, ["all", *where, *policy])
    assert bad.exit_code == 1
    assert "unmasking record: the store has no artifact" in bad.stdout
    assert "1 of 2 rounds do not match" in bad.stdout
