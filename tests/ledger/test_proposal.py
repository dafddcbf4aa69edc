"""Proposals: files that collect approvals, of which only those that hold count."""

from typing import Any

import pytest
from consortium_simulator import Consortium, key_of

from ledger.encoding import encode
from ledger.proposal import Proposal, ProposalError, TooFewApprovals
from ledger.rules import COORDINATOR, Refused

NEW = key_of("firm-9").public


@pytest.fixture
def made() -> Consortium:
    """Four firms and a bank, after the founding: a quorum is 4."""
    consortium = Consortium(firms=4)
    consortium.task()
    return consortium


def proposal(made: Consortium, t: str = "enrol", **fields: Any) -> Proposal:
    own: dict[str, dict[str, Any]] = {
        "enrol": {"member": "firm-9", "kind": "firm", "key": NEW.raw, "name": "Nine"},
        "rotate": {"member": "firm-1", "key": NEW.raw},
        "suspend": {"member": "firm-1", "reason": "closed"},
    }
    parent = made.log.state.membership_digest
    return Proposal.of(made.payload(t, **{"parent": parent, **own[t], **fields}, approvals=[]))


def approved(made: Consortium, names: list[str], **fields: Any) -> Proposal:
    asked = proposal(made, **fields)
    for name in names:
        asked = Proposal.from_bytes(asked.approved(name, made.keys[name]).to_bytes())
    return asked


def test_a_quorum_makes_a_statement_that_the_ledger_takes(made: Consortium) -> None:
    asked = approved(made, ["firm-0", "firm-1", "bank-0", "firm-3"])
    assert asked.approvers(made.log.state) == ["bank-0", "firm-0", "firm-1", "firm-3"]
    made.log.append([asked.statement(made.log.state, issuer="firm-0", key=made.keys["firm-0"])])
    assert made.log.state.is_enrolled("firm-9", "firm")


def test_too_few_make_none(made: Consortium) -> None:
    asked = approved(made, ["firm-0", "firm-1", "firm-1"])
    with pytest.raises(TooFewApprovals, match="2 of 5 members approved, 4 are needed"):
        asked.statement(made.log.state, issuer="firm-0", key=made.keys["firm-0"])


def test_what_does_not_hold_is_not_counted_and_does_not_spoil_the_rest(made: Consortium) -> None:
    asked = approved(made, ["firm-0", "firm-1", "firm-2", "bank-0"])
    asked = asked.approved("firm-3", key_of("somebody"))
    asked = asked.approved("stranger", key_of("stranger"))
    asked = asked.approved(COORDINATOR, made.keys[COORDINATOR])
    assert asked.approvers(made.log.state) == ["bank-0", "firm-0", "firm-1", "firm-2"]
    made.log.append([asked.statement(made.log.state, issuer=COORDINATOR, key=made.keys[COORDINATOR])])


def test_an_approval_is_for_these_words_only(made: Consortium) -> None:
    asked = approved(made, ["firm-0"])
    changed = Proposal.of({**asked.payload, "name": "Ten"})
    assert changed.approvers(made.log.state) == []


def test_it_is_for_one_consortium(made: Consortium) -> None:
    other = Proposal.of({**proposal(made).payload, "cid": "c-2"})
    with pytest.raises(ProposalError, match="'c-2'"):
        other.approvers(made.log.state)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        encode({}),
        encode({"v": 2, "proposal": {}}),
        encode({"v": True, "proposal": {}}),
        encode({"v": 1, "proposal": {"t": "enrol"}}),
    ],
)
def test_other_bytes_are_no_proposal(raw: bytes) -> None:
    with pytest.raises(ProposalError):
        Proposal.from_bytes(raw)


def test_a_record_that_needs_no_approval_is_no_proposal(made: Consortium) -> None:
    with pytest.raises(ProposalError, match="needs no approval"):
        Proposal.of(made.payload("task", task="credit", spec=bytes(32)))


def test_the_words_say_what_is_asked(made: Consortium) -> None:
    assert proposal(made).words() == ["Enrol the firm firm-9, 'Nine'", f"  with the key {NEW.fingerprint}"]
    assert proposal(made, "rotate").words() == [f"Give firm-1 the key {NEW.fingerprint}"]
    assert proposal(made, "rotate", key=b"\x02" * 32).words()[0].startswith("Give firm-1 the key ")
    assert proposal(made, "suspend").words() == ["Suspend firm-1: closed"]


def test_a_rehearsal_says_what_the_ledger_would_refuse_whoever_approves(made: Consortium) -> None:
    state, key = made.log.state, made.keys[COORDINATOR]
    for asked in (proposal(made), approved(made, ["firm-0"]), proposal(made, "rotate"), proposal(made, "suspend")):
        asked.rehearse(state, issuer=COORDINATOR, key=key)
    used = made.keys["firm-2"].public.raw
    for asked, rule in (
        (proposal(made, key=used), "key"),
        (proposal(made, member="firm-1"), "member"),
        (proposal(made, "suspend", member="firm-9"), "member"),
        (proposal(made, parent=bytes(32)), "parent"),
    ):
        with pytest.raises(Refused) as refusal:
            asked.rehearse(state, issuer=COORDINATOR, key=key)
        assert refusal.value.rule == rule
    with pytest.raises(Refused, match="signature"):
        proposal(made).rehearse(state, issuer=COORDINATOR, key=key_of("somebody"))
    assert made.log.state == state
