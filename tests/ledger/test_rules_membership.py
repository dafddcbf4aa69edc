"""Who founds and who belongs: what a quorum decides, and every way to pass for one."""

from typing import Any

import pytest
from consortium_simulator import Consortium, key_of
from refusals import refused

from ledger.rules import COORDINATOR, RESERVED, Refused, apply, approve
from ledger.statement import decode_statement


@pytest.fixture
def consortium() -> Consortium:
    made = Consortium()
    made.task()
    return made


def newcomer(consortium: Consortium, names: list[str], **fields: Any) -> bytes:
    own = {"member": "firm-9", "kind": "firm", "key": key_of("firm-9").public.raw, "name": "Nine"}
    return consortium.approved(names, "enrol", **{**own, **fields})


# founding


def test_founding() -> None:
    made = Consortium()
    state = made.log.state
    assert state.voters == 5
    assert not state.founding
    assert [member.member for member in state.active("bank")] == ["bank-0"]
    assert state.coordinator == made.keys[COORDINATOR].public


def test_the_first_entry_is_a_policy() -> None:
    made = Consortium(founded=False)
    policy, enrol, *_ = made.genesis()
    assert refused(made, enrol).rule == "genesis"
    made.log.append([policy])
    assert refused(made, made.statement("task", task="credit", spec=made.hash())).rule == "genesis"


def half_founded() -> tuple[Consortium, bytes]:
    """A consortium whose last founding member is still to be enrolled, and that member's record."""
    made = Consortium(founded=False)
    *first, last = made.genesis()
    made.log.append(first)
    return made, last


def test_the_founding_is_as_long_as_entry_0_says() -> None:
    """Whoever has compared the founding cannot be surprised by one more founder."""
    made, last = half_founded()
    assert made.log.state.founding
    assert refused(made, made.statement("task", task="credit", spec=made.hash())).rule == "genesis"
    made.log.append([last])
    assert not made.log.state.founding
    assert refused(made, newcomer(made, [])).rule == "approvals"
    unsaid = Consortium(founded=False)
    policy = dict(decode_statement(unsaid.genesis()[0]).payload)
    assert refused(unsaid, unsaid.sign({**policy, "founders": None})).rule == "genesis"


def test_only_the_coordinator_founds() -> None:
    made, last = half_founded()
    by_member = made.sign(dict(decode_statement(last).payload), "firm-0")
    assert refused(made, by_member).rule == "genesis"
    assert refused(made, newcomer(made, ["firm-0"])).rule == "genesis"


def test_one_key_is_one_member() -> None:
    made, _ = half_founded()
    assert refused(made, newcomer(made, [], key=made.keys["firm-0"].public.raw)).rule == "key"
    assert refused(made, newcomer(made, [], key=made.keys[COORDINATOR].public.raw)).rule == "key"
    assert refused(made, newcomer(made, [], member="firm-0")).rule == "member"
    for reserved in RESERVED:
        assert refused(made, newcomer(made, [], member=reserved)).rule == "member"


# membership after the founding: five members, so four must approve


def test_a_quorum_enrols(consortium: Consortium) -> None:
    consortium.log.append([newcomer(consortium, ["firm-0", "firm-1", "firm-2", "bank-0"])])
    assert consortium.log.state.is_enrolled("firm-9", "firm")
    assert consortium.log.state.voters == 6


def test_forged_membership(consortium: Consortium) -> None:
    """Too few, a duplicate, a wrong key, an approval of something else, a stranger: each refused."""
    assert refused(consortium, newcomer(consortium, ["firm-0", "firm-1", "firm-2"])).rule == "approvals"
    assert refused(consortium, newcomer(consortium, ["firm-0", "firm-0", "firm-1", "firm-2"])).rule == "approvals"
    enough_and_twice = newcomer(consortium, [*consortium.members, "firm-0"])
    assert "twice" in refused(consortium, enough_and_twice).detail
    payload = dict(decode_statement(newcomer(consortium, ["firm-0", "firm-1", "firm-2", "firm-3"])).payload)
    wrong_key = approve(payload, "bank-0", key_of("mallory"))
    stranger = approve(payload, "mallory", key_of("mallory"))
    other = approve({**payload, "name": "Other"}, "bank-0", consortium.keys["bank-0"])
    for bad in (wrong_key, stranger, other):
        forged = {**payload, "approvals": [*payload["approvals"], bad]}
        assert refused(consortium, consortium.sign(forged)).rule == "approvals"
    changed = {**payload, "kind": "bank"}
    assert refused(consortium, consortium.sign(changed)).rule == "approvals"


def test_what_was_approved_is_not_brought_out_after_other_changes(consortium: Consortium) -> None:
    """A withheld approval: the quorum that gave it knew another membership, and perhaps another key."""
    everyone = ["firm-0", "firm-1", "firm-2", "bank-0"]
    withheld = newcomer(consortium, everyone)
    before = consortium.log.state.membership_digest
    raw = consortium.approved(everyone, "suspend", member="firm-3", reason="left")
    consortium.log.append([raw])
    assert consortium.log.state.membership_digest == decode_statement(raw).digest
    assert refused(consortium, withheld).rule == "parent"
    for other in (before, None, consortium.hash()):
        assert refused(consortium, newcomer(consortium, everyone[:3], parent=other)).rule == "parent"
    consortium.task("demand")
    consortium.log.append([newcomer(consortium, everyone[:3])])


def test_suspension_takes_voice_and_vote(consortium: Consortium) -> None:
    everyone = ["firm-0", "firm-1", "firm-2", "bank-0"]
    consortium.log.append([consortium.approved(everyone, "suspend", member="firm-3", reason="left")])
    assert consortium.log.state.voters == 4
    attest = consortium.statement("attest", "firm-3", subject="s", artifact=consortium.hash())
    assert refused(consortium, attest).rule == "issuer"
    with_suspended = newcomer(consortium, ["firm-3", "firm-0", "firm-1", "firm-2"])
    assert refused(consortium, with_suspended).rule == "approvals"
    with pytest.raises(Refused, match="not an active firm"):
        consortium.round(cohort=["firm-0", "firm-3"])
    back = {"member": "firm-3", "key": consortium.keys["firm-3"].public.raw}
    consortium.log.append([newcomer(consortium, ["firm-0", "firm-1", "firm-2"], **back)])
    assert consortium.log.state.is_enrolled("firm-3")


def test_an_old_key_is_void_from_its_rotation_on(consortium: Consortium) -> None:
    new = key_of("firm-0 renewed")
    everyone = ["firm-1", "firm-2", "firm-3", "bank-0"]
    consortium.log.append([consortium.approved(everyone, "rotate", member="firm-0", key=new.public.raw)])
    payload = consortium.payload("attest", subject="s", artifact=consortium.hash())
    assert refused(consortium, consortium.sign(payload, "firm-0")).rule == "signature"
    consortium.log.append([consortium.sign(payload, "firm-0", key=new)])
    again = consortium.approved(everyone, "rotate", member="firm-1", key=consortium.keys["firm-0"].public.raw)
    assert refused(consortium, again).rule == "key"


def test_the_coordinator_can_be_given_a_new_key(consortium: Consortium) -> None:
    new = key_of("coordinator renewed")
    everyone = consortium.members[:4]
    consortium.log.append([consortium.approved(everyone, "rotate", member=COORDINATOR, key=new.public.raw)])
    payload = consortium.payload("task", task="demand", spec=consortium.hash())
    assert refused(consortium, consortium.sign(payload)).rule == "signature"
    consortium.log.append([consortium.sign(payload, key=new)])


ALL_RECORDS: dict[str, dict[str, Any]] = {
    "enrol": {"member": "firm-9", "kind": "firm", "key": key_of("firm-9").public.raw, "name": "Nine", "approvals": []},
    "rotate": {"member": "firm-3", "key": key_of("firm-9").public.raw, "approvals": []},
    "suspend": {"member": "firm-0", "reason": "revenge", "approvals": []},
    "handover": {"log": key_of("log").public.raw, "next_log": None, "size": 0, "root": bytes(32), "approvals": []},
    "encryption_key": {"key": bytes(1216)},
    "epoch_key": {"purpose": "masking", "epoch": 1, "key": bytes(1216)},
    "contribution": {"round": bytes(16), "commit": bytes(32), "n_bucket": 1, "rdp": [], "clip": 1},
    "cap": {"org": "firm-3", "task": "credit", "rdp_cap": [1], "delta": 1},
    "consent": {"firm": "firm-3", "bank": "bank-0", "purpose": "loan", "until": 1},
    "query": {"bank": "firm-3", "purpose": "loan", "subject": bytes(32), "answer": bytes(32), "model": bytes(32)},
    "attest": {"subject": "batch", "artifact": bytes(32)},
}


def test_a_suspended_member_is_silent(consortium: Consortium) -> None:
    """Whatever it says, signed with its own key, and whether the rules' signature check or the reducer reads it."""
    everyone = ["firm-0", "firm-1", "firm-2", "bank-0"]
    consortium.log.append([consortium.approved(everyone, "suspend", member="firm-3", reason="left")])
    for t, fields in ALL_RECORDS.items():
        raw = consortium.statement(t, "firm-3", parent=consortium.log.state.membership_digest, **fields)
        assert refused(consortium, raw).rule == "issuer", t
        with pytest.raises(Refused) as caught:
            apply(consortium.log.state, decode_statement(raw), consortium.log.size)
        assert caught.value.rule == "issuer", t


def test_an_approval_serves_one_record_of_one_consortium(consortium: Consortium) -> None:
    """Approvals of a sister ledger with the same members, of the record's twin with another id, and of its issuer's
    other wording: none is an approval of this record."""
    everyone = ["firm-0", "firm-1", "firm-2", "bank-0"]
    raw = newcomer(consortium, everyone)
    payload = dict(decode_statement(raw).payload)
    foreign = {**payload, "cid": "c-2"}
    for other in (foreign, {**payload, "id": consortium.entropy(16)}, {**payload, "ts": payload["ts"] + 1}):
        moved = {**payload, "approvals": [approve(other, name, consortium.keys[name]) for name in everyone]}
        assert refused(consortium, consortium.sign(moved)).rule == "approvals"
    assert refused(consortium, consortium.sign({**foreign, "approvals": payload["approvals"]})).rule == "cid"
    consortium.log.append([raw])
    again = {**payload, "member": "firm-10", "id": consortium.entropy(16)}
    assert refused(consortium, consortium.sign(again)).rule == "parent"


def test_an_approval_is_by_the_present_key(consortium: Consortium) -> None:
    old = consortium.keys["firm-0"]
    new = key_of("firm-0 renewed")
    everyone = ["firm-1", "firm-2", "firm-3", "bank-0"]
    consortium.log.append([consortium.approved(everyone, "rotate", member="firm-0", key=new.public.raw)])
    voices = ["firm-0", "firm-1", "firm-2", "bank-0"]
    assert consortium.keys["firm-0"] is old
    assert refused(consortium, newcomer(consortium, voices)).rule == "approvals"
    consortium.keys["firm-0"] = new
    consortium.log.append([newcomer(consortium, voices)])


def test_a_lost_key_is_replaced_without_it(consortium: Consortium) -> None:
    """The record is another's to issue and the others' to approve; what the old key signed before stays."""
    before = consortium.append("attest", "firm-0", subject="s", artifact=consortium.hash())
    new = key_of("firm-0 renewed")
    others = ["firm-1", "firm-2", "firm-3", "bank-0"]
    raw = consortium.approved(others, "rotate", "bank-0", member="firm-0", key=new.public.raw)
    consortium.log.append([raw])
    member = consortium.log.state.members.get("firm-0")
    assert member is not None
    assert (member.key, member.since) == (new.public, consortium.log.size - 1)
    assert consortium.log.index_of(decode_statement(before).digest) is not None


def test_who_comes_back_has_its_last_key_or_a_new_one(consortium: Consortium) -> None:
    first, second = consortium.keys["firm-3"], key_of("firm-3 renewed")
    everyone = ["firm-0", "firm-1", "firm-2", "bank-0"]
    consortium.log.append([consortium.approved(everyone, "rotate", member="firm-3", key=second.public.raw)])
    consortium.log.append([consortium.approved(everyone, "suspend", member="firm-3", reason="left")])
    voices = everyone[:3]
    for used in (first, consortium.keys["firm-0"], consortium.keys[COORDINATOR]):
        assert refused(consortium, newcomer(consortium, voices, member="firm-3", key=used.public.raw)).rule == "key"
    consortium.log.append([newcomer(consortium, voices, member="firm-3", key=second.public.raw)])
    assert consortium.log.state.is_enrolled("firm-3", "firm")


def test_the_coordinators_old_key_is_nobodys(consortium: Consortium) -> None:
    old, new = consortium.keys[COORDINATOR], key_of("coordinator renewed")
    everyone = consortium.members[:4]
    consortium.log.append([consortium.approved(everyone, "rotate", "firm-0", member=COORDINATOR, key=new.public.raw)])
    consortium.keys[COORDINATOR] = new
    assert refused(consortium, newcomer(consortium, everyone, key=old.public.raw)).rule == "key"
    back = consortium.approved(everyone, "rotate", member=COORDINATOR, key=old.public.raw)
    assert refused(consortium, back).rule == "key"


def test_the_last_active_member_stays() -> None:
    made = Consortium(firms=1)
    everyone = list(made.members)
    made.log.append([made.approved(everyone, "suspend", member="bank-0", reason="left")])
    assert refused(made, made.approved(["firm-0"], "suspend", member="firm-0", reason="left")).rule == "member"
    assert refused(made, made.approved(["firm-0"], "suspend", member="bank-0", reason="left")).rule == "member"


def test_encryption_keys(consortium: Consortium) -> None:
    key = consortium.entropy(1216)
    consortium.append("encryption_key", "bank-0", key=key)
    assert consortium.log.state.encryption_keys.get("bank-0") == key
    assert refused(consortium, consortium.statement("encryption_key", "firm-0", key=key)).rule == "key"
    assert refused(consortium, consortium.statement("encryption_key", key=consortium.entropy(1216))).rule == "issuer"
    assert refused(consortium, consortium.statement("encryption_key", "firm-0", key=key[:-1])).rule == "schema"
    renewed = consortium.entropy(1216)
    consortium.append("encryption_key", "bank-0", key=renewed)
    assert consortium.log.state.encryption_keys.get("bank-0") == renewed
