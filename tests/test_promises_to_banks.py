"""The promises that concern banks, each with a whole federation, a trained release, and a service that runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from federation_world import TASK, federation, opened, train, training

from clients.bank import BankClient, ServiceUnreachable, TurnedAway, new_query
from clients.scoring.proof import AnswerVerifier, UnprovenAnswer
from server.coordinator_commands import open_desk
from server.founding import certify_member
from server.scoring.service import Tls, serving


class TestNobodyAsksInABanksName:
    """A stranger, a firm or another consortium's bank gets no answer."""

    def test_a_question_in_a_banks_name(self, tmp_path: Path) -> None:
        built = federation(tmp_path / "f", 3, training(1), banks=("bank-1",))
        with opened(built) as coordinator:
            train(built, coordinator)
        stranger = tmp_path / "bank-2"
        stranger.mkdir()
        certify_member(built.coordinator, stranger, "bank-2")  # a certificate is not an enrolment
        elsewhere = federation(tmp_path / "elsewhere", 3, banks=("bank-1",))
        with open_desk(built.coordinator, 1e3, 100) as desk, serving(desk, Tls.from_home(built.coordinator)) as address:
            verifier = AnswerVerifier.from_home(built.member("bank-1"))
            with BankClient(built.member("bank-1"), address, verifier) as bank:
                assert verifier.verify(bank.score(question())).answer.bank == "bank-1"
            for home in (stranger, built.member("firm-1")):
                with BankClient(home, address) as bank, pytest.raises(TurnedAway):
                    bank.score(question())
            # The certificate of another consortium's bank-1, shown by one who knows whom to trust here.
            home = elsewhere.member("bank-1")
            shutil.copy(built.member("bank-1") / "ca.crt", home / "ca.crt")
            with BankClient(home, address, timeout_s=5) as bank, pytest.raises((TurnedAway, ServiceUnreachable)):
                bank.score(question())
        with opened(built) as coordinator:
            assert dict(coordinator.log.state.queries.items()) == {"bank-1": 1}


class TestAnAnswerCannotBeDeniedOrChanged:
    """A bank's proof holds offline, and no other answer passes for it."""

    def test_the_proof_holds_and_a_flipped_bit_does_not(self, tmp_path: Path) -> None:
        built = federation(tmp_path / "f", 3, training(1), banks=("bank-1",))
        with opened(built) as coordinator:
            train(built, coordinator)
        verifier = AnswerVerifier.from_home(built.member("bank-1"))
        with (
            open_desk(built.coordinator, 1e3, 100) as desk,
            serving(desk, Tls.from_home(built.coordinator)) as address,
            BankClient(built.member("bank-1"), address, verifier) as bank,
        ):
            scored = bank.score(question())
        assert verifier.verify(scored)
        changed = replace(scored, signed=scored.signed[:-1] + bytes([scored.signed[-1] ^ 1]))
        with pytest.raises(UnprovenAnswer):
            verifier.verify(changed)
        with opened(built) as coordinator:
            assert coordinator.log.state.queries.get("bank-1") == 1


def question() -> Any:
    return new_query(TASK, {"income": 30.0, "sector": "trade"}, "loan-application", bytes(32))
