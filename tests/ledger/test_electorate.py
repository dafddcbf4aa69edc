"""Finality while members come and go: a quorum of every membership since the last final checkpoint."""

import pytest
from consortium_simulator import ORIGIN, Consortium, key_of, witness

from ledger.checkpoint import CheckpointError
from ledger.electorate import Electorate
from ledger.encoding import decode, encode
from ledger.finality import consortium_policy
from ledger.note import Vkey
from ledger.policy import Policy, PolicyError
from ledger.rules import COORDINATOR, LOG, admit, initial
from ledger.statement import decode_statement


def electorate(made: Consortium) -> Electorate:
    """What a reader knows who has read every entry and seen no final checkpoint."""
    found, state = Electorate(ORIGIN), initial(made.log.cid)
    for index, raw in enumerate(made.log.entries(0, made.log.size)):
        state = admit(state, decode_statement(raw), index)
        found = found.after(state)
    return found


def suspend(made: Consortium, name: str) -> int:
    others = [member.member for member in made.log.state.active() if member.member != name]
    made.log.append([made.approved(others[:5], "suspend", member=name, reason="left")])
    return made.log.size


@pytest.fixture
def seven() -> Consortium:
    """Seven members, so two may lie: 5 are a quorum, of six 4."""
    return Consortium(firms=6)


def test_while_nobody_comes_or_goes_it_is_the_members_own_policy(seven: Consortium) -> None:
    seven.task()
    assert electorate(seven).policy(seven.log.size) == consortium_policy(seven.log.state, ORIGIN)


def test_the_founding_knows_no_quorum() -> None:
    made = Consortium(founded=False)
    made.log.append(made.genesis()[:-1])
    with pytest.raises(CheckpointError, match="no quorum"):
        electorate(made).policy(made.log.size)


def test_a_change_needs_the_quorum_of_before_too(seven: Consortium) -> None:
    before = seven.log.size
    after = suspend(seven, "firm-0")
    known = electorate(seven)
    assert known.policy(before).is_met_by(["firm-0", "firm-1", "firm-2", "firm-3", "firm-4"])
    joint = known.policy(after)
    assert not joint.is_met_by(["firm-1", "firm-2", "firm-3", "firm-4"])  # a quorum of six, not of seven
    assert joint.is_met_by(["firm-1", "firm-2", "firm-3", "firm-4", "bank-0"])
    assert not joint.is_met_by(["firm-0", "firm-1", "firm-2", "firm-3"])
    with pytest.raises(PolicyError, match="no policy file"):
        joint.text()
    settled = known.final_at(after)
    assert settled.policy(after) == consortium_policy(seven.log.state, ORIGIN)
    with pytest.raises(CheckpointError, match="later checkpoint"):
        settled.policy(before)


def test_two_histories_that_part_over_members_are_never_both_final(seven: Consortium) -> None:
    """One liar signs both; each honest member one. Judged by the present members only, both would be final."""
    other = Consortium(firms=6)
    one, two = suspend(seven, "firm-0"), suspend(other, "firm-1")
    left, right = ["firm-1", "liar", "firm-2", "firm-3"], ["firm-0", "liar", "firm-4", "bank-0"]
    left, right = [[("firm-5" if name == "liar" else name) for name in half] for half in (left, right)]
    assert consortium_policy(seven.log.state, ORIGIN).is_met_by(left)
    assert consortium_policy(other.log.state, ORIGIN).is_met_by(right)
    assert not electorate(seven).policy(one).is_met_by(left)
    assert not electorate(other).policy(two).is_met_by(right)


def test_several_changes_are_settled_one_by_one(seven: Consortium) -> None:
    first, second = suspend(seven, "firm-0"), suspend(seven, "firm-1")
    known = electorate(seven)
    assert [len(group.members) for group in known.policy(second).groups.values()] == [7, 6, 5, 3]
    settled = known.final_at(first)
    assert [len(group.members) for group in settled.policy(second).groups.values()] == [6, 5, 2]
    assert settled.final_at(first - 1) == settled
    assert len(settled.final_at(second).policy(second).groups) == 1


def test_a_member_with_a_new_key_is_the_same_voter(seven: Consortium) -> None:
    new = key_of("firm-0 renewed").public
    seven.log.append([seven.approved(seven.members[1:6], "rotate", member="firm-0", key=new.raw)])
    policy = electorate(seven).policy(seven.log.size)
    assert policy == consortium_policy(seven.log.state, ORIGIN)
    assert policy.witnesses["firm-0"].key == new


def test_the_logs_key_is_that_of_the_size(seven: Consortium) -> None:
    before, new = seven.log.size, key_of("log renewed").public
    seven.log.append([seven.approved(seven.members[:5], "rotate", member=LOG, key=new.raw, next_log=None)])
    known = electorate(seven)
    assert known.policy(before).logs == (Vkey.of_log(ORIGIN, seven.keys[COORDINATOR].public),)
    assert known.policy(before + 1).logs == (Vkey.of_log(ORIGIN, new),)
    assert len(known.policy(before + 1).groups) == 1


def test_it_can_be_stored_and_costs_nothing_while_nothing_changes(seven: Consortium) -> None:
    suspend(seven, "firm-0")
    known = electorate(seven)
    stored = Electorate.of_value(ORIGIN, decode(encode(known.to_value()), what="it"))
    assert stored == known
    again = stored.after(seven.log.state)
    assert again == known
    seven.task()
    assert again.after(seven.log.state) is again


def test_no_member_is_named_like_a_group() -> None:
    """Its one cosignature would pass for the group's quorum."""
    made = Consortium()
    witnesses = consortium_policy(made.log.state, ORIGIN).witnesses
    log = Vkey.of_log(ORIGIN, made.keys[COORDINATOR].public)
    with pytest.raises(PolicyError, match="its own name"):
        Policy.of(log, {**witnesses, "members": witness("members")})
