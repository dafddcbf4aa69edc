"""Firms that lose replies, send what does not fit, or declare too little: they cost themselves, and nobody else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from federation_world import Lost, Meddler, federation, opened, phases, rounds, train, training, with_fields
from flwr.app import Message

from clients import key_setup, participation
from clients.disclosure import pack_refusal
from clients.masking import epoch as masking_epoch
from clients.masking import wire
from clients.masking.contribution import Contribution, Header, protect
from clients.masking.epoch import seal_pair_secrets
from clients.masking.errors import PairSecretRefused
from clients.messages import OPEN, PAIR, TRAIN, WITNESS
from ledger.genesis import record
from server.audit import audit_all
from server.cohort import RunFailed


@pytest.mark.parametrize("kind", [WITNESS, TRAIN, OPEN])
def test_a_reply_that_is_lost_once_costs_one_round_and_not_the_firm(tmp_path: Path, kind: str) -> None:
    seen = {"lost": 0}

    def after(asked: str, member: str, message: Any, reply: Any) -> Any:
        if asked == kind and member == "firm-3":
            seen["lost"] += 1
            if seen["lost"] == 2 or (kind != WITNESS and seen["lost"] == 1):
                raise Lost
        return None

    built = federation(tmp_path / "f", 5, training(3))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(after=after))
        done = [one for one in rounds(coordinator) if one.phase != "aborted"]
        assert len(done) == 3
        assert "firm-3" in done[-1].contributions
    assert audit_all(built.coordinator).ok


def flipped(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.update(statement=b"no statement"),
        lambda fields: fields.update(statement=b""),
        lambda fields: fields.update(contribution=flipped(fields["contribution"])),
    ],
)
def test_a_contribution_that_does_not_fit_costs_its_firm_the_round_and_nobody_else(tmp_path: Path, change: Any) -> None:
    def after(kind: str, member: str, message: Any, reply: Any) -> Any:
        return with_fields(kind, message, reply, change) if (kind, member) == (TRAIN, "firm-2") else None

    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(after=after))
        (one,) = rounds(coordinator)
        assert "firm-2" not in one.contributions
        assert len(one.contributions) == 4
    assert audit_all(built.coordinator).ok


def test_masked_values_that_are_not_those_of_the_statement_never_reach_the_ledger(tmp_path: Path) -> None:
    def swap(fields: dict[str, Any]) -> None:
        sent = Contribution.from_bytes(fields["contribution"])
        other = bytes([sent.masked[0] ^ 1]) + sent.masked[1:]
        fields["contribution"] = Contribution(sent.header, other, sent.pair_hashes, sent.shares).to_bytes()

    def after(kind: str, member: str, message: Any, reply: Any) -> Any:
        return with_fields(kind, message, reply, swap) if (kind, member) == (TRAIN, "firm-2") else None

    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(after=after))
        assert phases(coordinator) == ["published"]
        assert "firm-2" not in rounds(coordinator)[0].contributions


def test_a_firm_whose_pair_secrets_are_not_signed_is_left_out_and_nobody_else(tmp_path: Path) -> None:
    def garble(fields: dict[str, Any]) -> None:
        fields["sealed"] = {peer: flipped(raw) for peer, raw in fields["sealed"].items()}

    def after(kind: str, member: str, message: Any, reply: Any) -> Any:
        return with_fields(kind, message, reply, garble) if (kind, member) == (PAIR, "firm-1") else None

    built = federation(tmp_path / "f", 6, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(after=after))
        assert phases(coordinator) == ["published"]
        (one,) = rounds(coordinator)
        assert set(one.cohort) == set(one.contributions) == set(built.firms[1:])


def no_secret(*told: Any) -> Any:
    """What a firm draws and seals, signed as it should be; but inside is no secret."""
    *terms, random_bytes = told
    kept, sealed = seal_pair_secrets(*terms, random_bytes)
    if terms[3] == "firm-1":
        _, cid, epoch, me, roster, sign = terms
        entries = {entry.member: entry for entry in roster}
        for peer in sealed:
            transcript = masking_epoch._transcript(cid, epoch, entries[me], entries[peer])
            garbage = b"not sealed to anybody"
            signature = sign(masking_epoch._sealed(transcript, garbage))
            sealed[peer] = wire.encode({"sealed": garbage, "signature": signature})
    return kept, sealed


def test_a_firm_whose_signed_secrets_do_not_open_costs_one_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_setup, "seal_pair_secrets", no_secret)
    built = federation(tmp_path / "f", 6, training(1))
    lines: list[str] = []
    with opened(built) as coordinator:
        train(built, coordinator, lines=lines)
        assert phases(coordinator) == ["aborted", "published"]
        assert set(rounds(coordinator)[1].contributions) == set(built.firms[1:])
    assert "credit: going on without firm-1: a pair secret does not open" in lines
    assert audit_all(built.coordinator).ok


def test_a_firm_that_accuses_another_goes_with_it(tmp_path: Path) -> None:
    """The coordinator cannot tell who lies; the others go on, and of the two neither can stay by blaming."""

    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) != (TRAIN, "firm-6"):
            return None
        return Message(pack_refusal(PairSecretRefused("firm-2", "it does not open")), reply_to=message)

    built = federation(tmp_path / "f", 7, training(2))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before))
        first, second = rounds(coordinator)
        assert set(first.contributions) == set(built.firms) - {"firm-6"}
        assert set(second.cohort) == set(second.contributions) == set(built.firms) - {"firm-2", "firm-6"}


def test_masked_values_of_an_earlier_round_are_refused_and_stay_when_the_round_is_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a firm could have what a finished round is recomputed from deleted with a round that it makes void."""
    sent, lost = list[Contribution](), [(TRAIN, "firm-1"), (OPEN, "firm-4")]

    def again(session: Any, me: str, *args: Any, **more: Any) -> Any:
        made, kept = protect(session, me, *args, **more)
        sent.extend([made] if me == "firm-5" else [])
        if me != "firm-5" or len(sent) != 2:
            return made, kept
        one, two = (Header.from_bytes(each.header) for each in sent)
        header = replace(two, masked=one.masked, pair_seeds=one.pair_seeds).to_bytes()
        return replace(made, header=header, masked=sent[0].masked, pair_hashes=sent[0].pair_hashes), kept

    def before(kind: str, member: str, message: Any) -> Any:
        if len(sent) and phases(coordinator)[0] == "aggregated" and (kind, member) in lost:
            lost.remove((kind, member))
            raise Lost
        return None

    monkeypatch.setattr(participation, "protect", again)
    built = federation(tmp_path / "f", 5, training(2))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before))
        assert phases(coordinator) == ["aggregated", "aborted", "published"]
        assert "firm-5" not in rounds(coordinator)[1].contributions
    assert audit_all(built.coordinator).ok


def test_a_firm_that_declares_less_than_the_plan_costs_is_left_out(tmp_path: Path, monkeypatch: Any) -> None:
    def stingy(kind: str, /, **fields: Any) -> Any:
        return record(kind, **{**fields, "rdp": [0] * len(fields["rdp"])})

    def after(kind: str, member: str, message: Any) -> Any:
        monkeypatch.setattr(participation, "record", stingy if member == "firm-5" else record)

    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(after))
        assert "firm-5" not in rounds(coordinator)[0].contributions
    refusals = json.loads((built.coordinator / "runs" / "credit.json").read_text())["refusals"]
    assert refusals == [[1, "firm-5", "contribution of firm-5: its statement has another 'rdp' than agreed"]]


def test_fewer_contributions_than_the_policy_allows_are_not_opened(tmp_path: Path) -> None:
    """Plain sums have no threshold of their own: the policy's is the plan's."""

    def before(kind: str, member: str, message: Any) -> Any:
        if kind == TRAIN and member != "firm-1":
            raise Lost
        return None

    built = federation(tmp_path / "f", 3, training(1, mode="none", kind="plain"))
    with opened(built) as coordinator:
        with pytest.raises(RunFailed, match="1 contributions, the threshold is 3"):
            train(built, coordinator, app=Meddler(before))
        assert phases(coordinator) == ["aborted"] * 3


def test_a_firm_whose_witness_lags_is_not_asked_to_train_what_it_would_refuse(tmp_path: Path) -> None:
    heard = []

    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) == (WITNESS, "firm-5"):
            heard.append(kind)
            if len(heard) > 1:
                raise Lost
        return None

    meddler = Meddler(before)
    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=meddler)
        (one,) = rounds(coordinator)
        assert (len(one.cohort), len(one.contributions)) == (5, 4)
    assert (TRAIN, "firm-5") not in meddler.asked
    assert (TRAIN, "firm-4") in meddler.asked
