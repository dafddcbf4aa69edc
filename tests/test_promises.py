"""One test for each promise: a whole federation, an attack on the promise, and how it ends.

The tests named in docs/threat-model.md hold the parts; these hold the promises as people read them. What is promised
to banks is in `test_promises_to_banks.py`.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import (
    LIMITS,
    SPEC,
    TASK,
    Meddler,
    federation,
    opened,
    phases,
    rounds,
    spent,
    train,
    training,
    with_fields,
)

from clients.masking.contribution import Contribution, protect
from clients.masking.quantiser import Quantiser
from clients.messages import OPEN, TRAIN
from clients.plan import Plan
from clients.privacy import epsilon
from clients.training import bounded_gradient_sum
from clients.wallet import Wallet
from experiments.federation import Federation
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.merkle import leaf_hash
from ledger.replay import Replayed
from ledger.rules import Refused
from ledger.statement import decode_statement, sign_statement
from ledger.witness import Misbehaviour, Rollback, Witness
from server.audit import audit_all
from server.cohort import RunFailed
from server.coordinator import Coordinator
from server.descent import Descent
from server.masked_opening import MaskedOpening
from server.statements import Statements
from server.training_config import TrainingConfig


def statements(coordinator: Coordinator) -> Statements:
    return Statements("simulation", lambda: coordinator.key, lambda: 1_800_000_000.0)


def witness_of(built: Federation, coordinator: Coordinator, firm: str) -> Witness:
    """A firm's witness with an empty mirror in memory."""
    key = SigningKey.load(built.member(firm) / "signing.pem")
    return Witness(None, key, firm, coordinator.log.vkey, "simulation")


class TestTheCoordinatorReadsNoOneFirmsUpdate:
    """It learns the sum over the cohort (at least `min_cohort` firms) and nothing else."""

    def test_what_it_is_sent_is_not_the_update(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clear: dict[str, Any] = {}
        sent: dict[str, bytes] = {}

        def spy(session: Any, me: str, values: Any, *rest: Any, **more: Any) -> Any:
            clear[me] = session.ring.pack(session.ring.from_signed(values))
            return protect(session, me, values, *rest, **more)

        def after(kind: str, member: str, message: Any, reply: Any) -> Any:
            if kind == TRAIN:
                with_fields(kind, message, reply, lambda fields: sent.update({member: fields["contribution"]}))

        monkeypatch.setattr("clients.participation.protect", spy)
        built = federation(tmp_path / "f", 3, training(1, mode="none"))
        with opened(built) as coordinator:
            train(built, coordinator, app=Meddler(after=after))
        masked = {member: Contribution.from_bytes(raw).masked for member, raw in sent.items()}
        assert masked.keys() == clear.keys() == set(built.firms)
        for member in built.firms:
            # Without a mask whole values would be alike; under one, a 24-bit value agrees by chance only.
            theirs, ours = (np.frombuffer(raw[member], dtype=np.uint8) for raw in (masked, clear))
            assert (theirs == ours).mean() < 0.4

    def test_it_cannot_have_the_sum_without_one_firm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says that firm-3 dropped out, though firm-3 contributed: the difference would be firm-3's update."""
        honest = MaskedOpening._requests

        def lie(self: Any, offer: Any, aggregator: Any, headers: Any, final: Any) -> Any:
            requests = honest(self, offer, aggregator, headers, final)
            for request in requests.values():
                request["headers"] = {m: raw for m, raw in request["headers"].items() if m != "firm-3"}
                request["inbound"] = {m: raw for m, raw in request["inbound"].items() if m != "firm-3"}
            return requests

        replies: list[Any] = []

        def after(kind: str, member: str, message: Any, reply: Any) -> Any:
            if kind == OPEN:
                with_fields(kind, message, reply, replies.append)

        monkeypatch.setattr(MaskedOpening, "_requests", lie)
        built = federation(tmp_path / "f", 5, training(1))
        with opened(built) as coordinator, pytest.raises(RunFailed, match="disagree on whether firm-3 contributed"):
            train(built, coordinator, app=Meddler(after=after))
        assert replies == []

    def test_no_firm_takes_part_where_fewer_than_the_policys_could_be_opened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = TrainingConfig.plans
        # The coordinator's plans count on one firm's contribution, too.
        monkeypatch.setattr(TrainingConfig, "plans", lambda self, *rest, least, **more: honest(self, *rest, **more))
        built = federation(tmp_path / "f", 6, training(1), min_cohort=6)
        with opened(built) as coordinator, pytest.raises(RunFailed, match="this firm asks for 6"):
            train(built, coordinator)


class TestNobodyLearnsAboutOnePrivacyUnit:
    """(epsilon, delta)-DP for that unit, whoever colludes, within the firm's own cap."""

    def test_what_is_said_is_what_another_accountant_says(self, tmp_path: Path) -> None:
        from dp_accounting import GaussianDpEvent, SelfComposedDpEvent
        from dp_accounting.pld import PLDAccountant
        from dp_accounting.rdp import RdpAccountant

        built = federation(tmp_path / "f", 3, training(5))
        with opened(built) as coordinator:
            privacy = train(built, coordinator).manifest["privacy"]
            declared = coordinator.log.state.spent.get(("firm-1", TASK))
        event = SelfComposedDpEvent(GaussianDpEvent(privacy["noise_multiplier"]), 5)
        second = PLDAccountant().compose(event).get_epsilon(privacy["delta"])
        assert privacy["epsilon"] == pytest.approx(second, rel=0.005)
        assert 4.0 * 0.999 <= privacy["epsilon"] <= 4.0
        # The ledger's record is looser, and of the same noise.
        renyi = RdpAccountant().compose(event).get_epsilon(privacy["delta"])
        assert epsilon(declared or (), privacy["delta"]) == pytest.approx(renyi, rel=0.02)

    def test_the_noise_is_in_the_sum_that_comes_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """403 parameters: the noise's standard deviation is measured to a few percent."""
        edges = ", ".join(str(k / 4) for k in range(1, 400))
        wide = SPEC.replace("bins = [20, 40, 60]", f"bins = [{edges}]")
        bare: list[Any] = []
        opened_sums: list[Any] = []

        def watch_sum(*given: Any, **more: Any) -> Any:
            bare.append(bounded_gradient_sum(*given, **more))
            return bare[-1]

        def watch_opening(quantiser: Quantiser, total: Any) -> Any:
            opened_sums.append(dequantise(quantiser, total))
            return opened_sums[-1]

        dequantise = Quantiser.dequantise
        monkeypatch.setattr("clients.participation.bounded_gradient_sum", watch_sum)
        monkeypatch.setattr(Quantiser, "dequantise", watch_opening)
        built = federation(tmp_path / "f", 4, training(1), seed=None, text=wide)
        with opened(built) as coordinator:
            train(built, coordinator)
            (one,) = rounds(coordinator)
            plan = Plan.from_map(decode_statement(coordinator.log.entries(one.index, one.index + 1)[0]).payload["plan"])
        (opened_sum,) = opened_sums
        noise = opened_sum - sum(bare)
        assert len(bare) == 4
        assert noise.size > 400
        assert noise.std() >= 0.9 * plan.noise_multiplier * plan.clip

    def test_a_wallet_never_passes_its_cap_whatever_is_asked(self, tmp_path: Path) -> None:
        built = federation(tmp_path / "f", 3, training(2), limits={**LIMITS, "epsilon": 5.0})
        with opened(built) as coordinator:
            train(built, coordinator)
            with pytest.raises(RunFailed, match="OverCap: this round would bring the firm over the cap"):
                train(built, coordinator)
            for firm in built.firms:
                with Wallet(built.member(firm) / "wallet.sqlite") as wallet:
                    (account,) = wallet.report()
                assert 4.0 * 0.99 <= (account.epsilon_spent or 0.0) <= 5.0
                assert spent(built, firm) == coordinator.log.state.spent.get((firm, TASK))


class TestThePublishedModelIsTheAggregate:
    """Anyone recomputes it bit for bit; witnesses refuse the publication of another."""

    def test_anyone_recomputes_every_round(self, tmp_path: Path) -> None:
        built = federation(tmp_path / "f", 3, training(3))
        with opened(built) as coordinator:
            train(built, coordinator)
        home = tmp_path / "anyone"
        home.mkdir()
        for name in ("mirror.db", "policy.txt"):
            shutil.copy(built.member("firm-2") / name, home / name)
        shutil.copytree(built.coordinator / "artifacts", home / "artifacts")
        audit = audit_all(home)
        assert audit.ok
        assert len(audit.rounds) == 3

    def test_a_recorded_model_of_the_coordinators_own_making_is_seen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = Descent.step

        def favour(self: Descent, total: Any, plan: Plan) -> Descent:
            after = honest(self, total, plan)
            return replace(after, average=after.average + 0.01)

        built = federation(tmp_path / "f", 3, training(1))
        with monkeypatch.context() as patch, opened(built) as coordinator:
            patch.setattr(Descent, "step", favour)
            train(built, coordinator)
            assert phases(coordinator) == ["published"]
        assert "the contributions give" in str(audit_all(built.coordinator).rounds[0].problem)

    def test_witnesses_refuse_the_publication_of_another_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built = federation(tmp_path / "f", 3, training(1))
        with monkeypatch.context() as patch, opened(built) as coordinator:
            patch.setattr("server.after_training.publish", lambda *_, **__: None)
            with pytest.raises(AttributeError):
                train(built, coordinator)
            (one,) = rounds(coordinator)
            other = {"round": one.id, "model": bytes(32), "manifest": bytes(32)}
            forged = statements(coordinator).make("publish", one.id.hex(), **other)
            with pytest.raises(Refused, match="not the one that the round's aggregate recorded"):
                coordinator.log.append([forged])
            patch.setattr("ledger.log.step", without_rules)
            coordinator.log.append([forged])
            firm = witness_of(built, coordinator, "firm-1")
            with pytest.raises(Misbehaviour, match="not the one that the round's aggregate recorded") as caught:
                firm.follow(coordinator.log)
            assert caught.value.kind == "rules"
            assert len(firm.evidence()) == 1


def without_rules(at: Replayed, statement: Any, *, verify: bool) -> Any:
    """What a dishonest operator's ledger does: it takes anything."""
    frontier, nodes = at.frontier.append(leaf_hash(statement.raw))
    return Replayed(replace(at.state, size=at.state.size + 1), frontier), nodes


class TestTheLedgerHasOneHistory:
    """Never two final histories; a different, shorter or rewritten one is seen by any witness."""

    def test_two_histories_are_never_both_final_and_leave_evidence(self, tmp_path: Path) -> None:
        built = federation(tmp_path / "f", 3, training(1))
        with opened(built) as coordinator:
            train(built, coordinator)
            before = coordinator.log.size
        shutil.copy(built.coordinator / "ledger.db", tmp_path / "other.db")
        with opened(built) as coordinator, Log.open(tmp_path / "other.db", coordinator.key) as other:
            firms = [witness_of(built, coordinator, firm) for firm in built.firms]
            make = statements(coordinator).make
            for log, name in ((coordinator.log, "one"), (other, "two")):
                log.append([make("task", name, task=name, spec=bytes(32))])
                log.checkpoint()
            coordinator.log.add_cosignatures([firm.follow(coordinator.log) for firm in firms])
            assert coordinator.log.final_size == before + 1
            for firm in firms:
                with pytest.raises(Misbehaviour) as caught:
                    firm.follow(other)
                assert caught.value.kind == "fork"
                assert len(firm.evidence()) == 1
            assert other.final_size == before

    def test_dropping_what_was_seen_is_seen(self, tmp_path: Path) -> None:
        built = federation(tmp_path / "f", 3, training(1))
        shutil.copy(built.coordinator / "ledger.db", tmp_path / "older.db")
        with opened(built) as coordinator, Log.open(tmp_path / "older.db", coordinator.key) as older:
            train(built, coordinator)
            firm = witness_of(built, coordinator, "firm-1")
            firm.follow(coordinator.log)
            for _ in range(2):
                with pytest.raises(Rollback):
                    firm.follow(older)
            # Going on from there is a fork, and leaves proof.
            older.append([statements(coordinator).make("task", "other", task="other", spec=bytes(32))])
            older.checkpoint()
            with pytest.raises(Misbehaviour) as caught:
                firm.follow(older)
            assert caught.value.kind == "fork"
            assert len(firm.evidence()) == 1


class TestNobodyUsesAnothersName:
    """A bank, a firm or an outsider that speaks in another's name is rejected."""

    def test_a_statement_in_another_firms_name(self, tmp_path: Path) -> None:
        built = federation(tmp_path / "f", 3, training(1))
        with opened(built) as coordinator:
            train(built, coordinator)
            key = SigningKey.load(built.member("firm-1") / "signing.pem")
            mine = Statements("simulation", lambda: key, lambda: 1.0)
            payload = mine.payload("attest", subject="pallets", artifact=bytes(32))
            with pytest.raises(Refused) as caught:
                coordinator.log.append([sign_statement(payload, issuer="firm-2", subject="s", key=key)])
            assert caught.value.rule == "signature"
            coordinator.log.append([sign_statement(payload, issuer="firm-1", subject="s", key=key)])

    def test_a_contribution_in_another_firms_name(self, tmp_path: Path) -> None:
        kept: dict[str, Any] = {}

        def after(kind: str, member: str, message: Any, reply: Any) -> Any:
            if kind != TRAIN:
                return None
            if member == "firm-1":
                return with_fields(kind, message, reply, lambda fields: kept.update(fields))
            return with_fields(kind, message, reply, lambda fields: fields.update(kept)) if member == "firm-2" else None

        built = federation(tmp_path / "f", 5, training(1))
        with opened(built) as coordinator:
            train(built, coordinator, app=Meddler(after=after))
            assert sorted(rounds(coordinator)[0].contributions) == ["firm-1", "firm-3", "firm-4", "firm-5"]
