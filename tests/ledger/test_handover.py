"""Handover: members go on without the sequencer, and never two histories are final."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from consortium_simulator import CID, START_S, Consortium, key_of
from crashing import Crash, crash_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.checkpoint import CheckpointError, NotFinal, SignedCheckpoint
from ledger.continuation import continue_log
from ledger.errors import StoreError
from ledger.export import Exported, export
from ledger.handover import bring_up, propose, successor
from ledger.log import Log
from ledger.mirror import Mirror
from ledger.proposal import Proposal, ProposalError, TooFewApprovals
from ledger.receipt import verify_receipt
from ledger.rules import COORDINATOR, LOG, Refused, commitment
from ledger.source import Misbehaviour, WitnessRefusal
from ledger.store import Store
from ledger.witness import Witness

NEW, LATER = key_of("new home"), key_of("newer home")


class World:
    """A consortium of 5 (a quorum is 4) whose sequencer is lost after some entries that only some have seen."""

    def __init__(self, folder: Path, seen_by: dict[str, int] | None = None) -> None:
        self.made = Consortium()
        self.folder = folder
        self.attest(2)
        self.made.cosign()
        self.old_policy = self.made.log.policy
        self.receipt = self.made.log.receipt(6)
        self.statement = self.made.log.entries(6, 7)[0]
        for name, steps in (seen_by or {}).items():
            while self.made.log.size < self.made.witness(name).size + steps:
                self.attest(1)
            self.made.witness(name).follow(self.made.log)

    def attest(self, count: int, log: Log | None = None) -> None:
        for _ in range(count):
            raw = self.made.statement("attest", "firm-0", subject="s", artifact=self.made.hash())
            (log or self.made.log).append([raw])

    @property
    def witnesses(self) -> list[Witness]:
        return [self.made.witness(name) for name in self.made.members]

    def bring_up(self, names: list[str] | None = None) -> None:
        """Twice: the first time everybody comes to the longest, then everybody learns the others' cosignatures."""
        chosen = [self.made.witness(name) for name in names or self.made.members]
        for _ in range(2):
            for witness in chosen:
                bring_up(witness, [other.mirror for other in chosen if other is not witness])

    def proposal(self, key: Any = NEW) -> Proposal:
        mirror = self.made.witness("firm-1").mirror
        return propose(mirror, key.public, following=LATER.public, ts=START_S, entropy=self.made.entropy)

    def approved(self, proposal: Proposal, names: list[str] | None = None) -> Proposal:
        for name in names or self.made.members[:4]:
            proposal = self.made.witness(name).approve(proposal)
        return proposal

    def statement_of(self, proposal: Proposal) -> bytes:
        return proposal.statement(self.made.witness("firm-1").state, issuer="firm-1", key=self.made.keys["firm-1"])

    def start(self, proposal: Proposal, key: Any = NEW, name: str = "new.db", source: str = "firm-1") -> Log:
        raw, copy = self.statement_of(proposal), self.made.witness(source).mirror
        place = self.folder / name
        return continue_log(place, copy, key, raw, founded=self.made.log.vkey, cid=CID, clock=self.made.clock)

    def finalise(self, log: Log, names: list[str]) -> bool:
        return log.add_cosignatures([self.made.witness(name).follow(log) for name in names])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"firm-1": 1, "firm-2": 3})


# the way


def test_members_go_on_without_the_sequencer(world: World) -> None:
    sizes = {witness.size for witness in world.witnesses}
    assert len(sizes) == 3
    world.bring_up()
    assert {(witness.size, witness.mirror.final_size) for witness in world.witnesses} == {(max(sizes), max(sizes))}
    with world.start(world.approved(world.proposal())) as log:
        assert (log.size, log.final_size) == (max(sizes) + 1, max(sizes))
        assert log.vkey.key == NEW.public
        world.attest(2, log)
        assert world.finalise(log, world.made.members)
        receipt = log.receipt(log.size - 1)
        assert verify_receipt(receipt, log.entries(log.size - 1, log.size)[0], log.policy).index == log.size - 1
        assert verify_receipt(log.receipt(6), world.statement, log.policy).index == 6
    assert verify_receipt(world.receipt, world.statement, world.old_policy).index == 6
    again = Log.open(world.folder / "new.db", NEW, world.made.clock)
    assert again.final_size == again.size == max(sizes) + 3
    again.close()


def test_what_was_cosigned_in_time_is_not_cosigned_again_later(world: World) -> None:
    """Else members who were cut off from an honest log would accuse it of what came too late for them."""
    world.bring_up()
    before = {witness.name: witness.mirror.checkpoint() for witness in world.witnesses}
    world.made.clock.now_s += 3600
    for witness in world.witnesses:
        line = bring_up(witness, [other.mirror for other in world.witnesses if other is not witness])
        assert line in before[witness.name]
        assert witness.mirror.checkpoint() == before[witness.name]


def test_exported_directories_are_enough(world: World, tmp_path: Path) -> None:
    """The members send each other folders; nobody serves anything."""
    made = world.made
    paths = {name: tmp_path / f"{name}.db" for name in made.members}
    copies = {name: tmp_path / f"copy of {name}" for name in made.members}
    witnesses = {
        name: Witness(paths[name], made.keys[name], name, made.log.vkey, CID, made.clock) for name in made.members
    }
    for number, witness in enumerate(witnesses.values()):
        world.attest(1)
        if number != 2:
            witness.follow(made.log)
    made.log.close()
    for _ in range(3):
        for name, witness in witnesses.items():
            if witness.size:
                export(Store(paths[name], read_only=True), copies[name])
        for name, witness in witnesses.items():
            bring_up(witness, [Exported(copy) for other, copy in copies.items() if other != name and copy.exists()])
    assert {(one.size, one.mirror.final_size) for one in witnesses.values()} == {(made.log.size, made.log.size)}


def test_an_approval_is_a_promise_that_outlives_the_process(world: World, tmp_path: Path) -> None:
    made, path = world.made, tmp_path / "own.db"
    with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as witness:
        made.cosign()
        witness.follow(made.log)
        witness.mirror.add_cosignatures(made.witness(name).follow(made.log) for name in made.members[1:])
        proposal = propose(witness.mirror, NEW.public, ts=START_S, entropy=made.entropy)
        witness.approve(proposal)
    world.attest(1)
    with (
        Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as again,
        pytest.raises(WitnessRefusal, match="approved a handover"),
    ):
        again.follow(made.log)


def test_a_promise_of_another_process_is_known_after_waking(world: World, tmp_path: Path) -> None:
    made, path, both = world.made, tmp_path / "own.db", list[Witness]()
    made.cosign()
    lines = [made.witness(name).follow(made.log) for name in made.members[1:]]
    for _ in range(2):
        witness = Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock)
        witness.follow(made.log)
        witness.mirror.add_cosignatures(lines)
        witness.rest()
        both.append(witness)
    both[0].wake()
    both[0].approve(propose(both[0].mirror, NEW.public, ts=START_S, entropy=made.entropy))
    both[0].rest()
    world.attest(1)
    both[1].wake()
    with pytest.raises(WitnessRefusal, match="approved a handover"):
        both[1].follow(made.log)


def test_a_mirror_that_cannot_be_read_when_it_rests_or_wakes_is_let_go_of(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is forgotten: what another process promises in between is known at the next waking."""
    made, path, both = world.made, tmp_path / "own.db", list[Witness]()
    made.cosign()
    lines = [made.witness(name).follow(made.log) for name in made.members[1:]]
    for _ in range(2):
        witness = Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock)
        witness.follow(made.log)
        witness.mirror.add_cosignatures(lines)
        both.append(witness)
        if len(both) == 1:
            witness.rest()

    def unreadable(_: object) -> NoReturn:
        raise StoreError("no")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "standing", unreadable)
        both[1].rest()
        with pytest.raises(StoreError, match=r"^no$"):
            both[0].wake()
        with pytest.raises(StoreError, match=r"^no$"):
            both[0].wake()
    both[0].wake()
    both[0].approve(propose(both[0].mirror, NEW.public, ts=START_S, entropy=made.entropy))
    both[0].rest()
    both[1].wake()
    assert both[1].promise == both[0].promise is not None


def test_a_crash_between_promise_and_approval_leaves_the_promise(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bring_up()
    witness = world.made.witness("firm-0")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    proposal = world.proposal()
    monkeypatch.setattr(Proposal, "approved", crash)
    with pytest.raises(KeyboardInterrupt):
        witness.approve(proposal)
    assert witness.promise is not None
    world.attest(1)
    with pytest.raises(WitnessRefusal, match="approved a handover"):
        witness.follow(world.made.log)
    monkeypatch.undo()
    witness.approve(proposal)
    assert len([fact for fact in witness.mirror.facts if fact.startswith("handover-")]) == 1


# what a member approves


def test_only_what_is_final_is_a_base(world: World) -> None:
    with pytest.raises(WitnessRefusal, match="of them are final"):
        world.proposal()
    world.bring_up(["firm-0", "firm-1", "firm-2"])  # three of five are no quorum
    with pytest.raises(WitnessRefusal, match="of them are final"):
        world.proposal()


def test_a_member_with_a_longer_tail_does_not_approve_a_shorter_base(world: World) -> None:
    world.bring_up()
    proposal = world.proposal()
    world.attest(1)
    world.made.witness("firm-0").follow(world.made.log)
    with pytest.raises(WitnessRefusal, match="bring everybody to the longest"):
        world.made.witness("firm-0").approve(proposal)


def test_a_member_that_lacks_the_base_does_not_approve(world: World) -> None:
    world.bring_up(["firm-0", "firm-1", "firm-2", "bank-0"])
    with pytest.raises(WitnessRefusal, match="bring everybody to the longest"):
        world.made.witness("firm-3").approve(world.proposal())


def test_a_base_of_the_right_size_and_another_root_is_refused(world: World) -> None:
    world.bring_up()
    proposal = Proposal.of({**world.proposal().payload, "root": bytes(32)})
    with pytest.raises(WitnessRefusal, match="bring everybody to the longest"):
        world.made.witness("firm-0").approve(proposal)


def test_other_proposals_are_not_for_this(world: World) -> None:
    world.bring_up()
    with pytest.raises(ProposalError):
        world.made.witness("firm-0").approve(Proposal.of({**world.proposal().payload, "cid": "other"}))
    suspend = world.made.payload("suspend", member="firm-3", reason="gone", approvals=[])
    with pytest.raises(ProposalError):
        world.made.witness("firm-0").approve(Proposal.of(suspend))


def test_a_key_that_was_used_is_refused(world: World) -> None:
    world.bring_up()
    for used in (COORDINATOR, "firm-0"):
        with pytest.raises(WitnessRefusal, match="has been used"):
            world.proposal(world.made.keys[used])
    first, second = world.proposal(), world.proposal()
    witness = world.made.witness("firm-0")
    witness.approve(first)
    with pytest.raises(WitnessRefusal, match="condemns itself"):
        witness.approve(second)
    witness.approve(first)


def test_too_few_approvals_start_nothing(world: World) -> None:
    world.bring_up()
    proposal = world.approved(world.proposal(), world.made.members[:3])
    with pytest.raises(TooFewApprovals):
        world.start(proposal)
    assert not list(world.folder.glob("new.db*"))


# what a witness cosigns


def test_the_old_sequencer_finds_no_quorum_after_the_approvals(world: World) -> None:
    world.bring_up()
    world.approved(world.proposal())
    world.attest(1)
    lines = []
    for witness in world.witnesses:
        try:
            lines.append(witness.follow(world.made.log))
        except WitnessRefusal:
            continue
    assert len(lines) == 1
    assert not world.made.log.add_cosignatures(lines)


def test_a_later_approval_takes_the_place_of_the_earlier(world: World) -> None:
    world.bring_up()
    first, second = world.proposal(), world.proposal(LATER_HOME)
    world.approved(first)
    second = world.approved(second, world.made.members)
    with world.start(first_with_approvals(world, first), name="first.db") as log:
        for name in world.made.members:
            with pytest.raises(WitnessRefusal, match="approved a handover"):
                world.made.witness(name).follow(log)
    with world.start(second, LATER_HOME) as log:
        assert world.finalise(log, world.made.members)


LATER_HOME = key_of("a third home")


def first_with_approvals(world: World, proposal: Proposal) -> Proposal:
    for name in world.made.members[:4]:
        proposal = proposal.approved(name, world.made.keys[name])
    return proposal


def test_what_is_final_overrides_a_promise(world: World) -> None:
    """firm-0 promised another handover than the one that became final."""
    world.bring_up()
    others = ["firm-1", "firm-2", "firm-3", "bank-0"]
    world.made.witness("firm-0").approve(world.proposal(LATER_HOME))
    with world.start(world.approved(world.proposal(), others)) as log:
        witness = world.made.witness("firm-0")
        with pytest.raises(WitnessRefusal, match="approved a handover"):
            witness.follow(log)
        assert world.finalise(log, others)
        witness.follow(log)
        assert (witness.size, witness.mirror.final_size) == (log.size, log.size)


def test_a_tail_is_set_aside_only_when_the_new_history_is_final(world: World) -> None:
    """firm-0 saw more from the lost log than anybody whom the others could ask."""
    others = ["firm-1", "firm-2", "firm-3", "bank-0"]
    world.bring_up(others)
    world.attest(3)
    lone = world.made.witness("firm-0")
    lone.follow(world.made.log)
    tail = (lone.size, lone.root)
    with world.start(world.approved(world.proposal(), others)) as log:
        world.attest(1, log)
        with pytest.raises(WitnessRefusal, match="when the members have cosigned"):
            lone.follow(log)
        assert (lone.size, lone.root) == tail
        assert world.finalise(log, others)
        lone.follow(log)
        assert (lone.size, lone.root) == (log.size, log.root)
        assert lone.evidence() == []
        world.attest(1, log)
        assert world.finalise(log, ["firm-0", *others[:3]])
    with pytest.raises(WitnessRefusal):
        lone.follow(world.made.log)
    assert (lone.size, lone.evidence()) == (tail[0] - 3 + 3, [])


def test_a_tail_survives_a_restart_and_is_set_aside_in_one_step(world: World, tmp_path: Path) -> None:
    made, path = world.made, tmp_path / "lone.db"
    others = ["firm-1", "firm-2", "firm-3", "bank-0"]
    world.bring_up(others)
    world.attest(3)
    with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as lone:
        lone.follow(made.log)
    with world.start(world.approved(world.proposal(), others)) as log:
        world.finalise(log, others)
        with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as lone:
            lone.follow(log)
        with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as again:
            assert (again.size, again.root) == (log.size, log.root)


def test_a_final_history_is_never_left(world: World) -> None:
    """Should ever two be final, because too many members lie, an honest one does not follow the second."""
    world.bring_up()
    base = world.made.witness("firm-0").size
    proposal = world.approved(world.proposal())
    world.attest(1)
    liars = [
        Witness(None, world.made.keys[name], name, world.made.log.vkey, CID, world.made.clock)
        for name in world.made.members
    ]
    late = Witness(None, world.made.keys["firm-3"], "firm-3", world.made.log.vkey, CID, world.made.clock)
    assert world.made.log.add_cosignatures([liar.follow(world.made.log) for liar in liars])
    late.follow(world.made.log)
    assert late.mirror.final_size == base + 1
    with world.start(proposal) as log:
        assert world.finalise(log, world.made.members[:4])
        with pytest.raises(WitnessRefusal):
            late.follow(log)
    assert late.size == base + 1


# the one that comes back


def test_the_old_sequencer_learns_that_it_was_deposed(world: World) -> None:
    world.bring_up()
    log, vkey = world.made.log, world.made.log.vkey
    copy = world.made.witness("firm-2").mirror
    assert successor(log.state, copy, vkey, world.made.clock) is None
    with world.start(world.approved(world.proposal())) as new:
        for witness in world.witnesses[:3]:
            witness.follow(new)
        assert successor(log.state, copy, vkey, world.made.clock) is None  # three have cosigned: not final yet
        assert world.finalise(new, world.made.members)
        copy.follow(new)
        found = successor(log.state, copy, vkey, world.made.clock)
        assert found is not None
        assert (found.key, found.next) == (NEW.public, commitment(LATER.public))
        # It changes its key again, which is not final yet: deposed the old one is all the same.
        parent, following = new.state.membership_digest, {"key": LATER.public.raw, "next_log": None}
        rotation = world.made.payload("rotate", member=LOG, **following, approvals=[], parent=parent)
        new.append([world.made.sign(rotation)])
        new.use_key(LATER)
        new.checkpoint()
        copy.follow(new)
        found = successor(log.state, copy, vkey, world.made.clock)
        assert found is not None
        assert found.key == NEW.public


def test_a_sequencer_may_come_back_from_a_members_copy(world: World, tmp_path: Path) -> None:
    """No handover: the same key, the longest copy."""
    made = world.made
    made.log.close()
    copy = made.witness("firm-2").mirror
    place = tmp_path / "again.db"
    with pytest.raises(CheckpointError, match="needs a handover"):
        continue_log(place, copy, NEW, founded=made.log.vkey, cid=CID, clock=made.clock)
    with continue_log(place, copy, made.keys[COORDINATOR], founded=made.log.vkey, cid=CID, clock=made.clock) as log:
        assert (log.size, log.root) == (copy.size, copy.root)
        world.attest(1, log)
        assert world.finalise(log, made.members)
    with pytest.raises(StoreError, match="already"):
        continue_log(place, copy, made.keys[COORDINATOR], founded=made.log.vkey, cid=CID, clock=made.clock)


def test_a_continuation_needs_the_very_base(world: World) -> None:
    world.bring_up(["firm-1", "firm-2", "firm-3", "bank-0"])
    proposal = world.approved(world.proposal(), ["firm-1", "firm-2", "firm-3", "bank-0"])
    with pytest.raises((Refused, CheckpointError)):
        world.start(proposal, source="firm-0")  # has an older copy
    with pytest.raises(CheckpointError):
        world.start(proposal, key_of("someone"))
    assert not list(world.folder.glob("*.db*"))


def test_a_copy_that_does_not_show_the_base_final_starts_nothing(world: World) -> None:
    world.bring_up()
    proposal = world.approved(world.proposal())
    bare = Mirror(None, world.made.log.vkey, CID, world.made.clock)
    bare.advance(world.made.log.entries(0, world.made.log.size), world.made.log.checkpoint(), [])
    place, raw = world.folder / "new.db", world.statement_of(proposal)
    with pytest.raises(CheckpointError, match="continues what is final"):
        continue_log(place, bare, NEW, raw, founded=world.made.log.vkey, cid=CID, clock=world.made.clock)
    assert not list(world.folder.glob("*.db*"))


def test_a_stale_process_does_not_set_aside_what_another_has_joined(world: World, tmp_path: Path) -> None:
    made, path = world.made, tmp_path / "lone.db"
    others = ["firm-1", "firm-2", "firm-3", "bank-0"]
    world.bring_up(others)
    world.attest(1)
    both = []
    for _ in range(2):
        witness = Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock)
        witness.follow(made.log)
        witness.rest()
        both.append(witness)
    with world.start(world.approved(world.proposal(), others)) as log:
        world.attest(2, log)
        assert world.finalise(log, others)
        both[0].follow(log)
        with pytest.raises(WitnessRefusal, match="another process"):
            both[1].follow(log)
        both[1].wake()
        both[1].follow(log)
        assert both[1].root == log.root


def test_a_sequencer_that_goes_on_with_two_histories_is_convicted(world: World) -> None:
    world.bring_up()
    with world.start(world.approved(world.proposal())) as log:
        world.finalise(log, world.made.members)
        before = SignedCheckpoint.parse(log.checkpoint()).checkpoint.size
    (world.folder / "copy.db").write_bytes((world.folder / "new.db").read_bytes())
    for name in ("new.db", "copy.db"):
        with Log.open(world.folder / name, NEW, world.made.clock) as log:
            world.attest(1, log)
            if name == "new.db":
                world.made.witness("firm-0").follow(log)
            else:
                with pytest.raises(Misbehaviour, match="fork"):
                    world.made.witness("firm-0").follow(log)
            assert log.size == before + 1
            with pytest.raises(NotFinal):
                log.receipt(before)


# any schedule


STEPS = st.tuples(st.sampled_from(["old", "one", "two", "approve one", "approve two"]), st.sets(st.integers(0, 4)))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=2, max_size=6))
def test_in_no_schedule_are_two_histories_final(tmp_path: Path, schedule: list[tuple[str, set[int]]]) -> None:
    """The old sequencer lives on, two new ones start, and one member cosigns everything that it is shown."""
    folder = tmp_path / str(time.monotonic_ns())
    folder.mkdir()
    world = World(folder)
    world.bring_up()
    made, liar = world.made, "bank-0"
    first, second = world.proposal(), world.proposal(LATER_HOME)
    logs = {
        "old": made.log,
        "one": world.start(first_with_approvals(world, first), name="one.db"),
        "two": world.start(first_with_approvals(world, second), LATER_HOME, name="two.db"),
    }
    world.attest(1)
    finals: set[str] = set()
    for what, numbers in schedule:
        for name in (made.members[number] for number in sorted(numbers)):
            with suppress(WitnessRefusal):
                if what.startswith("approve"):
                    made.witness(name).approve(first if what == "approve one" else second)
                elif show(world, logs[what], name, lies=name == liar):
                    finals.add(what)
    for log in (logs["one"], logs["two"]):
        log.close()
    assert len(finals) <= 1


def show(world: World, log: Log, name: str, *, lies: bool) -> bool:
    """Let a member cosign what it will of a log; whether something beyond the base is final then."""
    made = world.made
    witness = Witness(None, made.keys[name], name, made.log.vkey, CID, made.clock) if lies else made.witness(name)
    return log.add_cosignatures([witness.follow(log)]) and log.final_size > 8


def test_a_crash_at_any_write_of_joining_leaves_the_old_or_the_new(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.made
    others = ["firm-1", "firm-2", "firm-3", "bank-0"]
    world.bring_up(others)
    world.attest(3)
    first = tmp_path / "tail.db"
    with Witness(first, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as lone:
        lone.follow(made.log)
        tail = (lone.size, lone.root)
    with world.start(world.approved(world.proposal(), others)) as log:
        assert world.finalise(log, others)
        for step in range(1, 100):
            path = tmp_path / f"{step}.db"
            path.write_bytes(first.read_bytes())
            witness = Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock)
            finished = False
            with crash_at(step, monkeypatch), suppress(Crash):
                witness.follow(log)
                finished = True
            witness.rest()
            with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as again:
                assert (again.size, again.root) in (tail, (log.size, log.root))
                again.follow(log)
                assert (again.size, again.root) == (log.size, log.root)
            if finished:
                return
    raise AssertionError("it never finished")
