"""Rounds in groups: each group's sum is opened by itself, or none is; what comes out is recomputed bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from federation_world import (
    SPEC,
    Lost,
    Meddler,
    federation,
    opened,
    phases,
    rounds,
    spec,
    stored,
    tables,
    train,
    training,
    with_fields,
)
from flwr.app import Message
from typer.testing import CliRunner

from clients.disclosure import pack_refusal
from clients.masking.contribution import Header
from clients.messages import OPEN, TRAIN, VALIDATE, Refusal
from clients.tasks.task import task_for
from clients.vote import Vote
from experiments.federation import write_table
from ledger.keys import SigningKey
from ledger.statement import decode_statement
from server import training_round, validation
from server.aggregation import group_sums
from server.aggregation.evidence import ArtifactMismatch
from server.artifacts import ArtifactStore
from server.audit import audit_all
from server.audit_commands import app
from server.coordinator import Coordinator
from server.ledger_copy import LedgerCopy
from server.opening_record import Opening
from server.root_audit import RootMismatch, audit_roots
from server.root_table import RootTable
from server.rounds import RunFailed

FIRMS = 10


def robust(count: int = 1, **rules: Any) -> Any:
    return training(count, robust={"groups": 2, **rules})


def sessions(coordinator: Coordinator) -> set[bytes]:
    """The session ids that the contributions to the last round name."""
    commits = [one.commit for one in rounds(coordinator)[-1].contributions.values()]
    return {Header.from_bytes(coordinator.artifacts.get(commit)).sid for commit in commits}


def test_a_round_in_groups_is_recomputed(tmp_path: Path) -> None:
    """Of two groups, one of which has lost a firm."""

    def before(kind: str, member: str, message: Any) -> None:
        if kind == TRAIN and member == "firm-07":
            raise Lost

    built = federation(tmp_path / "f", FIRMS, robust(norm_cap=0.5, root="root.csv"))
    write_table(tables(1, 30, seed=99)[0], built.coordinator / "root.csv")
    with opened(built) as coordinator:
        release = train(built, coordinator, app=Meddler(before=before))
        assert len(sessions(coordinator)) == 2
        assert len(rounds(coordinator)[-1].contributions) == FIRMS - 1
        unmask = [
            one.payload["unmask"]
            for one in map(decode_statement, coordinator.log.entries(0, coordinator.log.size))
            if one.payload["t"] == "aggregate"
        ]
        opening = Opening.from_bytes(coordinator.artifacts.get(unmask[-1]))
    assert len(opening.unmaskings) == 2
    assert opening.root
    assert release.manifest["privacy"]["groups"] == 2
    assert [one.problem for one in audit_all(built.coordinator).rounds] == [None]
    said = CliRunner().invoke(app, ["all", "--home", str(built.coordinator)]).stdout
    assert "9 firms, recomputed bit for bit; root gradient: the coordinator's word" in said
    assert "1 round matches, 1 of them with root gradients on the coordinator's word" in said
    document = json.loads(CliRunner().invoke(app, ["all", "--home", str(built.coordinator), "--json"]).stdout)
    assert (document["rounds"][0]["root_gradient"], document["rounds"][0]["voted"]) == ("the coordinator's word", None)
    check_root_audit(built.coordinator)


def check_root_audit(home: Path) -> None:
    """Whoever has the table that the plan names computes its gradient again; another table's, or file, is no."""
    (home / "task.toml").write_text(SPEC, encoding="utf-8")
    write_table(tables(1, 30, seed=98)[0], home / "other.csv")
    spec_file = ["--spec", str(home / "task.toml"), "--home", str(home)]
    assert (
        "1 rounds: the root gradient is" in CliRunner().invoke(app, ["root", str(home / "root.csv"), *spec_file]).stdout
    )
    found = CliRunner().invoke(app, ["root", str(home / "other.csv"), *spec_file])
    assert "no plan names it" in str(found.exception)
    task = task_for(spec())
    named, other = (RootTable.read(home / name, task) for name in ("root.csv", "other.csv"))
    done = list(LedgerCopy.read(home / "ledger.db", None).rounds.values())
    with pytest.raises(RootMismatch, match="is not that of this table"):
        audit_roots(done, ArtifactStore(home / "artifacts"), replace(other, digest=named.digest))


def test_nothing_of_any_group_is_opened_where_one_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.rounds._ATTEMPTS", 1)
    lost: set[str] = set()

    def before(kind: str, member: str, message: Any) -> None:
        if kind == TRAIN and member in {"firm-01", "firm-02", "firm-03", "firm-04"}:  # two of some group at least
            lost.add(member)
            raise Lost

    app = Meddler(before=before)
    built = federation(tmp_path / "f", FIRMS, robust())
    with opened(built) as coordinator:
        with pytest.raises(RunFailed, match="contributions, the threshold is 4"):
            train(built, coordinator, app=app)
        assert set(phases(coordinator)) == {"aborted"}
        assert all(stored(coordinator, one) == [] for one in rounds(coordinator))
    assert lost
    assert not [member for kind, member in app.asked if kind == OPEN]


def test_two_firms_of_a_group_that_do_not_answer_cost_one_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round is tried again without them, and they are back in the next one; who refuses is no such firm."""

    def by_name(cid: str, task: str, number: int, groups: int, roster: Any) -> Any:
        return tuple(roster[place::groups] for place in range(groups))

    def before(kind: str, member: str, message: Any) -> Any:
        if kind != TRAIN or member not in left:
            return None
        left.remove(member)
        if member != "firm-05":
            raise Lost
        return Message(pack_refusal(Refusal("update", "open a new round")), reply_to=message)

    left = {"firm-01", "firm-03", "firm-05"}
    monkeypatch.setattr("clients.offer.draw_groups", by_name)
    built, lines = federation(tmp_path / "f", 12, robust(2)), list[str]()
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before), lines=lines)
        assert phases(coordinator) == ["aborted", "aggregated", "published"]
        done = rounds(coordinator)
        assert [len(one.cohort) for one in done] == [12, 10, 12]
        assert [len(one.contributions) for one in done] == [9, 10, 12]
        assert set(done[1].cohort) == set(built.firms) - {"firm-01", "firm-03"}
    assert "credit: the next try is without firm-01, firm-03: no answer" in lines
    assert audit_all(built.coordinator).ok


def voted(**rules: Any) -> Any:
    return robust(held_out=0.2, **rules)


def test_a_round_with_votes_is_recomputed(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Any) -> None:
        if kind == VALIDATE and member == "firm-09":
            raise Lost

    def after(kind: str, member: str, message: Any, reply: Any) -> Any:
        if kind == VALIDATE and member in wrong:
            return with_fields(kind, message, reply, lambda fields: fields.update(vote=wrong[member](fields["vote"])))
        return None

    def on_others(member: str, **changes: Any) -> Callable[[bytes], bytes]:
        key = SigningKey.load(built.member(member) / "signing.pem")
        return lambda raw: replace(Vote.read(raw, key.public.ed25519.raw), **changes).sign(key)

    built = federation(tmp_path / "f", FIRMS, voted())
    wrong: dict[str, Callable[[bytes], bytes]] = {
        "firm-05": lambda raw: raw[:-1] + b"x",
        "firm-06": on_others("firm-06", groups=bytes(32)),
        "firm-07": on_others("firm-07", scores=(1,)),
    }
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before=before, after=after))
        (aggregate,) = [
            one.payload
            for one in map(decode_statement, coordinator.log.entries(0, coordinator.log.size))
            if one.payload["t"] == "aggregate"
        ]
        opening = Opening.from_bytes(coordinator.artifacts.get(aggregate["unmask"]))
        assert opening.votes.keys() == set(built.firms) - {"firm-09"} - wrong.keys()
        lost = opening.votes["firm-01"]
    assert [(one.problem, one.voted) for one in audit_all(built.coordinator).rounds] == [(None, 6)]
    said = CliRunner().invoke(app, ["all", "--home", str(built.coordinator)]).stdout
    assert "10 firms, recomputed bit for bit; 6 of 10 contributors voted\n" in said
    coordinator.artifacts.delete([lost])
    assert "vote of firm-01" in str(audit_all(built.coordinator).rounds[0].problem)


def test_a_coordinator_that_shows_firms_other_groups_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the firms vote against a group that never was, and weighs the true ones by what they said."""
    honest = group_sums.shares
    monkeypatch.setattr(validation, "voted_on", lambda *rest: group_sums.voted_on(*rest)[::-1])
    monkeypatch.setattr(group_sums, "shares", lambda votes, plan, _: honest(votes, plan, votes[0].groups))
    built = federation(tmp_path / "f", FIRMS, voted())
    with opened(built) as coordinator:
        train(built, coordinator)
    monkeypatch.undo()
    assert "is not on the groups that were opened" in str(audit_all(built.coordinator).rounds[0].problem)


def test_a_round_on_which_half_of_the_firms_do_not_vote_is_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.rounds._ATTEMPTS", 1)

    def before(kind: str, member: str, message: Any) -> None:
        if kind == VALIDATE and member <= "firm-05":
            raise Lost

    built = federation(tmp_path / "f", FIRMS, voted())
    with opened(built) as coordinator:
        with pytest.raises(RunFailed, match="5 of 10 firms voted"):
            train(built, coordinator, app=Meddler(before=before))
        assert set(phases(coordinator)) == {"aborted"}


def test_a_coordinator_that_draws_by_a_number_of_its_choice_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = training_round.TrainingRound
    later: Any = lambda setting, plan, *rest: honest(  # noqa: E731
        setting, plan if plan.number == 1 else replace(plan, number=734, rounds=1000), *rest
    )
    monkeypatch.setattr("server.rounds.TrainingRound", later)
    monkeypatch.setattr("clients.offer.is_next", lambda *_: True)
    built = federation(tmp_path / "f", FIRMS, robust(2))
    with opened(built) as coordinator:
        train(built, coordinator)
    assert [one.problem for one in audit_all(built.coordinator).rounds] == [
        None,
        "round: number 734 is neither a run's first nor the next after its parent model",
    ]


def test_a_coordinator_that_follows_other_rules_than_the_plan_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = group_sums.after_round
    uncapped: Any = lambda before, plan, *rest: honest(before, replace(plan, norm_cap_milli=0), *rest)  # noqa: E731
    monkeypatch.setattr(training_round, "after_round", uncapped)
    built = federation(tmp_path / "f", FIRMS, robust(2, norm_cap=0.5))
    with opened(built) as coordinator:
        train(built, coordinator)
    assert str(audit_all(built.coordinator).rounds[0].problem).startswith("model: the contributions give ")


def test_a_round_whose_step_cannot_be_made_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.rounds._ATTEMPTS", 1)

    def refuse(*_: Any) -> Any:
        raise ArtifactMismatch("vote of firm-01: it is not one")

    monkeypatch.setattr(training_round, "after_round", refuse)
    built = federation(tmp_path / "f", config=training(1))
    with opened(built) as coordinator:
        with pytest.raises(RunFailed, match="vote of firm-01"):
            train(built, coordinator)
        assert set(phases(coordinator)) == {"aborted"}
