"""A proposal that the ledger refuses: said early and in one line, and it keeps nobody from anything else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from join_world import BANK, FIRMS, JoinWorld, Organisation, join_world
from typer.main import get_command

from clients.enrolment.errors import NotAdmitted
from clients.enrolment.signed import BadRequest
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.proposal import Proposal
from ledger.rules import COORDINATOR, State
from ledger.service.errors import Unreachable
from server.certificates import request_certificate
from server.coordinator_commands import app
from server.enrolment.book import Asked, NoSuchRequest, Proposed
from server.enrolment.proposing import CannotAdmit
from server.enrolment.running import Tending


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JoinWorld]:
    with join_world(tmp_path) as world:
        yield world


def state_of(world: JoinWorld) -> State:
    state = world.admission.ledger.state()
    assert state is not None
    return state


def rotate(world: JoinWorld, everyone: dict[str, Organisation], member: str, key: SigningKey) -> None:
    """A quorum gives a member another signing key, not by the desk."""
    state, coordinator = state_of(world), SigningKey.load(world.home / "signing.pem")
    common: dict[str, Any] = {"cid": state.cid, "record_id": os.urandom(16), "ts": 1}
    payload = record(
        "rotate", **common, parent=state.membership_digest, member=member, key=key.public.raw, approvals=[]
    )
    proposal = Proposal.of(payload)
    for other in (*FIRMS, BANK):
        proposal = proposal.approved(other, everyone[other].key)
    world.admission.ledger.append(proposal.statement(state, issuer=COORDINATOR, key=coordinator))


def suspend(world: JoinWorld, everyone: dict[str, Organisation], member: str) -> None:
    world.admission.proposing.suspend(member, "left")
    for other in [one for one in (*FIRMS, BANK) if one != member]:
        world.approve(everyone[other], f"suspend-{member}")


@pytest.fixture
def everyone(world: JoinWorld) -> dict[str, Organisation]:
    return world.found()


def bad_proposal(world: JoinWorld, everyone: dict[str, Organisation]) -> None:
    """firm-9 waits for approvals with a key that somebody else has got meanwhile."""
    world.invite("firm-9")
    nine, _ = world.ask("firm-9")
    world.admission.admit("firm-9")
    everyone["firm-9"] = nine
    rotate(world, everyone, "firm-1", nine.key)
    everyone["firm-1"].key = nine.key


def test_a_key_that_the_ledger_has_seen_is_refused_when_it_asks(
    world: JoinWorld, everyone: dict[str, Organisation]
) -> None:
    old = everyone["firm-2"].key
    rotate(world, everyone, "firm-2", SigningKey.generate())
    suspend(world, everyone, "firm-2")
    world.invite("firm-2")
    back = world.organisation("firm-2")
    assert back.key.public == old.public  # of a backup
    with pytest.raises(NotAdmitted, match=r"the ledger would refuse this.*has been used before; make a new one"):
        world.desk.join(back.request(), back.invite.token)
    assert [one.used_by for one in world.book.invites() if one.token_sha256 == back.invite.token_sha256] == [None]


def test_a_key_that_the_ledger_has_seen_is_refused_when_it_is_admitted(
    world: JoinWorld, everyone: dict[str, Organisation]
) -> None:
    invite = world.invite("firm-9")
    nine = world.organisation("firm-9")
    taken = everyone["firm-1"].key.public.raw
    asked = Asked("firm-9", "firm", invite.name, taken, nine.fields["csr"], nine.fields["node_key"], int(world.clock()))
    assert world.book.ask(asked, invite.token_sha256) == "taken"
    with pytest.raises(CannotAdmit, match="has been used before"):
        world.admission.admit("firm-9")
    assert not any(one.member == "firm-9" and one.admitted for one in world.book.requests())
    assert world.admission.proposing.all() == []


def test_half_a_key_of_another_who_asks_is_refused(tmp_path: Path) -> None:
    with join_world(tmp_path) as world:
        policy = world.home / "consortium.toml"
        policy.write_text(policy.read_text().replace('"ed25519"', '"ed25519+ml-dsa-65"'))
        for member in ("firm-1", "firm-2"):
            world.invite(member)
        half = MLDSA65PrivateKey.generate()
        keys = [SigningKey(Ed25519PrivateKey.generate(), half) for _ in range(2)]
        for member, key in zip(("firm-1", "firm-2"), keys, strict=True):
            (world.root / member).mkdir()
            key.save(world.root / member / "signing.pem")
        one, other = world.organisation("firm-1"), world.organisation("firm-2")
        world.desk.join(one.request(), one.invite.token)
        with pytest.raises(BadRequest, match="another member has asked with this signing key"):
            world.desk.join(other.request(), other.invite.token)


def test_what_the_ledger_refuses_keeps_nobody_from_anything(
    world: JoinWorld, everyone: dict[str, Organisation]
) -> None:
    """The proposal had passed its rehearsal: what refuses it came between."""
    bad_proposal(world, everyone)
    state, one = state_of(world), everyone["firm-3"]
    payload = Proposal.from_bytes(world.book.proposals()[0].proposal).payload
    stale = Proposal.of({**payload, "parent": state.membership_digest, "id": os.urandom(16)})
    world.book.propose(Proposed("enrol-firm-9", stale.to_bytes(), 1, placed=False))
    for member in (*FIRMS, BANK):
        facts = world.approve(everyone[member], "enrol-firm-9")
        if facts.proposed.refused:
            break
    assert "has been used before" in facts.proposed.refused
    assert not facts.proposed.placed
    assert world.desk.standing(one.sign("Standing", {})).phase == "enrolled"
    assert world.desk.renew(one.sign("Renew", {"csr": request_certificate(one.home, "firm-3")}))
    assert [f.proposed.refused for f in world.desk.proposals(one.sign("Proposals", {}))] == [facts.proposed.refused]
    world.admission.settle()
    with pytest.raises(CannotAdmit, match=r"the ledger refuses the proposal 'enrol-firm-9': .*used before"):
        world.approve(one, "enrol-firm-9")
    suspend(world, everyone, "firm-2")
    assert not state_of(world).is_enrolled("firm-2")


def test_a_proposal_that_is_made_anew_is_rehearsed(world: JoinWorld, everyone: dict[str, Organisation]) -> None:
    bad_proposal(world, everyone)
    world.admission.proposing.place()
    (proposed,) = world.book.proposals()
    assert "has been used before" in proposed.refused
    standing = world.desk.standing(everyone["firm-9"].sign("Standing", {}))
    assert standing.phase == "proposed"
    assert standing.detail.startswith("the ledger refuses it: ")


def test_a_refusal_is_shown_to_the_operator_and_the_proposal_withdrawn(
    world: JoinWorld, everyone: dict[str, Organisation]
) -> None:
    bad_proposal(world, everyone)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(get_command(app), [*arguments, "--home", str(world.home)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    shown = run("proposals")
    assert "the ledger refuses it" in shown
    assert "artesian coordinator withdraw enrol-firm-9" in shown
    assert "the ledger refuses it" in run("admit")
    assert "Withdrawn" in run("withdraw", "enrol-firm-9")
    assert "Nothing is proposed" in run("proposals")
    with pytest.raises(NoSuchRequest, match="no proposal that waits"):
        run("withdraw", "enrol-firm-9")


def test_what_is_on_the_ledger_is_not_withdrawn(world: JoinWorld, everyone: dict[str, Organisation]) -> None:
    suspend(world, everyone, "firm-2")
    assert not world.admission.proposing.withdraw("suspend-firm-2")
    assert world.admission.proposing.named("suspend-firm-2").proposed.placed


def test_the_last_member_is_not_proposed_to_be_suspended(tmp_path: Path) -> None:
    world = JoinWorld(tmp_path, ("firm-1", "firm-2"))
    try:
        everyone = world.found()
        world.admission.proposing.suspend("firm-2", "left")
        for member in ("firm-1", "firm-2"):
            world.approve(everyone[member], "suspend-firm-2")
        with pytest.raises(CannotAdmit, match="the last active member cannot be suspended"):
            world.admission.proposing.suspend("firm-1", "left")
    finally:
        world.close()


def test_members_do_not_wait_for_what_is_to_be_placed(
    world: JoinWorld, everyone: dict[str, Organisation], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise Unreachable("the ledger does not answer")

    one = everyone["firm-1"]
    monkeypatch.setattr(world.admission.proposing, "place", away)
    assert world.desk.standing(one.sign("Standing", {})).phase == "enrolled"
    assert world.desk.renew(one.sign("Renew", {"csr": request_certificate(one.home, "firm-1")}))
    said: list[str] = []
    tending = Tending(world.home, world.admission, said.append, world.clock)
    (world.home / "revoked.json").unlink()
    tending.once()
    tending.once()
    assert said == ["the ledger does not answer; trying again"]
    assert (world.home / "revoked.json").exists()
