"""Whole runs with encrypted sums: a key holder who is not the coordinator, the ledger, the audit, what goes wrong."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from federation_world import (
    HOLDER,
    Lost,
    Meddler,
    federation,
    on_grid,
    opened,
    phases,
    rounds,
    spent,
    train,
    training,
    with_fields,
)
from flwr.app import Message
from typer.testing import CliRunner

from clients.encryption.evidence import Opening
from clients.masking.contribution import Header
from clients.messages import CHECK, DECRYPT, HOLD, KEY, REVEAL, TRAIN
from experiments.federation import Federation
from ledger.statement import decode_statement
from server.audit import audit_all
from server.audit_commands import app
from server.cohort import RunFailed
from server.coordinator import Coordinator
from server.pruning import prune
from server.retention import RetentionPolicy
from server.witnessing import witness

FIRMS = 5


def built(home: Path, count: int = 1, **changes: Any) -> Federation:
    return federation(home / "home", FIRMS, training(count, kind="encrypted"), **changes)


def lost(kind: str, *members: str) -> Callable[[str, str, Message], Message | None]:
    """The replies of these members to this kind of message never arrive."""

    def before(asked: str, member: str, message: Message) -> Message | None:
        if asked == kind and member in members:
            raise Lost
        return None

    return before


def stored_vectors(home: Federation) -> int:
    return sum(path.stat().st_size > 50_000 for path in (home.coordinator / "artifacts").rglob("*") if path.is_file())


@dataclass
class Done:
    """A run of two rounds that came to its end, and what was asked of whom."""

    home: Federation
    coordinator: Coordinator
    asked: list[tuple[str, str]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    home, asking = built(tmp_path_factory.mktemp("encrypted"), 2), Meddler()
    with opened(home) as coordinator:
        train(home, coordinator, app=asking)
        yield Done(home, coordinator, asking.asked)


def test_a_whole_run_is_opened_by_the_holder_and_recomputed_by_anyone(done: Done) -> None:
    assert phases(done.coordinator) == ["aggregated", "published"]
    audit = audit_all(done.home.coordinator)
    assert ([one.problem for one in audit.rounds], audit.recomputed) == ([None, None], 2)
    assert {member for kind, member in done.asked if kind in (HOLD, DECRYPT)} == {HOLDER}
    assert HOLDER not in {member for kind, member in done.asked if kind in (TRAIN, REVEAL, CHECK, KEY)}
    assert sum(kind == CHECK for kind, _ in done.asked) == 2 * 2  # one more than collude, in each round


def test_each_round_has_a_key_of_its_own_that_the_holder_vouches_for_and_no_longer_has(done: Done) -> None:
    log = done.coordinator.log
    entries = [decode_statement(raw) for raw in log.entries(0, log.size)]
    vouched = [one for one in entries if one.payload["t"] == "epoch_key"]
    plans = [one.payload["plan"] for one in entries if one.payload["t"] == "round"]
    assert [one.issuer for one in vouched] == [HOLDER, HOLDER]
    assert [one.payload["key"] for one in vouched] == [plan["context"] for plan in plans]
    assert len({plan["context"] for plan in plans}) == 2
    assert [path.name for path in (done.home.member(HOLDER) / "held-keys").iterdir()] == ["epoch"]


def test_the_opening_on_record_has_everybodys_signature(done: Done) -> None:
    log = done.coordinator.log
    entries = [decode_statement(raw).payload for raw in log.entries(0, log.size)]
    for aggregate in (one for one in entries if one["t"] == "aggregate"):
        opening = Opening.from_bytes(done.coordinator.artifacts.get(aggregate["unmask"]))
        assert sorted(opening.reveals) == list(done.home.firms)
        assert [len(one) for one in opening.checks] == [2]


def test_the_audit_says_on_whose_word_the_total_rests(done: Done) -> None:
    where = ["--home", str(done.home.coordinator)]
    said = CliRunner().invoke(app, ["all", *where]).stdout
    assert "5 firms, ciphertexts added up again bit for bit; that they open to this sum is the word of auditor" in said
    (found, _) = json.loads(CliRunner().invoke(app, ["all", *where, "--json"]).stdout)["rounds"]
    assert (found["opened_by"], found["recomputed"]) == (HOLDER, True)


def test_an_audit_names_what_was_changed_afterwards(done: Done) -> None:
    store, one = done.coordinator.artifacts, rounds(done.coordinator)[0]
    header = Header.from_bytes(store.get(dict(one.contributions.items())["firm-1"].commit))
    for what, name in {"masked values of firm-1": header.masked, "public context": header.self_seed}.items():
        kept = store.get(name)
        for content in (None, kept[:-1] + b"\0"):
            path = store.path(name)
            path.unlink() if content is None else path.write_bytes(content)
            found = audit_all(done.home.coordinator).rounds[0]
            assert found.problem is not None
            assert found.problem.startswith(what)
            store.put(kept)
    assert audit_all(done.home.coordinator).ok


def test_the_model_is_the_one_that_a_masked_sum_gives_with_or_without_a_ledger(tmp_path: Path) -> None:
    models = set()
    for kind, ledger in (("masked", True), ("encrypted", True), ("encrypted", False)):
        home = federation(tmp_path / f"{kind}{ledger}", FIRMS, training(1, kind=kind, mode="local"), ledger=ledger)
        with opened(home) as coordinator:
            models.add(train(home, coordinator).model)
    assert len(models) == 1
    assert stored_vectors(home) == 1  # where nothing is recorded nothing is kept, but the public context


def test_a_holder_that_signs_no_fit_total_voids_every_round_and_the_run_ends(tmp_path: Path) -> None:
    home = built(tmp_path)

    def after(kind: str, member: str, message: Message, reply: Message) -> Message | None:
        if kind != DECRYPT:
            return None

        def change(fields: dict[str, Any]) -> None:
            fields["total"] = bytes(len(fields["total"]))

        return with_fields(kind, message, reply, change)

    with opened(home) as coordinator, pytest.raises(RunFailed, match="auditor has not signed it"):
        train(home, coordinator, app=Meddler(after=after))
    assert stored_vectors(home) == 3  # no ciphertext stays, and a context a round


def test_a_firm_that_does_not_train_has_dropped_and_the_sum_opens(tmp_path: Path) -> None:
    home = built(tmp_path)
    with opened(home) as coordinator:
        train(home, coordinator, app=Meddler(lost(TRAIN, "firm-2")))
        (one,) = rounds(coordinator)
        assert sorted(one.contributions) == ["firm-1", "firm-3", "firm-4", "firm-5"]
    assert audit_all(home.coordinator).ok


def test_where_a_checking_firm_is_silent_another_is_asked(tmp_path: Path) -> None:
    home, asking = built(tmp_path), Meddler(lost(CHECK, "firm-1", "firm-2", "firm-3"))
    with opened(home) as coordinator:
        train(home, coordinator, app=asking)
    assert [member for kind, member in asking.asked if kind == CHECK] == [f"firm-{k}" for k in range(1, 6)]


def test_a_firm_that_commits_and_hands_nothing_over_voids_the_round_and_its_ciphertexts_go(tmp_path: Path) -> None:
    home, calls = built(tmp_path), []

    def before(kind: str, member: str, message: Message) -> Message | None:
        if kind == REVEAL and member == "firm-3" and not calls:
            calls.append(member)
            raise Lost
        return None

    with opened(home) as coordinator:
        lines: list[str] = []
        train(home, coordinator, app=Meddler(before), lines=lines)
        assert phases(coordinator) == ["aborted", "published"]
    assert any("firm-3 did not hand over" in line for line in lines)
    assert stored_vectors(home) == FIRMS + 2  # of the second round, and the contexts of both: public, and no secret
    one_round = spent(home, "firm-1")
    assert any(one_round)
    assert audit_all(home.coordinator).ok


def test_a_holder_that_is_not_there_is_asked_for_before_anybody_pays(tmp_path: Path) -> None:
    home = built(tmp_path)
    firms = list(home.firms)
    with opened(home) as coordinator:
        with pytest.raises(RunFailed, match="'auditor' is not connected"):
            train(home, coordinator, firms=firms)
        with pytest.raises(RunFailed, match="'auditor' made no key"):
            train(home, coordinator, app=Meddler(lost(HOLD, HOLDER)))
    assert not any(spent(home, "firm-1"))


def test_a_holder_that_takes_part_in_the_task_is_refused(tmp_path: Path) -> None:
    home = built(tmp_path, limits={"key_holders": ["firm-1"]})
    text = (home.coordinator / "coordinator.toml").read_text(encoding="utf-8")
    (home.coordinator / "coordinator.toml").write_text(text.replace('"auditor"', '"firm-1"'), encoding="utf-8")
    with opened(home) as coordinator, pytest.raises(RunFailed, match="'firm-1' takes part in the task"):
        train(home, coordinator)


def test_firms_that_do_not_trust_the_holder_do_not_take_part(tmp_path: Path) -> None:
    home = built(tmp_path)
    for name in ("firm-1", "firm-2", "firm-3"):
        path = home.member(name) / "firm.toml"
        path.write_text(path.read_text(encoding="utf-8").replace('"auditor"', '"somebody"'), encoding="utf-8")
    with opened(home) as coordinator, pytest.raises(RunFailed, match="not among those that this firm allows"):
        train(home, coordinator)
    assert not any(spent(home, "firm-1"))


def test_ciphertexts_go_under_a_retention_policy_as_masked_vectors_do(tmp_path: Path) -> None:
    home = built(tmp_path)
    with opened(home) as coordinator:
        train(home, coordinator)
        assert stored_vectors(home) == FIRMS + 1
        later_s = time.time() + 31 * 86_400
        cosign = lambda: on_grid(home, lambda grid: witness(grid, coordinator))  # noqa: E731
        done = prune(coordinator, RetentionPolicy(30), lambda: later_s, cosign)
        assert (len(done.deleted), stored_vectors(home)) == (1, 1)  # the public context stays
    audit = audit_all(home.coordinator, now=lambda: later_s)
    assert (audit.ok, audit.deleted, audit.recomputed) == (True, 1, 0)
