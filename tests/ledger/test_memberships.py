"""Who belonged when, read from few entries: the same as by replaying all of them."""

from collections.abc import Sequence

import pytest
from consortium_simulator import CID, ORIGIN, Consortium, key_of

from ledger.electorate import Electorate, Membership
from ledger.finality import consortium_policy
from ledger.memberships import memberships, policies
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.rules import COORDINATOR, LOG, admit, initial
from ledger.statement import decode_statement


def replayed(made: Consortium) -> tuple[Membership, ...]:
    """The same by every entry, signatures and all."""
    found, state = Electorate(ORIGIN), initial(CID)
    for index, raw in enumerate(made.log.entries(0, made.log.size)):
        state = admit(state, decode_statement(raw), index)
        found = found.after(state)
    return found.memberships


def read(made: Consortium, size: int | None = None) -> tuple[Membership, ...]:
    return memberships(made.log.entries, made.log.size if size is None else size, CID, ORIGIN)


def change(made: Consortium, names: Sequence[str], t: str, **fields: object) -> None:
    made.log.append([made.approved(list(names), t, **fields)])


@pytest.mark.parametrize("hybrid", [False, True])
def test_every_change_is_found_among_other_entries(hybrid: bool) -> None:
    made = Consortium(firms=3, hybrid=hybrid)
    voices = made.members[:3]
    made.task()
    _, model = made.train()
    plan = {"ateenrol": 1}  # the bytes that say that a record enrols somebody, in one that does not
    made.append("round", task="credit", plan=plan, cohort=made.firms, parent_model=model)
    change(made, voices, "enrol", member="firm-9", kind="firm", name="Nine", key=key_of("9", hybrid=hybrid).public.raw)
    change(
        made,
        [*voices, "bank-0"],
        "policy",
        coordinator=made.keys[COORDINATOR].public.raw,
        min_cohort=3,
        config=None,
        signatures=made.log.state.terms.signatures,
        founders=None,
        log=None,
        next_log=None,
    )
    made.task("demand")
    change(made, [*voices, "bank-0"], "rotate", member=LOG, key=key_of("next").public.raw, next_log=None)
    new = key_of("firm-0 renewed", hybrid=hybrid).public
    change(made, [*voices[1:], "bank-0", "firm-0"], "rotate", member="firm-0", key=new.raw)
    found = read(made)
    assert found == replayed(made)
    assert [len(one.members) for one in found] == [4, 5, 5, 5]
    assert found[-1].policy(ORIGIN) == consortium_policy(made.log.state, ORIGIN)


def test_who_belonged_at_some_size() -> None:
    made = Consortium(firms=3)
    founded = made.log.size
    change(made, made.members[:3], "suspend", member="firm-0", reason="left")
    made.task()
    assert [one.since for one in read(made)] == [founded, founded + 1]
    assert read(made, founded) == read(made)[:1]
    assert read(made, founded - 1) == ()


def test_a_policy_keeps_the_logs_earlier_keys_for_receipts_of_their_time() -> None:
    made = Consortium(firms=3)
    keys = [made.keys[COORDINATOR].public, *(key_of(f"log {number}").public for number in (1, 2))]
    for key in keys[1:]:
        change(made, made.members[:3], "rotate", member=LOG, key=key.raw, next_log=None)
    vkeys = [Vkey.of_log(ORIGIN, key) for key in keys]
    known = policies(read(made), ORIGIN)
    assert list(known) == [5, 6, 7]
    assert [known[since].logs for since in known] == [
        (vkeys[0],),
        (vkeys[1], vkeys[0]),
        (vkeys[2], vkeys[1], vkeys[0]),
    ]
    assert all(Policy.parse(policy.text()) == policy for policy in known.values())


def test_what_is_settled_is_one_of_them() -> None:
    made = Consortium(firms=3)
    assert made.log.settled == read(made)[0]
    change(made, made.members[:3], "suspend", member="firm-0", reason="left")
    assert made.log.settled == read(made)[0]  # the change is not final yet
    assert made.cosign()
    assert made.log.settled == read(made)[1]
