"""Another `consortium.toml` is proposed at the desk, read and approved by members, and is in every home when agreed."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from click.testing import CliRunner
from join_world import CID, SPEC, JoinWorld, Organisation

from artesian import app
from clients import taking_policy, voting_commands
from clients.connection import CONNECTION
from clients.enrolment.consortium import ConsortiumApp, policy_hash, policy_of_home
from clients.enrolment.desk_client import DeskClient
from clients.enrolment.errors import BadConsortium, NotAdmitted
from clients.joining import ask
from clients.policy_watch import LOOK_S, RETRY_S, PolicyWatch
from clients.proposed_policy import changes
from clients.taking_policy import NotOnLedger, SpecChanged, fetch_policy
from ledger.proposal import Proposal
from ledger.rules import State
from ledger.rules.state import Task
from ledger.store import Store
from server.enrolment.proposing import CannotAdmit, ProposalFacts
from server.enrolment.running import Tending
from server.enrolment.service import serving
from server.enrolment.staged_policies import FOLDER, KEEP_S

APP = ConsortiumApp(sha256="a" * 64, version="1.2.3")


class Agreeing:
    """A founded consortium whose desk answers, and firms whose mirror is what the coordinator's ledger says."""

    def __init__(self, world: JoinWorld, address: str) -> None:
        self.world, self.address = world, address
        for member, invite in world.invites.items():
            here = replace(invite, desk=address)
            with DeskClient(address, invite.authority_pem, now=world.clock) as desk:
                ask(world.root / member, here, desk.terms(here), desk, {}, {})
            world.admission.admit(member)
        assert world.admission.found() is not None
        world.admission.settle()
        self.members = {member: world.organisation(member) for member in world.invites}

    @property
    def firm(self) -> Organisation:
        return self.members["firm-1"]

    @property
    def home(self) -> Path:
        """Of a firm."""
        return self.world.root / "firm-1"

    @property
    def state(self) -> State:
        found = self.world.admission.ledger.state()
        assert found is not None
        return found

    def edited(self, *, spec: bytes = b"", least: int = 3) -> Path:
        """A copy of the policy that names an app bundle."""
        before, folder = policy_of_home(self.world.home), self.world.root / "new"
        assert before is not None
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        task = before.task
        if spec:
            path = folder / task[0].file
            path.write_bytes(spec)
            task = (task[0].model_copy(update={"spec_sha256": taking_policy.load_spec(path).hash.hex()}),)
        changed = before.model_copy(update={"app": (APP,), "min_cohort": least, "task": task})
        (folder / "consortium.toml").write_bytes(changed.text().encode())
        return folder / "consortium.toml"

    def propose(self, file: Path) -> ProposalFacts:
        return self.world.admission.propose_policy(file)

    def agree(self, name: str) -> None:
        for one in self.members.values():
            self.world.approve(one, name)

    def shown(self, proposal: Proposal) -> str:
        """What a firm reads."""
        one = self.firm
        with DeskClient(self.address, one.invite.authority_pem, now=self.world.clock) as desk:
            return "\n".join(changes(self.home, proposal, desk, CID, "firm-1", one.key))


@pytest.fixture
def agreeing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agreeing]:
    with ExitStack() as stack:
        world = JoinWorld(tmp_path, start_s=float(int(time.time())))  # commands have the clock of this machine
        stack.callback(world.close)
        made = Agreeing(world, stack.enter_context(serving(world.home, now=world.clock)))
        monkeypatch.setattr(taking_policy, "mirror_standing", lambda home: world.admission.ledger.standing())
        yield made


def test_a_proposed_policy_is_read_approved_and_then_in_every_home(agreeing: Agreeing) -> None:
    file = agreeing.edited(least=4)
    before, raw = (agreeing.world.home / "consortium.toml").read_bytes(), file.read_bytes()
    made = agreeing.propose(file)
    assert made.proposed.name == f"policy-{policy_hash(raw).hex()[:8]}"
    read = agreeing.shown(made.proposal)
    assert "-min_cohort = 3" in read
    assert "+min_cohort = 4" in read
    assert f'+sha256 = "{APP.sha256}"' in read
    assert (agreeing.world.home / "consortium.toml").read_bytes() == before
    assert fetch_policy(agreeing.home, agreeing.world.clock, replace_specs=False) is None

    agreeing.agree(made.proposed.name)
    assert agreeing.state.terms.min_cohort == 4
    assert (agreeing.world.home / "consortium.toml").read_bytes() == raw
    assert list((agreeing.world.home / FOLDER).iterdir()) == []
    taken = fetch_policy(agreeing.home, agreeing.world.clock, replace_specs=False)
    assert taken is not None
    assert taken[0].app == (APP,)
    assert (agreeing.home / "consortium.toml").read_bytes() == raw
    assert fetch_policy(agreeing.home, agreeing.world.clock, replace_specs=False) is None


def test_what_is_computed_changes_at_a_firm_only_by_its_operators_word(agreeing: Agreeing) -> None:
    spec = SPEC.read_bytes() + b"# reviewed\n"
    same = agreeing.propose(agreeing.edited(spec=spec))
    agreeing.agree(same.proposed.name)
    assert fetch_policy(agreeing.home, agreeing.world.clock, replace_specs=False) is not None  # spelled otherwise only

    described = b"Whether a loan goes bad, from the application"
    assert described in spec
    other = spec.replace(described, described + b" and more", 1)
    changed = agreeing.propose(agreeing.edited(spec=other, least=4))
    assert "and more" in agreeing.shown(changed.proposal)
    agreeing.agree(changed.proposed.name)
    kept = (agreeing.home / "consortium.toml").read_bytes()
    with pytest.raises(SpecChanged, match=r"what is computed for credit.*artesian firm take-policy"):
        fetch_policy(agreeing.home, agreeing.world.clock, replace_specs=False)
    assert (agreeing.home / "consortium.toml").read_bytes() == kept
    taken = fetch_policy(agreeing.home, agreeing.world.clock, replace_specs=True)
    assert taken is not None
    assert taken[1] == ["credit"]
    assert taking_policy.load_spec(agreeing.home / "tasks" / "credit.toml").description.endswith("and more.")


def test_what_cannot_be_proposed(agreeing: Agreeing) -> None:
    present = agreeing.world.home / "consortium.toml"
    with pytest.raises(CannotAdmit, match="is the policy that the ledger names already"):
        agreeing.propose(present)
    with pytest.raises(BadConsortium, match=r"cannot be read"):
        agreeing.propose(agreeing.world.root / "nowhere.toml")
    file = agreeing.edited()
    file.write_text(file.read_text().replace(f'cid = "{CID}"', 'cid = "others"'))
    with pytest.raises(BadConsortium, match="is of the consortium 'others'"):
        agreeing.propose(file)
    file = agreeing.edited()
    file.write_text(file.read_text() + '\n[[task]]\nname = "demand"\nspec_sha256 = "' + "b" * 64 + '"\n')
    with pytest.raises(BadConsortium, match="'demand' is missing"):
        agreeing.propose(file)
    assert not (agreeing.world.home / FOLDER).exists()


def test_before_the_founding_nothing_is_proposed(tmp_path: Path) -> None:
    world = JoinWorld(tmp_path)
    try:
        copy = tmp_path / "copy.toml"
        copy.write_text((world.home / "consortium.toml").read_text().replace("min_cohort = 3", "min_cohort = 4"))
        with pytest.raises(CannotAdmit, match="the ledger is not founded"):
            world.admission.propose_policy(copy)
    finally:
        world.close()


def test_a_desk_that_shows_another_policy_than_the_record_names_gets_no_approval(agreeing: Agreeing) -> None:
    made = agreeing.propose(agreeing.edited())
    (staged,) = (agreeing.world.home / FOLDER).iterdir()
    document = cbor2.loads(staged.read_bytes())
    staged.write_bytes(cbor2.dumps({**document, "policy": document["policy"] + b"# one more line\n"}))
    with pytest.raises(BadConsortium, match="not the one that the record names; do not approve it"):
        agreeing.shown(made.proposal)


def test_a_record_that_says_other_terms_than_its_file_gets_no_approval(agreeing: Agreeing) -> None:
    made = agreeing.propose(agreeing.edited())
    lower = Proposal.of({**made.proposal.payload, "min_cohort": 1})
    with pytest.raises(BadConsortium, match="says min_cohort = 3, the record 1; do not approve it"):
        agreeing.shown(lower)


def test_what_is_withdrawn_is_shown_to_nobody_and_proposed_again_if_asked(agreeing: Agreeing) -> None:
    file = agreeing.edited()
    made = agreeing.propose(file)
    assert agreeing.world.admission.proposing.withdraw(made.proposed.name)
    with pytest.raises(NotAdmitted, match="no policy of this hash"):
        agreeing.shown(made.proposal)
    assert not agreeing.world.admission.proposing.withdraw(made.proposed.name)
    agreeing.agree(agreeing.propose(file).proposed.name)
    assert (agreeing.world.home / "consortium.toml").read_bytes() == file.read_bytes()


def test_a_change_of_members_asks_for_the_policy_anew_and_one_that_is_so_is_done(agreeing: Agreeing) -> None:
    first, second = agreeing.propose(agreeing.edited()), agreeing.propose(agreeing.edited(least=4))
    agreeing.agree(first.proposed.name)
    agreeing.world.admission.settle()
    again = agreeing.world.admission.proposing.named(second.proposed.name)
    assert again.proposal.payload["parent"] == agreeing.state.membership_digest
    assert (again.approved, again.proposed.placed) == ([], False)
    agreeing.agree(second.proposed.name)
    assert agreeing.state.terms.min_cohort == 4
    assert agreeing.world.admission.proposing.named(second.proposed.name).proposed.placed


def test_who_is_no_active_member_is_shown_no_policy(agreeing: Agreeing) -> None:
    made = agreeing.propose(agreeing.edited())
    agreeing.world.admission.proposing.suspend("firm-1", "left")
    for member in ("firm-2", "firm-3", "bank-1"):
        agreeing.world.approve(agreeing.members[member], "suspend-firm-1")
    for sha256 in (b"", made.proposal.payload["config"]):
        with pytest.raises(NotAdmitted, match="no active member"):
            agreeing.world.desk.policy(agreeing.firm.sign("Policy", {"sha256": sha256}))


def test_the_watch_looks_when_the_mirror_has_grown_and_says_a_trouble_once(agreeing: Agreeing) -> None:
    said, at = list[str](), [0.0]
    watch = PolicyWatch(agreeing.home, agreeing.world.clock, said.append, lambda: at[0])
    Store(agreeing.home / "mirror.db").close()
    watch.look()
    made = agreeing.propose(agreeing.edited())
    agreeing.agree(made.proposed.name)
    at[0] += LOOK_S
    watch.look()
    assert said == []  # the mirror has not grown, and nobody was asked
    grown = PolicyWatch(agreeing.home, agreeing.world.clock, said.append, lambda: at[0])
    grown._size = -1
    installed = (agreeing.world.home / "consortium.toml").read_bytes()
    (agreeing.world.home / "consortium.toml").write_bytes(installed + b"# edited by hand\n")
    for _ in range(3):
        grown.look()
        at[0] += RETRY_S
    assert len(said) == 1
    assert "the policy in the coordinator's home is not the one on the ledger" in said[0]
    (agreeing.world.home / "consortium.toml").write_bytes(installed)
    grown.look()
    assert said[1:] == [f"{agreeing.home} has taken the policy on which the members have agreed"]


def test_the_commands(agreeing: Agreeing, monkeypatch: pytest.MonkeyPatch) -> None:
    def artesian(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, (done.stdout, done.stderr)
        return done.stdout + done.stderr

    home, file = agreeing.world.home, agreeing.edited()
    told = json.loads(artesian("coordinator", "propose-policy", file, "--home", home, "--json"))
    assert told["needed"] == 3
    assert "The policy names none" in artesian("coordinator", "apps", "--home", home)
    assert f'+sha256 = "{APP.sha256}"' in artesian("firm", "proposals", "--home", agreeing.home)
    for member in ("firm-1", "firm-2"):
        shown = artesian("firm", "approve", told["name"], "--yes", "--home", agreeing.world.root / member)
        assert f'+sha256 = "{APP.sha256}"' in shown
    assert "on the ledger" in artesian(
        "bank", "approve", told["name"], "--yes", "--home", agreeing.world.root / "bank-1"
    )
    apps = artesian("coordinator", "apps", "--home", home)
    assert f"policy     {APP.sha256}  artesian 1.2.3" in apps
    assert "The policy does not name it, so firms refuse its runs" in apps
    assert (agreeing.home / CONNECTION).exists()
    taken = artesian("firm", "take-policy", "--home", agreeing.home)
    assert f"Runs may be of app bundle {APP.sha256[:16]} and of no other." in taken
    assert "has the policy already" in artesian("firm", "take-policy", "--home", agreeing.home)
    firm = artesian("firm", "apps", "--home", agreeing.home)
    assert f"to take part in runs of it: artesian firm approve-app {APP.sha256}" in firm
    assert "not in the policy, so runs of it are refused" in firm


def test_a_cohort_that_the_firms_cannot_make_is_told_when_it_is_proposed(agreeing: Agreeing) -> None:
    words = ["coordinator", "propose-policy", "--home", str(agreeing.world.home)]
    made = CliRunner().invoke(app, [*words, str(agreeing.edited(least=4))])
    firms = len(agreeing.state.active("firm"))
    assert made.exit_code == 0
    assert f"min_cohort = 4 and the ledger has {firms} firms" in made.stderr
    assert f"until {4 - firms} more have joined" in made.stderr
    assert "Note" not in CliRunner().invoke(app, [*words, str(agreeing.edited(least=3))]).stderr


def test_nothing_is_signed_unread_and_the_other_proposals_are_shown(
    agreeing: Agreeing, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = agreeing.propose(agreeing.edited())
    (staged,) = (agreeing.world.home / FOLDER).iterdir()
    staged.unlink()
    agreeing.world.admission.proposing.suspend("firm-3", "left")
    monkeypatch.setattr(voting_commands, "confirm", lambda *_, **__: pytest.fail("it was asked for a yes"))
    words = ["firm", "approve", made.proposed.name, "--yes", "--home", str(agreeing.home)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "no policy of this hash is proposed here" in done.stderr
    listed = CliRunner().invoke(app, ["firm", "proposals", "--home", str(agreeing.home)])
    assert (listed.exit_code, "suspend-firm-3: 0 of 3" in listed.stdout) == (0, True)
    assert "what it changes cannot be shown: the join desk" in listed.stdout


def test_a_line_is_cut_where_toml_cuts_it_and_nowhere_else(agreeing: Agreeing) -> None:
    file = agreeing.edited()
    with file.open("a", encoding="utf-8", newline="") as out:
        out.write('# as it is:\u2028[[task]]\u0085name = "credit"\x1b[2J\r\n')
    with pytest.raises(BadConsortium, match="not valid TOML"):
        agreeing.propose(file)  # no such letter is allowed even in a comment
    file = agreeing.edited()
    with file.open("a", encoding="utf-8", newline="") as out:
        out.write('# as it is:\u2028[[task]]\u0085name = "credit"\r\n')
    read = agreeing.shown(agreeing.propose(file).proposal).split("\n")
    (line,) = [one for one in read if "as it is:" in one]
    assert line.startswith("+# as it is:")
    assert 'name = "credit"' in line
    assert not any(one.startswith('+name = "credit"') for one in read)


def test_the_same_again_keeps_the_approvals(agreeing: Agreeing) -> None:
    file = agreeing.edited()
    made = agreeing.propose(file)
    agreeing.world.approve(agreeing.firm, made.proposed.name)
    assert agreeing.propose(file).approved == ["firm-1"]


def test_a_trained_tasks_other_spec_takes_another_name(agreeing: Agreeing, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPEC.read_bytes().replace(b"Whether a loan goes bad", b"Whether a loan goes well", 1)
    tasks = agreeing.state.tasks.set("credit", Task("credit", bytes(32)))
    trained = dataclasses.replace(agreeing.state, tasks=tasks)
    monkeypatch.setattr(agreeing.world.admission.ledger, "state", lambda: trained)
    with pytest.raises(CannotAdmit, match="give the changed spec another name"):
        agreeing.propose(agreeing.edited(spec=spec))


def test_what_is_proposed_no_more_is_removed_later_and_what_the_ledger_names_never_too_soon(agreeing: Agreeing) -> None:
    first = agreeing.propose(agreeing.edited())
    kept = agreeing.propose(agreeing.edited(least=4))
    agreeing.world.admission.proposing.withdraw(first.proposed.name)
    agreeing.world.admission.take_policy()
    assert len(list((agreeing.world.home / FOLDER).iterdir())) == 2
    agreeing.world.clock.now_s = time.time() + KEEP_S + 60
    agreeing.world.admission.take_policy()
    (left,) = (agreeing.world.home / FOLDER).iterdir()
    assert left.name == f"{kept.proposal.payload['config'].hex()}.cbor"


def test_what_was_cut_short_is_done_by_the_next_look(agreeing: Agreeing, monkeypatch: pytest.MonkeyPatch) -> None:
    file = agreeing.edited()
    made, before = agreeing.propose(file), (agreeing.world.home / "consortium.toml").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(taking_policy, "write_whole", full)
        agreeing.agree(made.proposed.name)  # the approval counts, whatever becomes of the file
    assert agreeing.state.terms.config == policy_hash(file.read_bytes())
    assert (agreeing.world.home / "consortium.toml").read_bytes() == before
    agreeing.world.admission.take_policy()
    assert (agreeing.world.home / "consortium.toml").read_bytes() == file.read_bytes()


def test_a_trouble_with_files_ends_neither_the_watch_nor_the_desk(
    agreeing: Agreeing, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreeing.agree(agreeing.propose(agreeing.edited()).proposed.name)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    said = list[str]()
    monkeypatch.setattr(taking_policy, "write_whole", full)
    watch = PolicyWatch(agreeing.home, agreeing.world.clock, said.append)
    watch._size = -1
    watch.look()
    assert "No space left" in said[0]
    (agreeing.world.home / FOLDER).rmdir()
    (agreeing.world.home / FOLDER).write_text("no folder")
    tending = Tending(agreeing.world.home, agreeing.world.admission, said.append, agreeing.world.clock)
    tending.once()
    tending.once()
    assert len([line for line in said if FOLDER in line]) == 1


def test_an_operator_reads_what_is_computed_then_takes_it(agreeing: Agreeing) -> None:
    spec = SPEC.read_bytes().replace(b"Whether a loan goes bad", b"Whether a loan goes well", 1)
    agreeing.agree(agreeing.propose(agreeing.edited(spec=spec)).proposed.name)
    words = ["firm", "take-policy", "--home", str(agreeing.home)]
    unread = CliRunner().invoke(app, words)
    assert (unread.exit_code, '+description = "Whether a loan goes well' in unread.stderr) == (2, True)
    assert policy_of_home(agreeing.home) != policy_of_home(agreeing.world.home)
    taken = CliRunner().invoke(app, [*words, "--yes"])
    assert (taken.exit_code, "Specs taken: credit" in taken.stdout) == (0, True), taken.stderr


def test_without_a_copy_of_the_ledger_nothing_is_claimed(agreeing: Agreeing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_policy, "mirror_standing", lambda _: None)
    done = CliRunner().invoke(app, ["bank", "take-policy", "--home", str(agreeing.world.root / "bank-1")])
    assert (done.exit_code, "no copy of the ledger yet" in done.stderr) == (1, True)


def test_the_coordinator_takes_what_came_another_way(agreeing: Agreeing) -> None:
    file, home = agreeing.edited(), agreeing.world.home
    words = ["coordinator", "take-policy", str(file), "--home", str(home)]
    early = CliRunner().invoke(app, words)
    assert (early.exit_code, "a quorum has not approved it yet" in early.stderr) == (1, True)
    made = agreeing.propose(file)
    (staged,) = (home / FOLDER).iterdir()
    staged.unlink()
    agreeing.agree(made.proposed.name)
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, (home / "consortium.toml").read_bytes()) == (0, file.read_bytes()), done.stderr


def test_a_policy_that_is_for_another_ledger_is_not_taken_from_the_desk(
    agreeing: Agreeing, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = agreeing.edited()
    agreeing.agree(agreeing.propose(file).proposed.name)
    given = file.read_bytes() + b"# and a line\n"
    monkeypatch.setattr(DeskClient, "policy", lambda *_: (given, {}))
    with pytest.raises(NotOnLedger, match=r"the ledger as .* has it names"):
        fetch_policy(agreeing.home, agreeing.world.clock, replace_specs=True)
