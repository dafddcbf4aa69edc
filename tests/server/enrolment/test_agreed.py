"""A `consortium.toml` that was edited: told before anybody is hurt, proposed, and taken by the members."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from join_world import CID, JoinWorld, join_world

from artesian import app
from clients.enrolment.consortium import policy_hash
from clients.enrolment.errors import BadConsortium, NotAdmitted
from clients.taking_policy import NotOnLedger, take_policy
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.proposal import Proposal
from ledger.rules import COORDINATOR, State
from server.enrolment.agreed import NotAgreed


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JoinWorld]:
    with join_world(tmp_path) as made:
        yield made


def edit(world: JoinWorld) -> bytes:
    """The coordinator's operator changes a line; returns the file as it was."""
    path = world.home / "consortium.toml"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"min_cohort = 3", b"min_cohort = 4"))
    return before


def state_of(world: JoinWorld) -> State:
    found = world.admission.ledger.state()
    assert found is not None
    return found


def agree(world: JoinWorld, keys: dict[str, SigningKey], config: bytes) -> None:
    """A quorum changes the terms, as `artesian ledger members propose policy` has it do."""
    state = state_of(world)
    assert state.coordinator is not None
    terms = {"coordinator": state.coordinator.raw, "min_cohort": 4, "config": config, "signatures": "ed25519"}
    none = dict.fromkeys(("founders", "log", "next_log"))
    parent, at = state.membership_digest, int(world.clock())
    payload = record("policy", cid=CID, record_id=os.urandom(16), ts=at, parent=parent, **terms, **none, approvals=[])
    proposal = Proposal.of(payload)
    for member, key in keys.items():
        proposal = proposal.approved(member, key)
    signer = SigningKey.load(world.home / "signing.pem")
    world.admission.ledger.append(proposal.statement(state, issuer=COORDINATOR, key=signer))


def test_an_edited_policy_lets_nobody_join_until_the_members_agree_and_then_they_take_it(world: JoinWorld) -> None:
    members = world.found()
    late = world.invite("firm-9")
    before = edit(world)
    with pytest.raises(NotAgreed, match=r"put the file back .* artesian coordinator propose-policy COPY"):
        world.invite("firm-8")
    with pytest.raises(NotAdmitted, match="not the one on the ledger"):
        world.desk.terms(late.token_sha256)
    with pytest.raises(NotAdmitted, match="not the one on the ledger"):
        world.ask("firm-9")
    edited = (world.home / "consortium.toml").read_bytes()
    (world.home / "consortium.toml").write_bytes(before)
    assert world.desk.terms(late.token_sha256)[0] == before

    home, sent = world.root / "firm-1", world.root / "sent"
    (home / "consortium.toml").write_bytes(before)
    (sent / "tasks").mkdir(parents=True)
    (sent / "consortium.toml").write_bytes(edited)
    with pytest.raises(NotOnLedger, match="a quorum has not approved it yet"):
        take_policy(home, sent / "consortium.toml", state_of(world), replace_specs=True)
    with pytest.raises(NotOnLedger, match="no policy"):
        take_policy(home, sent / "consortium.toml", None, replace_specs=True)
    agree(world, {name: one.key for name, one in members.items()}, policy_hash(edited))
    with pytest.raises(NotAdmitted, match="not the one on the ledger"):
        world.desk.terms(late.token_sha256)  # the operator has the old file still
    (world.home / "consortium.toml").write_bytes(edited)
    assert world.desk.terms(world.invite("firm-8").token_sha256)[0] == edited
    with pytest.raises(BadConsortium, match="is missing"):
        take_policy(home, sent / "consortium.toml", state_of(world), replace_specs=True)
    assert (home / "consortium.toml").read_bytes() == before
    (task,) = (world.home / "tasks").iterdir()
    (sent / "tasks" / task.name).write_bytes(task.read_bytes())
    policy, fresh = take_policy(home, sent / "consortium.toml", state_of(world), replace_specs=True)
    assert (policy.min_cohort, fresh) == (4, [task.stem])
    assert (home / "consortium.toml").read_bytes() == edited
    assert take_policy(home, sent / "consortium.toml", state_of(world), replace_specs=True)[1] == []


def test_no_ledger_is_founded_under_another_policy_than_the_founders_were_invited_to(world: JoinWorld) -> None:
    for member in world.invites:
        world.ask(member)
        world.admission.admit(member)
    before = edit(world)
    with pytest.raises(NotAgreed, match=r"was changed after [\w-]+ was invited"):
        world.admission.found()
    assert not world.admission.ledger.founded
    (world.home / "consortium.toml").write_bytes(before)
    assert world.admission.found() is not None


def test_a_member_without_a_mirror_takes_no_policy(world: JoinWorld) -> None:
    member = world.root / "firm-1"
    member.mkdir(exist_ok=True)
    given = ["take-policy", str(world.home / "consortium.toml"), "--home", str(member), "--json"]
    for role in ("firm", "bank"):
        done = CliRunner().invoke(app, [role, *given])
        assert done.exit_code == 1
        assert "no policy" in json.loads(done.stdout)["problem"]
        unjoined = CliRunner().invoke(app, [role, "take-policy", "--home", str(member)])
        assert (unjoined.exit_code, "connection.toml: cannot be read" in unjoined.stderr) == (2, True)
