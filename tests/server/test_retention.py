"""What a policy deletes and what it never touches, whatever interrupts it; and what an audit says of it afterwards."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner as ClickRunner
from federation_world import TASK, Lost, Meddler, federation, on_grid, opened, phases, tables, train, training
from typer.testing import CliRunner

from artesian import app as command_line
from clients.app import app as client_app
from clients.firm import open_firm
from clients.masking.contribution import Header
from clients.messages import TRAIN, WITNESS
from clients.plan import PlanInvalid
from experiments.federation import Federation, write_table
from ledger.keys import SigningKey
from ledger.policy import Policy
from ledger.rules import DELETION, Refused
from ledger.statement import decode_statement, sign_statement
from server import after_training, training_round
from server import app as server_app
from server.aggregation.group_sums import after_round
from server.artifacts import ArtifactStore
from server.audit import audit_all, audit_copies
from server.audit_commands import app as audit_app
from server.cohort import RunFailed
from server.coordinator import Coordinator, CoordinatorConfigInvalid, load_coordinator_config
from server.coordinator_commands import app as coordinator_app
from server.deletions import deletable
from server.descent import Descent
from server.engine import run_in_process
from server.ledger_copy import LedgerCopy, RecordedRound
from server.pruning import LedgerInUse, Pruned, preview, prune
from server.retention import (
    DAY_S,
    DISPUTE_DAYS,
    DeletionInvalid,
    RetentionPolicy,
    RetentionRefused,
    require_policy,
)
from server.rounds import Run
from server.statements import Statements
from server.witnessing import witness

YEAR = RetentionPolicy(400)
RELEASED_S = time.time() - 500 * DAY_S
NOW_S = RELEASED_S + 400 * DAY_S + 60


def long_ago(built: Federation) -> Meddler:
    """The firms' app; their clocks show when the release is made."""

    def before(kind: str, member: str, message: Any) -> None:
        open_firm(str(built.member(member))).now = lambda: RELEASED_S

    return Meddler(before)


def run_long_ago(built: Federation, coordinator: Coordinator, released_s: float = RELEASED_S) -> None:
    """A run with its release; the coordinator's clock shows `released_s`, and those of the firms the truth."""
    on_grid(built, lambda grid: Run(grid, coordinator, TASK, now=lambda: released_s).run(), app=long_ago(built))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Two rounds and a release, 500 days ago."""
    built = federation(tmp_path_factory.mktemp("retention") / "f", 3, training(2))
    with opened(built) as coordinator:
        run_long_ago(built, coordinator)
    return built


@pytest.fixture
def built(trained: Federation, tmp_path: Path) -> Federation:
    return replace(trained, home=Path(shutil.copytree(trained.home, tmp_path / "f")))


@pytest.fixture
def coordinator(built: Federation) -> Iterator[Coordinator]:
    with opened(built) as coordinator:
        yield coordinator


def cosign(built: Federation, coordinator: Coordinator) -> None:
    on_grid(built, lambda grid: witness(grid, coordinator))


def pruned(built: Federation, coordinator: Coordinator, policy: RetentionPolicy | None = YEAR) -> Pruned:
    return prune(coordinator, policy, lambda: NOW_S, lambda: cosign(built, coordinator))


def known(coordinator: Coordinator) -> list[RecordedRound]:
    return list(LedgerCopy.index(coordinator.log.entries(0, coordinator.log.size)).values())


def files(built: Federation) -> set[str]:
    return {path.name for path in (built.coordinator / "artifacts").rglob("*") if path.is_file()}


def trusted(built: Federation) -> Policy:
    return Policy.parse((built.member("firm-1") / "policy.txt").read_text())


def test_what_is_old_goes_and_everything_else_stays(built: Federation, coordinator: Coordinator) -> None:
    before, expected = files(built), {name for one in known(coordinator) for name in _names(coordinator, one)}
    assert preview(coordinator.read_entries(), coordinator.artifacts, YEAR, NOW_S).recorded
    assert files(built) == before
    size = sum(coordinator.artifacts.size(bytes.fromhex(name)) for name in expected)
    done = pruned(built, coordinator)
    assert [len(done.recorded), len(done.deleted), len(done.waiting)] == [2, 2, 0]
    assert done.freed_bytes == size > 0
    assert len(expected) == 2 * (3 + 3 + 1)  # masked vectors, pair hashes, opened seeds
    (policy,) = files(built) - before
    assert before - files(built) == expected
    record = known(coordinator)[0].deletion
    assert record is not None
    assert record.policy.hex() == policy
    again = pruned(built, coordinator)
    assert again == Pruned((), (), (), 0)


def _names(coordinator: Coordinator, one: RecordedRound) -> list[str]:
    return [name.hex() for name in deletable(one, coordinator.artifacts)]


def test_nothing_is_deleted_before_its_time(built: Federation, coordinator: Coordinator) -> None:
    before = files(built)
    done = prune(coordinator, YEAR, lambda: RELEASED_S + 399 * DAY_S, lambda: cosign(built, coordinator))
    assert done == Pruned((), (), (), 0)
    assert files(built) == before


def test_an_audit_tells_a_recorded_deletion_from_a_loss(built: Federation, coordinator: Coordinator) -> None:
    copy = Path(shutil.copytree(built.coordinator / "artifacts", built.home / "auditors"))
    lost = Path(shutil.copytree(built.coordinator / "artifacts", built.home / "lost"))
    ledger = built.coordinator / "ledger.db"
    ArtifactStore(lost).delete([deletable(known(coordinator)[0], ArtifactStore(lost))[0]])
    missing = audit_copies(ledger, lost, trusted(built))
    assert [one.ok for one in missing.rounds] == [False, True]
    older = f"this copy of the ledger ends at entry {missing.entries - 1}; a deletion may be recorded later"
    assert older in str(missing.rounds[0].problem)
    ours = ["all", "--ledger", str(ledger), "--artifacts", str(lost), "--json"]
    document = json.loads(CliRunner().invoke(audit_app, ours).stdout)
    assert (document["ok"], older in document["problem"]) == (False, True)
    assert document["problem"].startswith("credit round 1 (")
    pruned(built, coordinator)
    audit = audit_copies(ledger, built.coordinator / "artifacts", trusted(built))
    entry = known(coordinator)[0].deletion
    assert entry is not None
    assert audit.ok
    assert (audit.recomputed, audit.deleted) == (0, 2)
    assert [one.deleted for one in audit.rounds] == [entry.entry] * 2
    shutil.copytree(built.coordinator / "artifacts", copy, dirs_exist_ok=True)
    complete = audit_copies(ledger, copy, trusted(built))  # who kept everything recomputes everything
    assert (complete.ok, complete.recomputed, complete.deleted) == (True, 2, 0)


def test_a_deletion_excuses_nothing_else(built: Federation, coordinator: Coordinator) -> None:
    pruned(built, coordinator)
    first, last = known(coordinator)
    assert first.deletion is not None
    assert last.aggregate is not None
    assert last.publication is not None
    commit = last.contributions["firm-2"].commit
    names = {
        "header of firm-2": commit,
        "session": Header.from_bytes(coordinator.artifacts.get(commit)).sid,
        "model": last.aggregate["model"],
        "manifest of the release": last.publication["manifest"],
        f"deletion recorded in entry {first.deletion.entry}: its policy": first.deletion.policy,
    }
    for what, name in names.items():
        content = coordinator.artifacts.get(name)
        coordinator.artifacts.delete([name])
        audit = audit_copies(built.coordinator / "ledger.db", built.coordinator / "artifacts", trusted(built))
        assert str(audit.rounds[1].problem).startswith(f"{what}: the store has no artifact")
        assert "later" not in str(audit.rounds[1].problem)
        assert coordinator.artifacts.put(content) == name
    parent = last.payload["parent_model"]
    coordinator.artifacts.delete([parent])
    audit = audit_copies(built.coordinator / "ledger.db", built.coordinator / "artifacts", trusted(built))
    assert [one.ok for one in audit.rounds] == [False, False]  # the first round's outcome, the second one's beginning


def test_a_damaged_vector_is_a_problem_whatever_is_recorded(built: Federation, coordinator: Coordinator) -> None:
    prune(coordinator, YEAR, lambda: NOW_S)  # recorded, not final: nothing is deleted yet
    path = coordinator.artifacts.path(deletable(known(coordinator)[0], coordinator.artifacts)[0])
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    cosign(built, coordinator)
    audit = audit_copies(built.coordinator / "ledger.db", built.coordinator / "artifacts", trusted(built))
    assert "has been changed" in str(audit.rounds[0].problem)


def test_nothing_is_deleted_before_its_record_is_final(built: Federation, coordinator: Coordinator) -> None:
    before = files(built)
    first = prune(coordinator, YEAR, lambda: NOW_S)  # as on the command line: no witness is there
    assert [len(first.recorded), len(first.deleted), len(first.waiting)] == [2, 0, 2]
    again = prune(coordinator, YEAR, lambda: NOW_S)
    assert [len(again.recorded), len(again.deleted), len(again.waiting)] == [0, 0, 2]
    assert before < files(built)
    coordinator.artifacts.delete([deletable(known(coordinator)[0], coordinator.artifacts)[0]])
    early = CliRunner().invoke(audit_app, ["all", "--home", str(built.coordinator)])
    assert "not final in this copy of the ledger" in early.stdout
    cosign(built, coordinator)
    done = prune(coordinator, None, lambda: NOW_S)
    assert [len(done.recorded), len(done.deleted), len(done.waiting)] == [0, 2, 0]


def test_an_interrupted_deletion_is_taken_up_again(
    built: Federation, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every single file that is deleted, in turn: the next pruning deletes the rest, and no audit objects."""
    prune(coordinator, YEAR, lambda: NOW_S)
    cosign(built, coordinator)
    expected = {name for one in known(coordinator) for name in _names(coordinator, one)}
    unlink, left = Path.unlink, len(expected)

    def cut(path: Path, *rest: Any, **more: Any) -> None:
        unlink(path, *rest, **more)
        raise KeyboardInterrupt

    while left:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", cut)
            with pytest.raises(KeyboardInterrupt):
                prune(coordinator, None, lambda: NOW_S)
        left -= 1
        assert len(expected & files(built)) == left
        if left in (13, 7, 1):
            audit = audit_copies(built.coordinator / "ledger.db", built.coordinator / "artifacts", trusted(built))
            assert audit.ok
    assert prune(coordinator, None, lambda: NOW_S) == Pruned((), (), (), 0)


def test_a_round_without_a_release_is_kept(tmp_path: Path) -> None:
    """Aggregated and not published: the run goes on from it, and nothing of it is old."""

    def lost(kind: str, member: str, message: Any) -> Any:
        if kind == TRAIN and len(known(coordinator)) > 1:
            raise Lost
        return None

    built = federation(tmp_path / "f", 3, training(2))
    with opened(built) as coordinator:
        with pytest.raises(RunFailed):
            on_grid(built, lambda grid: Run(grid, coordinator, TASK, now=lambda: RELEASED_S).run(), app=Meddler(lost))
        assert phases(coordinator) == ["aggregated", "aborted", "aborted", "aborted"]
        assert pruned(built, coordinator) == Pruned((), (), (), 0)


def test_every_groups_seeds_go_and_what_names_them_stays(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 10, training(1, robust={"groups": 2, "root": "root.csv"}))
    write_table(tables(1, 30, seed=99)[0], built.coordinator / "root.csv")
    with opened(built) as coordinator:
        run_long_ago(built, coordinator)
        before, expected = files(built), set(_names(coordinator, known(coordinator)[0]))
        assert len(pruned(built, coordinator).deleted) == 1
        assert before - files(built) == expected
        assert len(expected) == 10 + 10 + 2
    audit = audit_all(built.coordinator)
    assert (audit.ok, audit.deleted) == (True, 1)


def test_ciphertexts_go_as_masked_vectors_do(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 5, training(1, kind="encrypted"))
    with opened(built) as coordinator:
        run_long_ago(built, coordinator)
        before = files(built)
        assert len(pruned(built, coordinator).deleted) == 1
        assert len(before - files(built)) == 5 + 5 + 1
    audit = audit_all(built.coordinator)
    assert (audit.ok, audit.deleted) == (True, 1)


def test_a_revoked_release_keeps_its_rounds(built: Federation, coordinator: Coordinator) -> None:
    """Why a model was revoked is what somebody will want to recompute."""
    (release,) = coordinator.log.state.releases.values()
    make = Statements(coordinator.config.cid, lambda: coordinator.key, lambda: NOW_S).make
    coordinator.log.append([make("revoke", "s", model=release.model, reason="in dispute")])
    assert pruned(built, coordinator) == Pruned((), (), (), 0)


@pytest.mark.parametrize("plan", [bytes(32), {"novelty": 1}], ids=["a hash", "of a newer version"])
def test_a_round_whose_plan_cannot_be_read_is_left_alone_and_said(
    built: Federation, coordinator: Coordinator, plan: Any
) -> None:
    """The ledger's rules admit it; it is released and old, and what is old beside it goes."""
    statements = Statements(coordinator.config.cid, lambda: coordinator.key, lambda: RELEASED_S)
    parent, opening = coordinator.artifacts.put(b"the model before"), coordinator.artifacts.put(b"how it was opened")
    (released,) = coordinator.log.state.releases
    made = statements.payload("round", task=TASK, plan=plan, cohort=list(built.firms), parent_model=released)
    coordinator.log.append([raw := statements.sign(made, made["id"].hex())])
    digest, common = decode_statement(raw).digest, {"commit": bytes(32), "n_bucket": 60, "rdp": [], "clip": 1}
    given = []
    for firm in built.firms:
        payload = statements.payload("contribution", parent=digest, round=made["id"], **common)
        key = SigningKey.load(built.member(firm) / "signing.pem")
        given.append(sign_statement(payload, issuer=firm, subject=made["id"].hex(), key=key))
    coordinator.log.append(given)
    inputs = [decode_statement(one).digest for one in given]
    fields = {"round": made["id"], "model": parent}
    coordinator.log.append([statements.make("aggregate", "a", parent=digest, inputs=inputs, unmask=opening, **fields)])
    coordinator.log.append([statements.make("publish", TASK, manifest=parent, **fields)])
    done = pruned(built, coordinator)
    assert [len(done.deleted), [one.id for one in done.unread]] == [2, [made["id"]]]
    assert {parent.hex(), opening.hex()} <= files(built)
    audit = audit_all(built.coordinator, trusted(built))
    assert [one.ok for one in audit.rounds] == [True, True, False]
    assert str(audit.rounds[2].problem).startswith("plan: ")
    home = ["--home", str(built.coordinator)]
    said = CliRunner().invoke(coordinator_app, ["prune", *home, "--older-than", "400", "--dry-run"])
    assert "1 round left alone: this version cannot read their plans" in said.stdout


def test_nothing_about_pruning_ends_a_run(built: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*told: Any) -> Pruned:
        raise PlanInvalid("plan: of another world")

    monkeypatch.setattr(after_training, "prune", refuse)
    lines: list[str] = []
    with opened(built) as coordinator:
        assert train(built, coordinator, lines=lines, seed=1).model in coordinator.log.state.releases
    assert "nothing is deleted under the retention policy yet: plan: of another world" in lines[-1]


def test_what_another_round_names_too_is_kept(
    built: Federation, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that is not old names bytes of one that is: they stay."""
    index = LedgerCopy.index

    def sharing(entries: Sequence[bytes]) -> dict[bytes, RecordedRound]:
        rounds = index(entries)
        first, last = rounds.values()
        last.published = []
        last.contributions = {**last.contributions, "firm-9": first.contributions["firm-1"]}
        return rounds

    before, store = files(built), coordinator.artifacts
    monkeypatch.setattr(LedgerCopy, "index", staticmethod(sharing))
    first, last = known(coordinator)
    header = Header.from_bytes(store.get(first.contributions["firm-1"].commit))
    expected = set(_names(coordinator, first)) - {header.masked.hex(), header.pair_seeds.hex()}
    assert set(_names(coordinator, first)) & set(_names(coordinator, last))
    assert len(pruned(built, coordinator).deleted) == 1
    assert before - files(built) == expected


Forge = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (lambda record: {**record, "ts": int(RELEASED_S) + 399 * DAY_S}, "399 days after the release, not 400"),
        (lambda record: {**record, "artifact": bytes(32)}, "its policy: the store has no artifact"),
        (lambda record: {**record, "inputs": record["inputs"][1:]}, "the store has no artifact"),
    ],
    ids=["too early", "no policy", "not of this round"],
)
def test_a_record_that_does_not_justify_the_deletion(
    built: Federation, coordinator: Coordinator, forge: Forge, problem: str
) -> None:
    rounds = known(coordinator)
    statements = Statements(coordinator.config.cid, lambda: coordinator.key, lambda: NOW_S)
    policy = coordinator.artifacts.put(YEAR.to_bytes())
    digests = [one.digest for one in rounds]
    honest = statements.payload("attest", subject=TASK, artifact=policy, kind=DELETION, inputs=digests)
    coordinator.log.append([statements.sign(forge(honest), TASK)])
    cosign(built, coordinator)
    assert rounds[0].id not in [one.id for one in prune(coordinator, None, lambda: NOW_S).deleted]
    coordinator.artifacts.delete(deletable(rounds[0], coordinator.artifacts))
    audit = audit_copies(built.coordinator / "ledger.db", built.coordinator / "artifacts", trusted(built))
    assert not audit.rounds[0].ok
    assert problem in str(audit.rounds[0].problem)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A round and its release 500 days ago, by a coordinator that published another model than came out."""

    def moved(*told: Any) -> Descent:
        honest = after_round(*told)
        return replace(honest, parameters=honest.parameters + 1.0, average=honest.average + 1.0)

    built = federation(tmp_path_factory.mktemp("wrong") / "f", 3, training(1))
    with pytest.MonkeyPatch.context() as patched, opened(built) as coordinator:
        patched.setattr(training_round, "after_round", moved)
        run_long_ago(built, coordinator)
    return built


def audited(built: Federation, days_after: float) -> str:
    """What an audit finds wrong so long after the release; empty where it finds nothing."""
    audit = audit_all(built.coordinator, trusted(built), lambda: RELEASED_S + days_after * DAY_S)
    return "; ".join(str(one.problem) for one in audit.rounds if not one.ok)


def test_a_wrong_round_is_not_hidden_by_a_deletion_that_is_dated_ahead(wrong: Federation, tmp_path: Path) -> None:
    built = replace(wrong, home=Path(shutil.copytree(wrong.home, tmp_path / "f")))
    assert "the contributions give" in audited(built, 0)
    month = RetentionPolicy(DISPUTE_DAYS)
    with opened(built) as coordinator:
        ahead = RELEASED_S + 31 * DAY_S
        done = prune(coordinator, month, lambda: ahead, lambda: cosign(built, coordinator))
        assert len(done.deleted) == 1
    assert "31.0 days ahead of this clock" in audited(built, 0)
    assert "ahead of this clock" in audited(built, 29)
    assert audited(built, 31) == ""  # what nobody looked at in time, and no firm signed anything after
    with opened(built) as coordinator:
        run_long_ago(built, coordinator)  # the same day
    assert "31.0 days ahead of what firms signed after it" in audited(built, 31)


def test_a_wrong_round_is_not_hidden_by_a_release_that_is_dated_back(tmp_path: Path) -> None:
    """The firms' times count then: so many days after them, nothing less."""
    built = federation(tmp_path / "f", 3, training(1))
    with opened(built) as coordinator:
        run_long_ago(built, coordinator, RELEASED_S - 31 * DAY_S)
        month = RetentionPolicy(DISPUTE_DAYS)
        assert prune(coordinator, month, lambda: RELEASED_S) == Pruned((), (), (), 0)
        (one,) = known(coordinator)
        statements = Statements(coordinator.config.cid, lambda: coordinator.key, lambda: RELEASED_S)
        policy = coordinator.artifacts.put(month.to_bytes())
        coordinator.log.append(
            [statements.make("attest", TASK, subject=TASK, artifact=policy, kind=DELETION, inputs=[one.digest])]
        )
        cosign(built, coordinator)
        coordinator.artifacts.delete(deletable(one, coordinator.artifacts))
    assert "0 days after its firms contributed, not 30" in audited(built, 400)


def test_the_time_of_a_round_is_that_of_most_of_its_firms(coordinator: Coordinator) -> None:
    one = known(coordinator)[0]
    assert one.contributed_s == int(RELEASED_S)
    one.signed_at["firm-1"] = 0
    assert one.contributed_s == int(RELEASED_S)
    one.signed_at["firm-1"] = 10**12
    assert one.contributed_s == int(RELEASED_S)
    one.signed_at.clear()
    assert one.contributed_s is None


def test_the_coordinator_attests_nothing_else(coordinator: Coordinator) -> None:
    statements = Statements(coordinator.config.cid, lambda: coordinator.key, lambda: NOW_S)
    for more in ({"kind": "invoice"}, {}):
        payload = statements.payload("attest", subject=TASK, artifact=bytes(32), **more)
        with pytest.raises(Refused) as refused:
            coordinator.log.append([statements.sign(payload, TASK)])
        assert refused.value.rule == "issuer"


def test_a_firm_cannot_say_that_artifacts_are_deleted(built: Federation, coordinator: Coordinator) -> None:
    key = SigningKey.load(built.member("firm-1") / "signing.pem")
    statements = Statements(coordinator.config.cid, lambda: key, lambda: NOW_S)
    policy = coordinator.artifacts.put(YEAR.to_bytes())
    digests = [one.digest for one in known(coordinator)]
    payload = statements.payload("attest", subject=TASK, artifact=policy, kind=DELETION, inputs=digests)
    coordinator.log.append([sign_statement(payload, issuer="firm-1", subject=TASK, key=key)])
    assert all(one.deletion is None for one in known(coordinator))


def test_the_run_prunes_after_its_release(built: Federation) -> None:
    with (built.coordinator / "coordinator.toml").open("a") as config:
        config.write("\n[retention]\ndays = 400\n")
    lines: list[str] = []
    with opened(built) as coordinator:
        train(built, coordinator, lines=lines, seed=1)
        assert [one.deletion is not None for one in known(coordinator)] == [True, True, False, False]
        assert coordinator.log.final_size == coordinator.log.size
    assert lines[-1].startswith("retention: artifacts of 2 rounds deleted, ")
    audit = audit_all(built.coordinator)
    assert audit.ok
    assert (audit.recomputed, audit.deleted) == (2, 2)


def test_a_run_whose_firms_do_not_cosign_the_deletion_keeps_its_release(built: Federation) -> None:
    with (built.coordinator / "coordinator.toml").open("a") as config:
        config.write("\n[retention]\ndays = 400\n")
    lines: list[str] = []

    def silent(kind: str, member: str, message: Any) -> Any:
        if kind == WITNESS and known(coordinator)[0].deletion is not None:
            raise Lost
        return None

    before = files(built)
    with opened(built) as coordinator:
        release = train(built, coordinator, app=Meddler(silent), lines=lines, seed=1)
        assert release.model in coordinator.log.state.releases
        assert before <= files(built)
        cosign(built, coordinator)
        assert len(prune(coordinator, None, time.time).deleted) == 2


def test_a_run_without_a_task_deletes_what_was_recorded(built: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(server_app.HOME_VARIABLE, str(built.coordinator))
    with Coordinator(built.coordinator) as coordinator:
        assert prune(coordinator, YEAR, time.time).waiting
    before = files(built)
    nodes = [{"home": str(built.member(name))} for name in built.firms]
    run_in_process(server_app.app, client_app, nodes, {})
    assert len(before - files(built)) == 14


def test_the_command(built: Federation) -> None:
    home = ["--home", str(built.coordinator)]

    def asked(*arguments: str) -> Any:
        return CliRunner().invoke(coordinator_app, ["prune", *home, *arguments])

    assert isinstance(asked().exception, RetentionRefused)  # nothing is agreed: everything is kept
    assert isinstance(asked("--older-than", str(DISPUTE_DAYS - 1)).exception, RetentionRefused)
    before = files(built)
    dry = json.loads(asked("--older-than", "400", "--dry-run", "--json").stdout)
    assert (len(dry["recorded"]), dry["dry_run"], dry["freed_bytes"] > 0) == (2, True, True)
    assert files(built) == before
    with Coordinator(built.coordinator) as running:
        assert running.log.size
        assert isinstance(asked("--older-than", "400").exception, LedgerInUse)
        would = f"would record 2 rounds; would free {dry['freed_bytes']} bytes once that is final"
        assert would in asked("--older-than", "400", "--dry-run").stdout
    said = asked("--older-than", "400")
    assert said.exit_code == 0
    assert "2 rounds recorded, 0 rounds deleted, 2 rounds waiting; freed 0 bytes" in said.stdout
    assert "by the coordinator's next run, or by this command given again then" in said.stdout
    again = asked("--older-than", "400", "--dry-run").stdout
    assert f"would record 0 rounds; with 2 rounds recorded before, would free {dry['freed_bytes']} bytes" in again
    with opened(built) as coordinator:
        cosign(built, coordinator)
    done = json.loads(asked("--older-than", "400", "--json").stdout)
    assert (done["ok"], len(done["deleted"]), done["freed_bytes"]) == (True, 2, dry["freed_bytes"])
    audit = CliRunner().invoke(audit_app, ["all", *home])
    entry = done["deleted"][0]["deletion_entry"]
    assert audit.exit_code == 0
    assert f"deleted under the policy recorded in entry {entry}, not recomputable; model chain" in audit.stdout
    assert "0 rounds match, 2 are deleted under a recorded policy" in audit.stdout
    document = json.loads(CliRunner().invoke(audit_app, ["all", *home, "--json"]).stdout)
    assert (document["recomputed"], document["deleted"]) == (0, 2)
    assert [one["recomputed"] for one in document["rounds"]] == [False, False]


def test_the_ledgers_audit_of_one_round_says_the_same(built: Federation, coordinator: Coordinator) -> None:
    """`artesian ledger audit --round` and `artesian audit round`: one answer, before and after a deletion."""
    first = known(coordinator)[0].id.hex()
    artifacts = ["--artifacts", str(built.coordinator / "artifacts")]
    member = ["--home", str(built.member("firm-1"))]

    def same(*options: str) -> tuple[int, str]:
        ledgers = ClickRunner().invoke(command_line, ["ledger", "audit", "--round", first[:8], *member, *options])
        own = CliRunner().invoke(audit_app, ["round", first[:8], *member, *options])
        assert (ledgers.exit_code, ledgers.stdout) == (own.exit_code, own.stdout)
        return ledgers.exit_code, ledgers.stdout

    code, out = same(*artifacts)
    assert (code, "3 firms, recomputed bit for bit" in out) == (0, True)
    assert "credit round 2" not in out
    pruned(built, coordinator)
    code, out = same(*artifacts, "--json")
    assert (code, json.loads(out)["deleted"]) == (0, 1)
    coordinator.artifacts.delete([known(coordinator)[0].aggregate["model"]])  # type: ignore[index]  # it has one
    assert same(*artifacts)[0] == 1

    def wrong(*options: str) -> str:
        refused = ClickRunner().invoke(command_line, ["ledger", "audit", *member, *options])
        assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        return refused.stderr

    assert "--artifacts goes with --round" in wrong(*artifacts)
    assert "no aggregated round" in wrong("--round", "zz", *artifacts)
    assert "no such folder; give --artifacts" in wrong("--round", first)
    database = ["--db", str(built.coordinator / "ledger.db"), "--policy", str(built.member("firm-1") / "policy.txt")]
    assert (
        ClickRunner().invoke(command_line, ["ledger", "audit", *database]).exit_code == 0
    )  # the whole ledger, as ever


def test_a_policy_is_what_was_agreed_or_longer() -> None:
    assert require_policy(YEAR, None) == YEAR
    assert require_policy(YEAR, 500).days == 500
    assert require_policy(None, 60).days == 60
    with pytest.raises(RetentionRefused, match="promises to keep 400 days, not 60"):
        require_policy(YEAR, 60)
    with pytest.raises(RetentionRefused, match="no \\[retention\\]"):
        require_policy(None, None)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"days": 1}', b'{"days": 400}', YEAR.to_bytes() + b" "])
def test_bytes_that_are_no_policy(raw: bytes) -> None:
    assert RetentionPolicy.from_bytes(YEAR.to_bytes()) == YEAR
    with pytest.raises(DeletionInvalid):
        RetentionPolicy.from_bytes(raw)


def test_the_configuration_holds_the_policy(built: Federation) -> None:
    path = built.coordinator / "coordinator.toml"
    assert load_coordinator_config(path).retention_policy is None
    text = path.read_text()
    path.write_text(text + "\n[retention]\ndays = 400\n")
    assert load_coordinator_config(path).retention_policy == YEAR
    path.write_text(text + "\n[retention]\ndays = 29\n")
    with pytest.raises(CoordinatorConfigInvalid, match=r"retention.days"):
        load_coordinator_config(path)
    for wrong, problem in {
        "[retention]\nday = 400": r"retention.day: unknown key; missing: days \(and 1 more\)",
        "[retention]\ndays = '400'": "retention.days: Input should be a valid integer",
    }.items():
        path.write_text(f"{text}\n{wrong}\n")
        with pytest.raises(CoordinatorConfigInvalid, match=problem):
            load_coordinator_config(path)
    path.write_text(f"retention = 40\n{text}")
    with pytest.raises(CoordinatorConfigInvalid, match="retention: must be a table"):
        load_coordinator_config(path)
