"""The choice of signatures: keys of either kind under the first, hybrid keys of everyone under the second."""

from typing import Any

import pytest
from consortium_simulator import Consortium, key_of
from refusals import refused

from ledger.checkpoint import is_final
from ledger.keys import PublicKey
from ledger.rules import CLASSICAL, COORDINATOR, HYBRID, Refused, approve
from ledger.statement import decode_statement

QUORUM = ["firm-0", "firm-1", "bank-0"]


@pytest.fixture
def hybrid() -> Consortium:
    return Consortium(firms=2, hybrid=True, signatures=HYBRID)


def terms(made: Consortium, signatures: str) -> dict[str, Any]:
    key = made.log.state.coordinator
    assert key is not None
    own = {"coordinator": key.raw, "min_cohort": 2, "config": None, "founders": None}
    return {**own, "signatures": signatures, "log": None, "next_log": None}


def enrolment(made: Consortium, key: PublicKey) -> bytes:
    return made.approved(QUORUM, "enrol", member="firm-9", kind="firm", key=key.raw, name="Nine")


def renewal(made: Consortium, name: str, *, hybrid: bool) -> None:
    new = key_of(f"{name} renewed", hybrid=hybrid)
    made.log.append([made.approved(QUORUM, "rotate", member=name, key=new.public.raw)])
    made.keys[name] = new


def test_a_hybrid_consortium_works_and_its_checkpoints_are_final(hybrid: Consortium) -> None:
    hybrid.task()
    hybrid.log.checkpoint()
    assert hybrid.cosign()
    note = hybrid.log.final()
    assert note is not None
    assert is_final(note, hybrid.log.policy)


def test_under_the_hybrid_policy_a_classical_key_is_refused(hybrid: Consortium) -> None:
    classical = key_of("firm-9").public
    assert refused(hybrid, enrolment(hybrid, classical)).rule == "signatures"
    for name in ("firm-0", COORDINATOR):
        rotation = hybrid.approved(QUORUM, "rotate", member=name, key=classical.raw)
        assert refused(hybrid, rotation).rule == "signatures"
    hybrid.log.append([enrolment(hybrid, key_of("firm-9", hybrid=True).public)])


def test_no_half_of_a_key_serves_twice(hybrid: Consortium) -> None:
    own, other = hybrid.keys["firm-0"].public.raw, key_of("firm-9", hybrid=True).public.raw
    for mixed in (own[:32] + other[32:], other[:32] + own[32:]):
        assert refused(hybrid, enrolment(hybrid, PublicKey(mixed))).rule == "key"


def test_the_founders_are_held_to_it_too() -> None:
    with pytest.raises(Refused) as caught:
        Consortium(firms=2, signatures=HYBRID)
    assert (caught.value.rule, caught.value.index) == ("signatures", 0)


def test_an_approval_needs_both_halves(hybrid: Consortium) -> None:
    payload = dict(decode_statement(enrolment(hybrid, key_of("firm-9", hybrid=True).public)).payload)
    whole = payload["approvals"][0]["signature"]
    other = approve({**payload, "ts": 0}, "firm-0", hybrid.keys["firm-0"])["signature"]
    for broken in (whole[:64], whole[:64] + other[64:], other[:64] + whole[64:]):
        approvals = [{"member": "firm-0", "signature": broken}, *payload["approvals"][1:]]
        assert refused(hybrid, hybrid.sign({**payload, "approvals": approvals})).rule == "approvals"


def test_the_policy_switches_once_everyone_is_ready() -> None:
    made = Consortium(firms=2)
    for name in [COORDINATOR, *made.members]:
        assert refused(made, made.approved(QUORUM, "policy", **terms(made, HYBRID))).rule == "signatures"
        renewal(made, name, hybrid=True)
    made.log.append([made.approved(QUORUM, "policy", **terms(made, HYBRID))])
    assert made.log.state.terms.signatures == HYBRID
    made.log.append([made.approved(QUORUM, "policy", **terms(made, CLASSICAL))])
    renewal(made, "firm-0", hybrid=False)


def test_a_suspended_member_holds_nobody_up_and_comes_back_with_a_hybrid_key() -> None:
    made = Consortium(firms=3)
    quorum = ["firm-0", "firm-1", "bank-0"]
    made.log.append([made.approved(quorum, "suspend", member="firm-2", reason="left")])
    for name in [*quorum, COORDINATOR]:
        renewal(made, name, hybrid=True)
    made.log.append([made.approved(quorum, "policy", **terms(made, HYBRID))])
    own = {"member": "firm-2", "kind": "firm", "name": "Two"}
    back = made.approved(quorum, "enrol", key=made.keys["firm-2"].public.raw, **own)
    assert refused(made, back).rule == "signatures"
