"""A kept answer proves itself without any network, and nothing else passes for one."""

import dataclasses
import hashlib
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "server" / "scoring"))

from score_world import CID, MODEL, ORIGIN, World, proof_of, publish, query

from clients.bank import AnswerFileError, AnswerVerifier, BankClient, ScoredAnswer, UnprovenAnswer, check_can_keep
from clients.scoring.answer import Release, answer_query, sign_answer
from clients.scoring.proof import POLICY_FILE
from ledger.checkpoint import witness_name
from ledger.keys import SigningKey
from ledger.note import Vkey
from ledger.policy import Policy


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def scored(world: World) -> ScoredAnswer:
    with world.service() as address, BankClient(world.home("bank-1"), address) as bank:
        return bank.score(query())


def test_an_answer_kept_in_a_file_verifies_later(world: World, scored: ScoredAnswer, tmp_path: Path) -> None:
    path = tmp_path / "answer.cbor"
    scored.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = ScoredAnswer.load(path)
    assert loaded == scored
    AnswerVerifier.from_home(world.home("bank-1")).verify(loaded)
    with pytest.raises(AnswerFileError, match="No such file") as error:
        ScoredAnswer.load(tmp_path / "nowhere.cbor")
    assert error.value.exit_code == 2


def test_an_answer_outlives_the_members_who_vouched_for_its_model(
    world: World, scored: ScoredAnswer, tmp_path: Path
) -> None:
    """The home's policy is that of today; the one of the release's time, over 2 entries, is kept beside it."""
    home, kept = tmp_path / "bank-1", tmp_path / "bank-1" / "policies"
    kept.mkdir(parents=True)
    log, left = world.policy.logs[0], dict(list(world.policy.witnesses.items())[1:])
    today = Policy.of(
        log, left | {"firm-9": Vkey.of_witness(witness_name(ORIGIN, "firm-9"), SigningKey.generate().public)}
    )
    for file, policy in ((home / POLICY_FILE, today), (kept / "3.txt", today), (kept / "1.txt", world.policy)):
        file.write_text(policy.text())
    assert AnswerVerifier.from_home(home).verify(scored) == world.verifier.verify(scored)
    assert AnswerVerifier.from_home(tmp_path, kept).verify(scored).receipt.size == 2
    with pytest.raises(UnprovenAnswer, match="artesian ledger policy --at 2"):
        AnswerVerifier.from_home(home, home / POLICY_FILE).verify(scored)
    (kept / "1.txt").unlink()
    with pytest.raises(UnprovenAnswer, match="artesian ledger policy --at 2"):
        AnswerVerifier.from_home(home).verify(scored)
    (tmp_path / "none").mkdir()
    with pytest.raises(AnswerFileError, match="holds no policy"):
        AnswerVerifier.from_home(home, tmp_path / "none")


def test_without_the_scorers_key_an_answer_is_not_called_forged(
    world: World, scored: ScoredAnswer, tmp_path: Path
) -> None:
    """The coordinator of a consortium with machines of its own has another key for the log."""
    home, log = tmp_path / "firm-1", SigningKey.generate().public
    home.mkdir()
    (home / POLICY_FILE).write_text(Policy.of(Vkey.of_log(ORIGIN, log), world.policy.witnesses).text())
    with pytest.raises(AnswerFileError, match=r"scorer\.pub: no such file, so the scorer's key is not known"):
        AnswerVerifier.from_home(home).verify(scored)
    (home / "scorer.pub").write_text(world.coordinator.public.ed25519.raw.hex())
    for verifier in (AnswerVerifier.from_home(home), AnswerVerifier.from_home(tmp_path, home / POLICY_FILE)):
        with pytest.raises(UnprovenAnswer, match="the release proof does not hold"):
            verifier.verify(scored)  # its own key is known now, only the receipt is another log's
    (home / "scorer.pub").write_text(log.raw.hex())
    with pytest.raises(UnprovenAnswer, match="another key than the scorer's"):
        AnswerVerifier.from_home(home).verify(scored)


def test_a_kept_answer_is_never_overwritten_and_no_scraps_stay(scored: ScoredAnswer, tmp_path: Path) -> None:
    path = tmp_path / "answer.cbor"
    check_can_keep(path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"a proof of last year")
    with pytest.raises(AnswerFileError, match="never overwritten"):
        check_can_keep(path)
    with pytest.raises(AnswerFileError, match="File exists"):
        scored.save(path)
    assert path.read_bytes() == b"a proof of last year"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(AnswerFileError, match="No such file"):
        check_can_keep(tmp_path / "nowhere" / "answer.cbor")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(place=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_kept_answer_is_found(world: World, scored: ScoredAnswer, place: int, bit: int) -> None:
    raw = bytearray(scored.to_bytes())
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(UnprovenAnswer) as error:
        world.verifier.verify(ScoredAnswer.from_bytes(bytes(raw)))
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)


def test_an_answer_to_another_question_is_refused(world: World, scored: ScoredAnswer) -> None:
    for changed in (
        dataclasses.replace(scored.query, features={"debt": 0.0, "home": None}),
        dataclasses.replace(scored.query, purpose="marketing"),
        dataclasses.replace(scored.query, id=bytes(16)),
    ):
        with pytest.raises(UnprovenAnswer, match="another question"):
            world.verifier.verify(dataclasses.replace(scored, query=changed))


def test_an_answer_by_another_key_is_refused(world: World, scored: ScoredAnswer) -> None:
    forger = SigningKey.generate()
    forged = dataclasses.replace(scored, signed=sign_answer(scored.answer, "coordinator", forger))
    with pytest.raises(UnprovenAnswer, match="another key"):
        world.verifier.verify(forged)


def _answered(world: World, statement: bytes, receipt: bytes, model: bytes = MODEL) -> ScoredAnswer:
    """An honestly signed answer over any release proof: what a dishonest service can make."""
    asked = query()
    release = Release(model, hashlib.sha256(receipt).digest(), hashlib.sha256(statement).digest())
    answer = answer_query(asked, world.published.scorer.score(asked.features), release, cid=CID, bank="bank-1", ts=1)
    signed = sign_answer(answer, "coordinator", world.coordinator)
    return ScoredAnswer(asked, signed, receipt, statement)


def test_a_model_that_was_not_published_is_refused(world: World) -> None:
    statement, receipt = world.published.publish_statement, world.published.receipt
    world.verifier.verify(_answered(world, statement, receipt))
    with pytest.raises(UnprovenAnswer, match="another model"):
        world.verifier.verify(_answered(world, statement, receipt, model=b"x" * 32))
    for changes in ({"t": "revoke"}, {"cid": "steel"}):
        other = publish(world.coordinator, **changes)
        proof = proof_of(other, world.coordinator, world.witnesses)
        with pytest.raises(UnprovenAnswer, match="no publication"):
            world.verifier.verify(_answered(world, other, proof))


def test_a_release_without_a_quorum_is_refused(world: World) -> None:
    statement = world.published.publish_statement
    too_few = proof_of(statement, world.coordinator, world.witnesses, cosigners=2)
    with pytest.raises(UnprovenAnswer, match="too few for the quorum"):
        world.verifier.verify(_answered(world, statement, too_few))


def test_a_release_proof_of_another_answer_cannot_be_put_beside(world: World, scored: ScoredAnswer) -> None:
    later = publish(world.coordinator, ts=2)
    swapped = dataclasses.replace(
        scored, publish_statement=later, receipt=proof_of(later, world.coordinator, world.witnesses)
    )
    with pytest.raises(UnprovenAnswer, match="not the one that the answer names"):
        world.verifier.verify(swapped)
