"""Who the join desk listens to: one use of each invite, signed by the key that is to be enrolled, over everything."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from join_world import BANK, FIRMS, JoinWorld, join_world

from clients.enrolment.errors import NotAdmitted
from clients.enrolment.signed import FRESH_S, BadRequest, SignedFields
from clients.errors import ClientError
from ledger.keys import SigningKey
from server.certificates import request_certificate
from server.enrolment.inviting import state_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JoinWorld]:
    with join_world(tmp_path) as world:
        yield world


def test_a_request_is_taken_once_and_may_be_repeated_by_its_key(world: JoinWorld) -> None:
    one, standing = world.ask("firm-1")
    assert standing.phase == "asked"
    assert world.desk.join(one.request(), one.invite.token).phase == "asked"
    again = one.request()
    assert [world.desk.join(again, one.invite.token).phase for _ in range(2)] == ["asked", "asked"]
    assert [asked.member for asked in world.book.requests()] == ["firm-1"]
    assert {state_of(i, world.clock()) for i in world.book.invites() if i.member == "firm-1"} == {"used"}


def test_an_invite_that_another_key_used_is_void(world: JoinWorld) -> None:
    world.ask("firm-1")
    thief = world.organisation("firm-1", "thief")
    with pytest.raises(NotAdmitted, match="used by another key"):
        world.desk.join(thief.request(), thief.invite.token)


def test_an_expired_invite_is_refused(world: JoinWorld) -> None:
    one = world.organisation("firm-1")
    world.clock.now_s += 86_401
    with pytest.raises(NotAdmitted, match="expired"):
        world.desk.join(one.request(), one.invite.token)
    assert not world.book.requests()


def test_an_invite_that_was_withdrawn_or_made_anew_is_refused(world: JoinWorld) -> None:
    first, second = world.organisation("firm-1"), world.organisation("firm-2")
    world.invite("firm-1")
    assert world.book.withdraw("firm-2") == 1
    for one in (first, second):
        with pytest.raises(NotAdmitted, match="withdrawn"):
            world.desk.join(one.request(), one.invite.token)
    assert world.ask("firm-1")[1].phase == "asked"


def test_another_members_token_is_refused(world: JoinWorld) -> None:
    one, other = world.organisation("firm-1"), world.invites["firm-2"]
    with pytest.raises(NotAdmitted, match="another member"):
        world.desk.join(one.request(token_sha256=other.token_sha256), other.token)
    with pytest.raises(BadRequest, match="the token is not the one"):
        world.desk.join(one.request(), other.token)
    with pytest.raises(NotAdmitted, match="has not made this invite"):
        world.desk.join(one.request(token_sha256=hashlib.sha256(b"guessed").digest()), b"guessed")


def test_another_policy_is_refused(world: JoinWorld) -> None:
    one = world.organisation("firm-1")
    with pytest.raises(BadRequest, match="policy has changed"):
        world.desk.join(one.request(policy_sha256=bytes(32)), one.invite.token)


def test_what_is_changed_after_signing_is_refused(world: JoinWorld) -> None:
    one = world.organisation("firm-1")
    signed, other = one.request(), one.request(name="Another")
    for wrong in (
        SignedFields(other.raw, signed.signature),
        one.sign("Join", one.fields, SigningKey.generate()),
        SignedFields(signed.raw, signed.signature[:-1]),
    ):
        with pytest.raises(BadRequest, match="not signed"):
            world.desk.join(wrong, one.invite.token)
    for at in range(0, len(signed.raw), 7):
        damaged = bytearray(signed.raw)
        damaged[at] ^= 1
        with pytest.raises(ClientError):
            world.desk.join(SignedFields(bytes(damaged), signed.signature), one.invite.token)


def test_keys_of_another_member_are_refused(world: JoinWorld) -> None:
    first, _ = world.ask("firm-1")
    other = world.organisation("firm-2")
    comment = first.fields["node_key"].split()[:2]
    for taken, words in (
        ({"csr": first.fields["csr"]}, "this TLS key"),
        ({"node_key": b" ".join(comment) + b" another"}, "SuperNode's key"),
    ):
        with pytest.raises(BadRequest, match=words):
            world.desk.join(other.request(**taken), other.invite.token)
    assert world.ask("firm-2")[1].phase == "asked"


def test_a_certificate_for_another_members_key_is_refused(world: JoinWorld) -> None:
    everyone = world.found()
    one, other = everyone["firm-1"], everyone["firm-2"]
    with pytest.raises(BadRequest, match="this TLS key"):
        world.desk.renew(one.sign("Renew", {"csr": other.fields["csr"]}))
    another = request_certificate(other.home, "firm-2", key_file="other.key")
    assert world.desk.renew(other.sign("Renew", {"csr": another}))
    with pytest.raises(BadRequest, match="this TLS key"):
        world.desk.renew(one.sign("Renew", {"csr": another}))


def test_a_request_for_another_call_or_consortium_is_refused(world: JoinWorld) -> None:
    one, _ = world.ask("firm-1")
    with pytest.raises(BadRequest, match="is for 'Standing'"):
        world.desk.proposals(one.sign("Standing", {}))
    elsewhere = SignedFields.make("Standing", "other", "firm-1", one.key, {}, now_s=world.clock(), entropy=os.urandom)
    with pytest.raises(BadRequest, match="the consortium 'other'"):
        world.desk.standing(elsewhere)


def test_an_old_request_and_one_that_was_made_before_are_refused(world: JoinWorld) -> None:
    one, _ = world.ask("firm-1")
    signed = one.sign("Standing", {})
    assert world.desk.standing(signed).phase == "asked"
    with pytest.raises(BadRequest, match="made before"):
        world.desk.standing(signed)
    late = one.sign("Standing", {})
    world.clock.now_s += FRESH_S + 1
    with pytest.raises(BadRequest, match="set the member's clock"):
        world.desk.standing(late)


def test_keys_of_the_wrong_kind_are_refused(world: JoinWorld, tmp_path: Path) -> None:
    one, bank = world.organisation("firm-1"), world.organisation(BANK)
    hybrid = SigningKey.generate(hybrid=True)
    with pytest.raises(BadRequest, match="1984 bytes"):
        world.desk.join(one.sign("Join", {**one.fields, "key": hybrid.public.raw}, hybrid), one.invite.token)
    for wrong in (b"ssh-rsa AAAA", b"ssh-foo AAAA"):
        with pytest.raises(BadRequest, match="OpenSSH"):
            world.desk.join(one.request(node_key=wrong), one.invite.token)
    with pytest.raises(BadRequest, match="a bank none"):
        world.desk.join(bank.request(node_key=one.fields["node_key"]), bank.invite.token)
    with pytest.raises(ClientError, match="signing request"):
        world.desk.join(one.request(csr=b"no request"), one.invite.token)
    world.ask("firm-2")
    copy = world.organisation("firm-3", "firm-2")
    with pytest.raises(BadRequest, match="another member has asked with this signing key"):
        world.desk.join(copy.request(), copy.invite.token)


def test_terms_are_for_whoever_has_an_invite(world: JoinWorld) -> None:
    policy, specs = world.desk.terms(world.invites["firm-1"].token_sha256)
    assert policy == (world.home / "consortium.toml").read_bytes()
    assert set(specs) == {"credit"}
    with pytest.raises(NotAdmitted):
        world.desk.terms(bytes(32))


def test_the_ledger_is_founded_when_all_are_admitted(world: JoinWorld) -> None:
    everyone = {member: world.ask(member)[0] for member in (*FIRMS, BANK)}
    for member in FIRMS:
        world.admission.admit(member)
        assert world.admission.found() is None
    standing = world.desk.standing(everyone["firm-1"].sign("Standing", {}))
    assert (standing.phase, standing.certificate) == ("admitted", b"")
    assert "missing: bank-1" in standing.detail
    world.admission.admit(BANK)
    founded = world.admission.found()
    assert founded is not None
    assert world.admission.found() is None
    for member, one in everyone.items():
        standing = world.desk.standing(one.sign("Standing", {}))
        assert (standing.phase, standing.origin, standing.founding) == ("enrolled", founded.origin, founded.entries)
        assert f"/{member}".encode() not in standing.certificate
        assert standing.certificate == world.admission.issuing.present(member)
    assert [node.member for node in world.book.nodes() if node.wanted] == list(FIRMS)


def test_nobody_but_the_member_learns_how_it_stands(world: JoinWorld) -> None:
    one, _ = world.ask("firm-1")
    other, _ = world.ask("firm-2")
    with pytest.raises(BadRequest, match="not signed"):
        world.desk.standing(one.sign("Standing", {}, other.key))
    stranger = world.organisation("firm-3")
    with pytest.raises(NotAdmitted, match="has not asked"):
        world.desk.standing(stranger.sign("Standing", {}))


def test_only_active_members_renew_approve_and_see_proposals(world: JoinWorld) -> None:
    one, _ = world.ask("firm-1")
    csr = request_certificate(one.home, "firm-1")
    for call in (
        lambda: world.desk.renew(one.sign("Renew", {"csr": csr})),
        lambda: world.desk.proposals(one.sign("Proposals", {})),
        lambda: world.desk.approve(one.sign("Approve", {"proposal": "x", "approval": b""})),
    ):
        with pytest.raises(NotAdmitted, match="no active member"):
            call()
