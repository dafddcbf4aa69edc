"""Many callers share a transaction, and each is answered as if it had come alone."""

import random
from typing import Any

import pytest
from consortium_simulator import ORIGIN, Consortium, key_of

from ledger.checkpoint import CheckpointError, SignedCheckpoint, cosign, witness_name
from ledger.errors import NoSuchEntry, StoreError
from ledger.rules import Refused
from ledger.service.batch import Accepted, append_each, cosign_each
from ledger.statement import Statement, decode_statement


def attest(made: Consortium, member: str = "firm-0", **options: Any) -> Statement:
    payload = made.payload("attest", subject="s", artifact=made.hash())
    return decode_statement(made.sign(payload, member, **options))


def short(outcomes: list[Any]) -> list[Any]:
    return [outcome.index if isinstance(outcome, Accepted) else outcome.rule for outcome in outcomes]


def test_the_bad_ones_are_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Consortium()
    size, one, two = made.log.size, attest(made), attest(made)
    forged = attest(made, key=key_of("mallory"))
    appends: list[int] = []
    append = made.log.append
    monkeypatch.setattr(made.log, "append", lambda raws: appends.append(len(raws)) or append(raws))
    outcomes = append_each(made.log, [one, forged, two, one, attest(made, "bank-0", key=made.keys["firm-1"])])
    assert short(outcomes) == [size, "signature", size + 1, size, "signature"]
    assert appends == [5, 3]  # one transaction for all that is good
    assert outcomes[0] == Accepted(one.digest, size, int(made.clock()))
    assert made.log.size == size + 2


def draw(made: Consortium, round_id: bytes, chance: random.Random) -> bytes:
    """A statement that may break a rule, or may not."""
    match chance.randrange(5):
        case 0:
            return made.contribution(round_id, chance.choice(made.firms))
        case 1:
            return made.statement("attest", "bank-0", subject="s", artifact=made.hash())
        case 2:
            return made.statement("abort", round=round_id, reason="r")
        case 3:
            return attest(made, key=key_of("mallory")).raw
    return made.statement("cap", "firm-0", org="firm-1", task="credit", rdp_cap=[1, 2], delta=1)


@pytest.mark.parametrize("seed", range(12))
def test_as_if_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    together, alone = Consortium(seed=str(seed)), Consortium(seed=str(seed))
    for made in (together, alone):
        made.task()
        round_id = made.round()
    raws = [draw(together, round_id, chance) for _ in range(12)]
    raws += chance.sample(raws, 4)
    outcomes = append_each(together.log, [decode_statement(raw) for raw in raws])
    expected: list[Any] = []
    for raw in raws:
        try:
            expected += alone.log.append([raw])
        except Refused as refused:
            expected.append((refused.rule, refused.index))
    found = [outcome.index if isinstance(outcome, Accepted) else (outcome.rule, outcome.index) for outcome in outcomes]
    assert found == expected
    assert together.log.root == alone.log.root


def test_a_rule_that_only_the_log_can_judge_falls_back_to_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Consortium()
    size, append, bad = made.log.size, made.log.append, attest(made)

    def judge(raws: list[bytes]) -> list[int]:
        if bad.raw in raws:
            raise Refused("handover", made.log.size, "not this root")
        return append(raws)

    monkeypatch.setattr(made.log, "append", judge)
    outcomes = append_each(made.log, [attest(made), bad, attest(made)])
    assert short(outcomes) == [size, "handover", size + 1]


def test_a_store_that_fails_fails_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Consortium()

    def full(_: Any) -> None:
        raise StoreError("full")

    monkeypatch.setattr(made.log, "append", full)
    with pytest.raises(StoreError):
        append_each(made.log, [attest(made)])


def test_cosignatures_of_one_checkpoint_share_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Consortium()
    body, size = SignedCheckpoint.parse(made.log.checkpoint()).body, made.log.size

    def line(name: str, key: str = "") -> str:
        return cosign(body, name=witness_name(ORIGIN, name), key=made.keys[key or name], timestamp_s=int(made.clock()))

    calls: list[int] = []
    add = made.log.add_cosignatures
    monkeypatch.setattr(made.log, "add_cosignatures", lambda lines, at: calls.append(len(lines)) or add(lines, at))
    assert cosign_each(made.log, [([line("firm-0")], size), ([line("firm-1")], size)]) == [False, False]
    assert calls == [2]
    asked = [([line("firm-2")], size), ([line("firm-3", "firm-2")], size), ([line("firm-3")], size), ([], size + 1)]
    outcomes = cosign_each(made.log, asked)
    assert [type(outcome) for outcome in outcomes] == [bool, CheckpointError, bool, NoSuchEntry]
    assert outcomes[2] is True
    assert cosign_each(made.log, []) == []
