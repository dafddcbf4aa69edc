"""A bank gets answers that it can prove, or one line on why not. Real gRPC, real certificates."""

import datetime as dt
import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server" / "scoring"))

from score_world import CID, MODEL, World, query

from clients.bank import (
    BadQuestion,
    BankClient,
    Declined,
    NotReleased,
    ScoredAnswer,
    ServiceUnreachable,
    TurnedAway,
    commit_to_subject,
    verify_answer,
)
from clients.scoring.query import BadQuery, Query
from server.certificates import CertificateAuthority, install_certificate, request_certificate
from server.scoring.quota import Quota


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    with world.service() as address:
        yield address


def test_a_bank_gets_a_score_with_reasons_and_proof(world: World, address: str) -> None:
    with BankClient(world.home("bank-1"), address, world.verifier) as bank:
        scored = bank.score(query(debt=0.5, home="rent"))
    assert (scored.answer.score, scored.answer.pd) == (500, 0.35)
    assert [(r.code, r.points) for r in scored.answer.reasons] == [("debt", -100)]
    assert (scored.answer.cid, scored.answer.bank, scored.answer.model) == (CID, "bank-1", MODEL)
    verified = verify_answer(scored, world.policy, world.coordinator.public)
    assert verified.receipt.index == 1
    assert any("bank-1 asked timber on credit: score 500" in line for line in verified.words)


def test_the_answer_is_on_record_with_its_hash_and_purpose(world: World, address: str) -> None:
    asked = query()
    with BankClient(world.home("bank-1"), address) as bank:
        answer_hash = hashlib.sha256(bank.score(asked).signed).digest()
    record = world.records[-1]
    assert (record.bank, record.purpose, record.model_hash) == ("bank-1", "loan-application", MODEL)
    assert (record.subject_commitment, record.answer_hash) == (asked.subject_commitment, answer_hash)


def test_many_come_in_order_and_a_bad_one_does_not_stop_the_rest(world: World, address: str) -> None:
    asked = [query(debt=i / 1000) for i in range(600)]
    asked[7] = query(debt=7.0)
    asked[9] = query(task="demand")
    with BankClient(world.home("bank-1"), address, world.verifier) as bank:
        results = list(bank.score_many(iter(asked)))
    assert [r.query for r in results] == asked
    declined = [r for r in results if isinstance(r, Declined)]
    assert ["must be a number" in str(d.error) or "no released model" in str(d.error) for d in declined] == [True] * 2
    last = results[-1]
    assert isinstance(last, ScoredAnswer)
    assert last.receipt == world.published.receipt  # sent once, kept with every answer


def test_before_a_release_the_answer_is_no_and_not_that_the_question_is_wrong(world: World, address: str) -> None:
    with BankClient(world.home("bank-1"), address) as bank:
        with pytest.raises(NotReleased, match=r"no released model for demand \(released: credit\)") as error:
            bank.score(query(task="demand"))
        assert error.value.exit_code == 1
        world.scorers.clear()
        try:
            (declined,) = bank.score_many([query()])
            with pytest.raises(NotReleased, match="nothing has been released yet: ask again when") as error:
                bank.score(query())
        finally:
            world.scorers["credit"] = world.published
        assert isinstance(declined, Declined)
        assert isinstance(declined.error, NotReleased)
        assert bank.score(query()).answer.score == 550


def test_an_error_in_our_own_list_of_questions_is_ours(world: World, address: str) -> None:
    def broken() -> Iterator[Query]:
        yield query()
        yield query(debt=float("nan"))

    with BankClient(world.home("bank-1"), address) as bank, pytest.raises(BadQuery, match="finite"):
        list(bank.score_many(broken()))


# ---------------------------------------------------------------- who is turned away


@pytest.mark.parametrize("member", ["bank-2", "firm-1"])
def test_who_is_not_an_enrolled_bank_is_turned_away(world: World, address: str, member: str) -> None:
    with (
        BankClient(world.home(member), address) as bank,
        pytest.raises(TurnedAway, match=f"{member} is not an enrolled bank of timber") as error,
    ):
        bank.score(query())
    assert error.value.exit_code == 1
    assert member not in {record.bank for record in world.records}


def test_a_bank_suspended_on_an_open_connection_is_turned_away(world: World, address: str) -> None:
    with BankClient(world.home("bank-1"), address) as bank:
        bank.score(query())
        del world.kinds["bank-1"]
        try:
            with pytest.raises(TurnedAway):
                bank.score(query())
        finally:
            world.kinds["bank-1"] = "bank"


def test_a_certificate_of_another_authority_is_turned_away(world: World, address: str, tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    other = CertificateAuthority.create(tmp_path / "authority", CID, now)
    home = tmp_path / "bank-1"
    certificate = other.issue_member(request_certificate(home, "bank-1"), "bank-1", now)
    install_certificate(home, certificate, other.certificate_pem)
    with BankClient(home, address) as bank, pytest.raises(TurnedAway, match="shows no certificate"):
        bank.score(query())
    (home / "ca.crt").write_bytes(world.authority.certificate_pem)
    with (
        BankClient(home, address) as bank,
        pytest.raises(TurnedAway, match=r"refused .*tls\.crt") as error,
    ):
        bank.score(query())
    assert error.value.exit_code == 1


def test_an_expired_certificate_is_turned_away(world: World, address: str, tmp_path: Path) -> None:
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=366)
    certificate = world.authority.issue_member(request_certificate(tmp_path, "bank-1"), "bank-1", past)
    install_certificate(tmp_path, certificate, world.authority.certificate_pem)
    with BankClient(tmp_path, address) as bank, pytest.raises(TurnedAway, match="or expired"):
        bank.score(query())


def test_a_member_cannot_stand_in_for_the_service(world: World, tmp_path: Path) -> None:
    from server.scoring.service import Tls, serving

    home = world.home("firm-1")
    with (
        serving(world.desk(), Tls.from_home(home)) as address,
        BankClient(world.home("bank-1"), address) as bank,
        pytest.raises(TurnedAway, match="shows no certificate"),
    ):
        bank.score(query())


def test_a_certificate_of_another_consortium_of_the_same_authority(world: World) -> None:
    with (
        world.service(world.desk(cid="steel")) as address,
        BankClient(world.home("bank-1"), address) as bank,
        pytest.raises(TurnedAway, match="of consortium timber, this is steel"),
    ):
        bank.score(query())


def test_over_its_quota_a_bank_waits(world: World) -> None:
    quota = Quota(rate_per_s=2, burst=3, clock_s=lambda: world.now_s)
    with world.service(world.desk(quota)) as address, BankClient(world.home("bank-1"), address) as bank:
        for _ in range(3):
            bank.score(query())
        with pytest.raises(TurnedAway, match=r"over its 2 questions a second; ask again in 0\.50 s"):
            bank.score(query())
        world.now_s += 0.6
        bank.score(query())


# ---------------------------------------------------------------- wrong input, nobody there


def test_nobody_there_is_unreachable(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        BankClient(world.home("bank-1"), f"127.0.0.1:{port}") as bank,
        pytest.raises(ServiceUnreachable, match="no score service") as error,
    ):
        bank.score(query())
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"debt": 2.0}, "number from 0 to 1"),
        ({"debt": 0.1, "shoe": 44.0}, "feature 'shoe' is not of task credit"),
    ],
)
def test_a_bad_feature_is_told_in_one_line(world: World, address: str, features: dict[str, Any], words: str) -> None:
    with BankClient(world.home("bank-1"), address) as bank, pytest.raises(BadQuestion, match=words) as error:
        bank.score(query(**features))
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_what_cannot_be_asked_is_said_before_asking(world: World, tmp_path: Path) -> None:
    for address in ("localhost", "localhost:", ":8443", "[::1]", "::1", "[]:8443", "localhost:http", "localhost:-1"):
        with pytest.raises(BadQuestion, match="HOST:PORT"):
            BankClient(world.home("bank-1"), address)
    for port in ("0", "65536", "9" * 5000):
        with pytest.raises(BadQuestion, match="from 1 to 65535"):
            BankClient(world.home("bank-1"), f"localhost:{port}")
    for address in ("localhost:1", "localhost:65535", "[::1]:8443"):
        BankClient(world.home("bank-1"), address).close()
    for timeout_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadQuestion, match="above 0"):
            BankClient(world.home("bank-1"), "localhost:1", timeout_s=timeout_s)
    with pytest.raises(BadQuestion, match=r"tls\.key: No such file"):
        BankClient(tmp_path, "localhost:1")
    with pytest.raises(BadQuestion, match="random"):
        commit_to_subject("ACME", b"short")


def test_the_bank_needs_nothing_of_what_serves() -> None:
    code = "import json, sys, clients.bank;print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'server']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
