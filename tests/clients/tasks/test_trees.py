"""Public random trees: the same for everyone who has the spec, one leaf a tree, and nothing of any record in them."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from itertools import count

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from task_world import CREDIT, credit_spec, credit_table, demand_spec, document

from clients.noise import RandomStream
from clients.tasks.credit import CreditTask
from clients.tasks.encoding import Encoder
from clients.tasks.examples import one_hot
from clients.tasks.questions import questions_of
from clients.tasks.spec import TaskSpec, parse_spec
from clients.tasks.trees import draw_trees
from clients.training import Protection, bounded_gradient_sum

TREES = {"count": 20, "depth": 3, "seed": "credit 1"}
SPEC = credit_spec(trees=TREES)
PLAIN = credit_spec()
ENCODER = Encoder(SPEC)


def texts(spec: TaskSpec) -> list[list[str]]:
    return [[question.text for question in tree] for tree in draw_trees(spec)]


def with_trees(**changes: object) -> TaskSpec:
    return credit_spec(trees={**TREES, **changes})


# ---------------------------------------------------------------- questions


def test_the_questions_of_every_kind_of_feature() -> None:
    found = {code: [(q.text, q.yes) for q in questions] for code, questions in questions_of(PLAIN).items()}
    no, yes = False, True
    assert list(found) == ["income", "burden", "spare", "high", "sector", "owner"]  # a cross is not asked about
    assert found["income"] == [
        ("Income: 100 or more", (no, yes, yes, yes, no)),  # a missing income reaches no edge
        ("Income: 200 or more", (no, no, yes, yes, no)),
        ("Income: 500 or more", (no, no, no, yes, no)),
        ("Income: missing", (no, no, no, no, yes)),
    ]
    assert found["burden"][-1] == ("Debt to income: cannot be computed", (no, no, no, yes))
    assert found["sector"] == [
        ("Sector: 2/15", (yes, no, no)),
        ("Sector: farm", (no, yes, no)),
        ("Sector: missing", (no, no, yes)),
    ]
    assert [text for text, _ in found["owner"]] == ["Owner: no", "Owner: yes", "Owner: missing"]


def test_a_value_that_cannot_be_missing_is_not_asked_whether_it_is() -> None:
    parsed = document(CREDIT, derived=[], feature=document(CREDIT)["feature"][:1])
    parsed["feature"][0]["from"] = "debt"
    parsed["column"][-2]["missing"] = "refused"
    parsed["feature"] += [{"code": "owner", "text": "Owner", "from": "owner"}]
    found = questions_of(parse_spec(parsed, "x"))
    assert [q.text for q in found["income"]] == ["Income: 100 or more", "Income: 200 or more", "Income: 500 or more"]
    assert [q.text for q in found["owner"]] == ["Owner: no"]  # of two bins the first says it all


# ---------------------------------------------------------------- drawing


def test_the_draw_is_the_one_that_the_module_writes_down() -> None:
    """A second implementation, from the words alone, in Python's integers."""
    assert texts(SPEC) == by_the_book(SPEC)
    assert texts(with_trees(depth=6, count=100, seed="~ another one ~")) == by_the_book(
        with_trees(depth=6, count=100, seed="~ another one ~")
    )


def by_the_book(spec: TaskSpec) -> list[list[str]]:
    assert spec.trees is not None
    key = hashlib.sha256(b"artesian public trees 1\n" + spec.trees.seed.encode()).digest()
    numbers = below(key)
    known = {code: [question.text for question in questions] for code, questions in questions_of(spec).items()}
    out = []
    for _ in range(spec.trees.count):
        left, tree = list(known), []
        for _ in range(spec.trees.depth):
            code = left.pop(numbers.send(len(left)))
            tree.append(known[code][numbers.send(len(known[code]))])
        out.append(tree)
    return out


def below(key: bytes) -> Generator[int, int, None]:
    """Numbers below what is sent, from the words of AES in counter mode, written out."""

    def numbers() -> Generator[int, int, None]:
        limit = yield 0
        for block in count():
            pair = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block.to_bytes(16, "big"))
            for half in (pair[:8], pair[8:]):
                word = int.from_bytes(half, "little")
                if word < 2**64 - 2**64 % limit:
                    limit = yield word % limit

    generator = numbers()
    next(generator)
    return generator


def test_the_draw_is_fixed_for_ever() -> None:
    """These values are on ledgers: a release made with them scores with them. Never change them."""
    assert texts(SPEC)[:2] == [
        ["Sector: farm", "Owner: missing", "Debt to income: cannot be computed"],
        ["Sector: 2/15", "Income: 100 or more", "Owner: yes"],
    ]
    drawn = hashlib.sha256("\n".join(text for tree in texts(SPEC) for text in tree).encode())
    assert drawn.hexdigest() == "0024c82ffdfa8c4d5f47bb47514b87101d603d6ebc0182b39c6988ea60150cce"


def test_fewer_trees_are_the_first_of_more() -> None:
    assert texts(with_trees(count=200))[:20] == texts(SPEC)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64), st.integers(1, 6))
def test_a_tree_asks_about_different_features(seed: str, depth: int) -> None:
    for tree in draw_trees(with_trees(seed=seed, depth=depth, count=3)):
        assert len({question.code for question in tree}) == depth


def test_every_question_has_its_chance() -> None:
    """Features are taken evenly, and the questions of a feature too; 3,000 draws."""
    drawn = [tree[0] for tree in draw_trees(with_trees(count=1000, depth=1, seed="a"))]
    drawn += [tree[0] for tree in draw_trees(with_trees(count=1000, depth=1, seed="b"))]
    drawn += [tree[0] for tree in draw_trees(with_trees(count=1000, depth=1, seed="c"))]
    known = questions_of(SPEC)
    for questions in known.values():
        for question in questions:
            share = 1 / len(known) / len(questions)
            got = sum(one == question for one in drawn) / 3000
            assert abs(got - share) < 5 * np.sqrt(share / 3000), question.text


def test_trees_can_be_told_what_to_ask_about() -> None:
    chosen = with_trees(features=["sector", "income", "owner"])
    assert {question.code for tree in draw_trees(chosen) for question in tree} == {"sector", "income", "owner"}


# ---------------------------------------------------------------- encoding


def test_a_records_leaf_is_its_answers_read_as_a_binary_number() -> None:
    table = credit_table(SPEC, 50)
    codes = ENCODER.encode(table)
    plain = Encoder(PLAIN).encode(table)
    trees = ENCODER.trees
    assert trees is not None
    np.testing.assert_array_equal(codes[:, : len(PLAIN.feature)], plain)
    place = {group.code: (k, group.start) for k, group in enumerate(ENCODER.groups)}
    for row in range(table.rows):
        for tree, questions in enumerate(draw_trees(SPEC)):
            leaf = 0
            for question in questions:
                position, start = place[question.code]
                leaf = 2 * leaf + question.yes[plain[row, position] - start]
            assert codes[row, len(PLAIN.feature) + tree] == Encoder(PLAIN).width + 8 * tree + leaf
    assert (ENCODER.width, ENCODER.active) == (Encoder(PLAIN).width + 160, 27)
    assert codes.dtype == np.int32


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 29), min_size=1, max_size=30))
def test_nothing_is_learned_from_the_table(seed: int, chosen: list[int]) -> None:
    table = credit_table(SPEC, 30, seed)
    index = np.array(chosen)
    np.testing.assert_array_equal(ENCODER.encode(table.take(index)), ENCODER.encode(table)[index])


@settings(max_examples=15)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64), st.integers(0, 59))
def test_no_seed_makes_one_record_weigh_more(seed: str, left_out: int) -> None:
    """Whatever the seed, also one that somebody chose: rows have norm 1, and the clipped sum moves by the clip at most.

    So the account is of every seed, and nothing can be fished for with one; that it is chosen before data is about who
    chooses by looking at data, which no account of this training knows of.
    """
    task = CreditTask(with_trees(seed=seed))
    table = credit_table(task.spec, 60)
    rows = one_hot(task.encoder.encode(table), task.encoder.width)
    np.testing.assert_allclose(np.sqrt(rows.multiply(rows).sum(axis=1)), 1.0, rtol=1e-12)
    parameters = np.linspace(-3, 3, task.architecture.size)
    keep = np.arange(60) != left_out
    protection, stream = Protection(clip=0.7, box=60.0, sampling_rate=1.0), RandomStream.seeded(1)
    both = [
        bounded_gradient_sum(task.architecture, parameters, task.examples(part), protection, stream)
        for part in (table, table.take(keep))
    ]
    assert np.linalg.norm(both[0] - both[1]) <= 0.7


def test_a_plan_for_other_trees_is_for_another_spec() -> None:
    hashes = {with_trees(**change).hash for change in ({}, {"seed": "credit 2"}, {"count": 21}, {"depth": 2})}
    assert len(hashes | {PLAIN.hash}) == 5


@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        (credit_spec(), "31bfafaed55ca458e2be03ce8fa1c7828dbc4fcb1db7cef972632fbab56ea86c"),
        (demand_spec(), "54c5acda35f853a9202a14399b80ff3cdb71aa1600cab20db7f6bde5dbf007a1"),
    ],
)
def test_specs_without_trees_keep_the_hash_that_they_had_before_there_were_any(spec: TaskSpec, digest: str) -> None:
    assert spec.hash.hex() == digest
