"""Quorum sizes, and the text of trust policies."""

import pytest
from consortium_simulator import LOG, witness
from hypothesis import given
from hypothesis import strategies as st

from ledger.note import Vkey
from ledger.policy import Policy, PolicyError, quorum_size


def policy(members: int) -> Policy:
    return Policy.of(LOG, {f"m-{n}": witness(f"m-{n}") for n in range(members)})


def test_quorum_table() -> None:
    assert [quorum_size(n) for n in range(1, 14)] == [1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9]
    with pytest.raises(PolicyError):
        quorum_size(0)


@given(st.integers(1, 10_000))
def test_two_quorums_share_an_honest_member(n: int) -> None:
    faulty, quorum = (n - 1) // 3, quorum_size(n)
    assert 2 * quorum - n > faulty
    assert quorum <= n - faulty  # the honest ones alone can make one


def test_a_policy_survives_as_text() -> None:
    made = policy(5)
    assert Policy.parse(made.text()) == made
    assert Policy.parse("# note\n\n \t" + made.text().replace("\n", " \n\t")) == made


def test_a_quorum_is_distinct_known_witnesses() -> None:
    made = policy(4)
    assert made.is_met_by(["m-0", "m-1", "m-2"])
    assert not made.is_met_by(["m-0", "m-1"])
    assert not made.is_met_by(["m-0", "m-1", "m-1", "m-1"])
    assert not made.is_met_by(["m-0", "m-1", "stranger", "members"])


def test_nested_groups() -> None:
    lines = [f"log {LOG}"]
    lines += [f"witness {name} {witness(name)}" for name in ("x1", "x2", "x3", "y1", "y2")]
    lines += ["group X 2 x1 x2 x3", "group Y any y1 y2", "group both all X Y", "quorum both"]
    made = Policy.parse("\n".join(lines))
    assert made.is_met_by(["x1", "x3", "y2"])
    assert not made.is_met_by(["x1", "x2", "x3"])
    assert not made.is_met_by(["x1", "y1", "y2"])
    assert Policy.parse(made.text()) == made


W = f"witness a {witness('a')}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no quorum"),
        (f"{W}quorum a\n", "no log"),
        (f"log {LOG}\nquorum none\n", "line 2.*none"),
        (f"log {LOG}\nquorum a\n", "not defined"),
        (f"log {LOG}\n{W}quorum a\nquorum a\n", "line 4: exactly one"),
        (f"log {LOG}\nlog {LOG}\n{W}quorum a\n", "same key"),
        (f"log {LOG}\n{W}witness b {Vkey.of_witness('b', witness('a').key)}\nquorum a\n", "same key"),
        (f"log {LOG}\n{W}{W}quorum a\n", "taken"),
        (f"log {LOG}\n{W}group g 2 a\nquorum g\n", "threshold"),
        (f"log {LOG}\n{W}group g 0 a\nquorum g\n", "threshold"),
        (f"log {LOG}\n{W}group g 01 a\nquorum g\n", "threshold"),
        (f"log {LOG}\n{W}group g any a a\nquorum g\n", "only once"),
        (f"log {LOG}\n{W}group g any a\ngroup h any a\nquorum h\n", "only once"),
        (f"log {LOG}\ngroup g any a\n{W}quorum g\n", "line 2.*not defined"),
        (f"log {LOG}\n{W}group g any\nquorum g\n", "line 3"),
        (f"log {witness('a')}\n{W}quorum a\n", "type"),
        (f"log {LOG}\nwitness a {LOG}\nquorum a\n", "type"),
        (f"log {LOG}\nwitness none {witness('a')}\nquorum none\n", "taken"),
        (f"log {LOG}\nnonsense\n", "line 2"),
        (f"log {LOG}\x00\n{W}quorum a\n", "control"),
    ],
)
def test_refused_lines_are_named(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        Policy.parse(text)
