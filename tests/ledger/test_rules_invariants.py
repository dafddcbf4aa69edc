"""What holds after every entry, whatever is sent in whatever order; and what makes any two quorums share the honest."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from consortium_simulator import CID, Consortium, key_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.keys import SigningKey
from ledger.policy import PolicyError, quorum_size
from ledger.rules import EpochKey, Phase, Refused, Round, State, admit, approve, initial
from ledger.rules.persistent import Map
from ledger.statement import Statement, decode_statement

STEPS = [
    *("open", "contribute", "contribute", "contribute", "aggregate", "misaggregate", "publish", "abort", "revoke"),
    *("cap", "suspend", "enrol", "rotate", "replay", "attest", "query", "vouch"),
]
ONWARD = {
    Phase.OPEN: {Phase.OPEN, Phase.AGGREGATED, Phase.ABORTED},
    Phase.AGGREGATED: {Phase.AGGREGATED, Phase.PUBLISHED, Phase.ABORTED},
    Phase.PUBLISHED: {Phase.PUBLISHED},
    Phase.ABORTED: {Phase.ABORTED},
}


@dataclass
class World:
    """A ledger without a log: entries that the rules took, and what they must add up to."""

    made: Consortium
    state: State
    entries: list[bytes] = field(default_factory=list)
    renewed: dict[bytes, SigningKey] = field(default_factory=dict)
    spent: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    @classmethod
    def founded(cls) -> "World":
        world = cls(Consortium(firms=4, founded=False), initial(CID))
        for raw in [*world.made.genesis(), world.made.statement("task", task="credit", spec=world.made.hash())]:
            world.offer(raw)
        assert len(world.entries) == 7
        return world

    def offer(self, raw: bytes) -> None:
        """Send one statement; hold the invariants against what the rules make of it."""
        statement, before, written = decode_statement(raw), self.state, repr(self.state)
        try:
            after = admit(before, statement, before.size)
        except Refused:
            assert repr(before) == written
            return
        assert repr(before) == written
        assert admit(before, statement, before.size) == after
        self.entries.append(raw)
        self.state = after
        self._account(statement)
        check(before, after)
        assert {place: list(rdp) for place, rdp in after.spent.items()} == self.spent

    def _account(self, statement: Statement) -> None:
        payload = statement.payload
        if payload["t"] == "rotate":
            self.made.keys[payload["member"]] = self.renewed[payload["key"]]
        if payload["t"] == "contribution" and payload["rdp"]:
            place = (statement.issuer, "credit")
            self.spent[place] = [old + new for old, new in zip(self.spent[place], payload["rdp"], strict=True)]
            cap = self.state.caps.get(place)
            assert cap is None or all(now <= most for now, most in zip(self.spent[place], cap.rdp, strict=True))

    def latest(self) -> Round | None:
        task = self.state.tasks.get("credit")
        return None if task is None or task.latest is None else self.state.rounds.get(task.latest)


def check(before: State, after: State) -> None:
    """What every accepted entry keeps."""
    assert after.size == before.size + 1 == len(after.ids)
    assert after.voters == len(after.active())
    assert after.founding or after.voters > 0
    for round_id, one in before.rounds.items():
        later = after.rounds.get(round_id)
        assert later is not None
        assert later.phase in ONWARD[one.phase]
    for one in after.rounds.values():
        if one.phase is Phase.OPEN:
            assert one.contributed == len(one.contributions) == len(one.inputs())
            assert set(one.contributions) <= one.cohort.keys()
        else:
            assert not one.cohort
            assert not len(one.contributions)
    for task in after.tasks.values():
        assert sum(one.phase is Phase.OPEN for one in after.rounds.values() if one.task == task.name) <= 1
        live = [one for one in after.releases.values() if one.task == task.name and one.revoked is None]
        assert task.published == len(live)
    check_epoch_keys(before, after)
    for place, cap in before.caps.items():
        now = after.caps.get(place)
        assert now is not None
        assert all(new <= old for new, old in zip(now.rdp, cap.rdp, strict=True))


def check_epoch_keys(before: State, after: State) -> None:
    """Epochs rise, and a key is of an active member's present signing key."""
    nothing: Map[str, EpochKey] = Map()
    for member, keys in before.epoch_keys.items():
        for purpose, key in keys.items():
            now = after.epoch_keys.get(member, nothing).get(purpose)
            assert now is not None
            assert now == key or now.epoch > key.epoch or (now.epoch == key.epoch and now.key is None)
    for member, keys in after.epoch_keys.items():
        for key in keys.values():
            known = after.members.get(member)
            assert key.key is None or (known is not None and known.active and known.since < key.since)


def statement(world: World, step: str, one: int, two: int) -> bytes:
    """A statement of the kind that `step` names; `one` and `two` choose its details, some of them wrong."""
    made, state, latest = world.made, world.state, world.latest()
    firm = made.firms[one % len(made.firms)]
    known = latest.id if latest else bytes(16)
    model = (latest.model if latest else None) or bytes(32)
    task = state.tasks.get("credit")
    assert task is not None
    match step:
        case "open":
            cohort = [m.member for m in state.active("firm")][: 2 + two % 3]
            fields: dict[str, Any] = {"plan": {}, "cohort": cohort, "parent_model": task.model}
            return made.statement("round", task="credit", **fields)
        case "contribute":
            parent = latest.digest if latest else None
            fields = {"commit": made.hash(), "n_bucket": 1, "rdp": [one % 5, two % 5], "clip": 1}
            return made.statement("contribution", firm, parent=parent, round=known, **fields)
        case "aggregate" | "misaggregate":
            inputs = latest.inputs() if latest else []
            inputs = inputs[one % 2 :][::-1] if step == "misaggregate" else inputs
            return made.statement("aggregate", round=known, inputs=inputs, unmask=bytes(32), model=made.hash())
        case "publish":
            return made.statement("publish", round=known, model=model, manifest=bytes(32))
        case "abort":
            return made.statement("abort", round=known, reason="test")
        case "revoke":
            return made.statement("revoke", model=model, reason="test")
        case "cap":
            return made.statement("cap", firm, org=firm, task="credit", rdp_cap=[one, two], delta=1)
        case "replay":
            return world.entries[one % len(world.entries)]
        case "attest":
            return made.statement("attest", firm, subject="batch", artifact=made.hash())
        case "vouch":
            return made.statement("epoch_key", firm, purpose=f"use-{two % 2}", epoch=one % 7, key=made.hash())
        case "query":
            fields = {"bank": "bank-0", "purpose": "loan", "subject": bytes(32), "answer": bytes(32)}
            return made.statement("query", "bank-0", model=model, **fields)
        case _:
            return change(world, step, firm, one, two)


def change(world: World, step: str, firm: str, one: int, two: int) -> bytes:
    """A change of members, approved by all active ones or by one too few."""
    made, state = world.made, world.state
    voices = [m.member for m in state.active()]
    voices = voices[: quorum_size(len(voices)) - (two % 4 == 0)]
    parent = state.membership_digest
    match step:
        case "suspend":
            payload = made.payload("suspend", parent=parent, member=firm, reason="test", approvals=[])
        case "enrol":
            key = made.keys[firm].public.raw
            own = {"member": firm, "kind": "firm", "key": key, "name": firm, "approvals": []}
            payload = made.payload("enrol", parent=parent, **own)
        case _:
            new = key_of(f"{firm} {one} {two} {state.size}")
            world.renewed[new.public.raw] = new
            payload = made.payload("rotate", parent=parent, member=firm, key=new.public.raw, approvals=[])
    payload["approvals"] = [approve(payload, name, made.keys[name]) for name in voices]
    return made.sign(payload)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_whatever_is_sent_the_state_adds_up(steps: list[tuple[str, int, int]]) -> None:
    world = World.founded()
    for step, one, two in steps:
        world.offer(statement(world, step, one, two))
    again = initial(CID)
    for index, raw in enumerate(world.entries):
        again = admit(again, decode_statement(raw), index)
    assert again == world.state
    assert again.ids.blob() == world.state.ids.blob()


def test_the_steps_reach_every_phase_and_every_change() -> None:
    """The property above is worth something only if its steps are not all refused."""
    world = World.founded()
    steps = [("cap", 29, 29), ("open", 0, 2), ("contribute", 0, 1), ("contribute", 1, 4), ("contribute", 2, 3)]
    steps += [("aggregate", 0, 0), ("publish", 0, 0), ("query", 0, 0), ("revoke", 0, 0), ("attest", 0, 0)]
    steps += [("open", 0, 2), ("abort", 0, 0), ("vouch", 1, 1), ("suspend", 1, 1), ("enrol", 1, 1), ("vouch", 5, 1)]
    steps += [("rotate", 1, 1)]
    for step, one, two in steps:
        size = world.state.size
        world.offer(statement(world, step, one, two))
        assert world.state.size == size + 1, step
    assert {one.phase for one in world.state.rounds.values()} == {Phase.PUBLISHED, Phase.ABORTED}


@settings(max_examples=30, deadline=None)
@given(st.permutations([(0, 3), (1, 3), (2, 3), (0, 4), (1, 3), (2, 2)]))
def test_no_order_of_spends_and_rounds_goes_over_a_cap(spends: list[tuple[int, int]]) -> None:
    world = World.founded()
    for firm in range(3):
        world.offer(statement(world, "cap", firm + 4, 5))
    for firm, spend in spends:
        world.offer(statement(world, "open", 0, 2))
        world.offer(statement(world, "contribute", firm + 20, spend))
        world.offer(statement(world, "abort", 0, 0))
    for place, cap in world.state.caps.items():
        spent = world.state.spent.get(place, (0, 0))
        assert all(now <= most for now, most in zip(spent, cap.rdp, strict=True))


@pytest.mark.parametrize("members", range(1, 201))
def test_two_quorums_share_more_than_the_faulty_and_the_honest_are_enough(members: int) -> None:
    faulty, quorum = (members - 1) // 3, quorum_size(members)
    assert 2 * quorum - members > faulty
    assert quorum <= members - faulty


def test_nobody_is_no_quorum() -> None:
    with pytest.raises(PolicyError):
        quorum_size(0)
