"""The log's own key: named at the founding, committed to in advance, rotated, and handed over."""

from typing import Any

import pytest
from consortium_simulator import ORIGIN, Consortium, key_of
from refusals import refused

from ledger.checkpoint import CheckpointError
from ledger.finality import consortium_policy, log_vkey
from ledger.keys import SigningKey
from ledger.note import Vkey
from ledger.rules import COORDINATOR, LOG, LogKey, approve, commitment, initial
from ledger.statement import decode_statement

FIRST, SECOND, THIRD = (key_of(f"log {number}") for number in range(3))
QUORUM = ["firm-0", "firm-1", "firm-2", "bank-0"]


@pytest.fixture
def consortium() -> Consortium:
    made = Consortium(log_key=FIRST, next_log=commitment(SECOND.public))
    made.task()
    return made


def rotation(
    made: Consortium, key: SigningKey, *, names: list[str] | None = None, issuer: str = COORDINATOR, **fields: Any
) -> bytes:
    own = {"member": LOG, "key": key.public.raw, "next_log": None}
    return made.approved(names or [], "rotate", issuer, **{**own, **fields})


def handover(made: Consortium, *, names: list[str] = QUORUM, issuer: str = "firm-0", **fields: Any) -> bytes:
    own = {"log": key_of("new home").public.raw, "next_log": None, "size": made.log.size, "root": made.log.root}
    return made.approved(names, "handover", issuer, **{**own, **fields})


# the founding


def test_the_policy_names_the_key(consortium: Consortium) -> None:
    assert consortium.log.state.log == LogKey(FIRST.public, commitment(SECOND.public), 0)
    assert log_vkey(ORIGIN, consortium.log.state) == Vkey.of_log(ORIGIN, FIRST.public)
    other = Vkey.of_log(ORIGIN, THIRD.public)
    assert consortium_policy(consortium.log.state, other).logs == (Vkey.of_log(ORIGIN, FIRST.public),)
    assert consortium_policy(consortium.log.state, ORIGIN) == consortium_policy(consortium.log.state, other)


def test_without_a_key_of_its_own_the_log_has_the_coordinators() -> None:
    made = Consortium()
    assert made.log.state.log == LogKey(made.keys[COORDINATOR].public, None, 0)
    with pytest.raises(CheckpointError, match="not complete"):
        log_vkey(ORIGIN, initial("c-1"))


def test_a_later_policy_does_not_touch_the_key(consortium: Consortium) -> None:
    terms: dict[str, Any] = {
        "coordinator": consortium.keys[COORDINATOR].public.raw,
        "min_cohort": 3,
        "config": None,
        "founders": None,
        "signatures": "ed25519",
        "log": None,
        "next_log": None,
    }
    for touched in ({"log": THIRD.public.raw}, {"next_log": bytes(32)}, {"founders": 1}):
        assert refused(consortium, consortium.approved(QUORUM, "policy", **{**terms, **touched})).rule == "policy"
    before = consortium.log.state.log
    consortium.log.append([consortium.approved(QUORUM, "policy", **terms)])
    assert consortium.log.state.terms.min_cohort == 3
    assert consortium.log.state.log == before


def test_the_logs_key_is_no_members(consortium: Consortium) -> None:
    fields: dict[str, Any] = {"member": "firm-9", "kind": "firm", "key": FIRST.public.raw, "name": "Nine"}
    assert refused(consortium, consortium.approved(QUORUM, "enrol", **fields)).rule == "key"
    reserved = {**fields, "member": LOG, "key": key_of("firm-9").public.raw}
    assert refused(consortium, consortium.approved(QUORUM, "enrol", **reserved)).rule == "member"


# rotation


def test_the_committed_key_needs_no_quorum(consortium: Consortium) -> None:
    consortium.log.append([rotation(consortium, SECOND, next_log=commitment(THIRD.public))])
    index = consortium.log.size - 1
    assert consortium.log.state.log == LogKey(SECOND.public, commitment(THIRD.public), index)
    consortium.log.append([rotation(consortium, THIRD)])
    assert consortium.log.state.log == LogKey(THIRD.public, None, index + 1)
    assert refused(consortium, rotation(consortium, key_of("log 3"))).rule == "approvals"


def test_any_other_key_needs_a_quorum(consortium: Consortium) -> None:
    assert refused(consortium, rotation(consortium, THIRD)).rule == "approvals"
    assert refused(consortium, rotation(consortium, THIRD, names=QUORUM[:3])).rule == "approvals"
    consortium.log.append([rotation(consortium, THIRD, names=QUORUM)])
    assert consortium.log.state.log == LogKey(THIRD.public, None, consortium.log.size - 1)
    assert refused(consortium, rotation(consortium, SECOND)).rule == "approvals"


def test_only_the_coordinator_uses_the_commitment(consortium: Consortium) -> None:
    assert refused(consortium, rotation(consortium, SECOND, issuer="firm-0")).rule == "approvals"
    consortium.log.append([rotation(consortium, SECOND, issuer="firm-0", names=QUORUM)])


def test_approvals_that_are_given_must_hold(consortium: Consortium) -> None:
    assert refused(consortium, rotation(consortium, SECOND, names=QUORUM[:1])).rule == "approvals"


def test_no_key_comes_back(consortium: Consortium) -> None:
    consortium.log.append([rotation(consortium, SECOND)])
    for used in (FIRST, SECOND, consortium.keys["firm-0"], consortium.keys[COORDINATOR]):
        assert refused(consortium, rotation(consortium, used, names=QUORUM)).rule == "key"


def test_the_next_key_is_said_for_the_log_and_for_no_one_else(consortium: Consortium) -> None:
    silent = consortium.approved([], "rotate", member=LOG, key=SECOND.public.raw)
    assert refused(consortium, silent).rule == "log"
    key = key_of("firm-0 renewed").public.raw
    talkative = consortium.approved(QUORUM, "rotate", member="firm-0", key=key, next_log=None)
    assert refused(consortium, talkative).rule == "log"


# handover


@pytest.mark.parametrize("issuer", ["firm-0", "bank-0", COORDINATOR])
def test_a_quorum_hands_the_log_over(consortium: Consortium, issuer: str) -> None:
    following = commitment(THIRD.public)
    consortium.log.append([handover(consortium, issuer=issuer, next_log=following)])
    index = consortium.log.size - 1
    assert consortium.log.state.log == LogKey(key_of("new home").public, following, index)


def test_a_handover_continues_exactly_these_entries(consortium: Consortium) -> None:
    for size in (consortium.log.size - 1, consortium.log.size + 1, 0):
        assert refused(consortium, handover(consortium, size=size)).rule == "base"


def test_a_handover_needs_a_quorum(consortium: Consortium) -> None:
    assert refused(consortium, handover(consortium, names=QUORUM[:3])).rule == "approvals"
    assert refused(consortium, handover(consortium, names=[*QUORUM[:3], "firm-0"])).rule == "approvals"
    assert refused(consortium, handover(consortium, names=[], issuer=COORDINATOR)).rule == "approvals"
    payload = dict(decode_statement(handover(consortium)).payload)
    payload["approvals"] = [approve({**payload, "root": bytes([1] * 32)}, n, consortium.keys[n]) for n in QUORUM]
    assert refused(consortium, consortium.sign(payload, "firm-0")).rule == "approvals"


def test_the_suspended_do_not_hand_over(consortium: Consortium) -> None:
    consortium.log.append([consortium.approved(QUORUM, "suspend", member="firm-3", reason="left")])
    assert refused(consortium, handover(consortium, names=["firm-3", "firm-0", "firm-1"])).rule == "approvals"
    assert refused(consortium, handover(consortium, names=QUORUM[:3], issuer="firm-3")).rule == "issuer"
    consortium.log.append([handover(consortium, names=QUORUM[:3])])


def test_a_handover_names_a_new_key(consortium: Consortium) -> None:
    for used in (FIRST, consortium.keys["bank-0"], consortium.keys[COORDINATOR]):
        assert refused(consortium, handover(consortium, log=used.public.raw)).rule == "key"


def test_a_second_handover_has_its_own_base(consortium: Consortium) -> None:
    first, rival = handover(consortium), handover(consortium, log=THIRD.public.raw)
    consortium.log.append([first])
    assert refused(consortium, rival).rule == "parent"
    assert refused(consortium, handover(consortium, size=consortium.log.size - 1)).rule == "base"
    assert refused(consortium, handover(consortium)).rule == "key"
    consortium.log.append([handover(consortium, log=THIRD.public.raw)])
    assert consortium.log.state.log == LogKey(THIRD.public, None, consortium.log.size - 1)
