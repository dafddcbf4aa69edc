"""A firm's side of the votes: one a round, in rounds that it has paid for, on units that it never trains on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consortium_world import TASK, Consortium, a_plan

from clients import participation, validation
from clients.disclosure import pack_refusal
from clients.firm import Firm
from clients.held_out import SECRET_FILE, divide
from clients.masking.errors import AlreadyAnswered, SessionMismatch
from clients.messages import REPLIES, VALIDATE, Refusal, unpack
from clients.model_files import ModelFileInvalid, write_vector
from clients.plan import MICRO, Plan
from clients.tasks.examples import Examples
from clients.validation import DividedOtherwise, validate
from clients.vote import Vote, groups_hash
from ledger.errors import LedgerError
from ledger.secret_files import write_secret_file
from ledger.statement import decode_statement

ME, OTHER = "firm-02", "firm-03"
SIZE = TASK.architecture.size
GROUPS = [write_vector(np.full(SIZE, value)) for value in (0.1, -0.1)]


def voting(**changes: Any) -> Plan:
    fields = {"groups": 2, "combine": "mean", "held_out_micro": MICRO // 4, "vote_clip_micro": MICRO // 10}
    return a_plan(**{**fields, "threshold": 4, **changes})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    made = Consortium(tmp_path_factory.mktemp("votes") / "home", firms=10)
    yield made
    made.close()


@pytest.fixture
def statement(world: Consortium) -> Iterator[bytes]:
    raw = world.open_round(voting())
    yield raw
    world.abort(raw)


def request(world: Consortium, statement: bytes, groups: list[bytes] = GROUPS) -> dict[str, Any]:
    asked = world.request(ME, statement)
    del asked["sealed"]
    return {**asked, "groups": groups}


def test_a_vote_is_cast_once_and_paid_for_by_the_contribution(world: Consortium, statement: bytes) -> None:
    firm, round_id = world.firms[ME], decode_statement(statement).payload["id"]
    with pytest.raises(SessionMismatch, match="has not contributed"):
        validate(firm, request(world, statement))
    participation.train(firm, world.request(ME, statement))
    paid = firm.wallet.head
    raw = validate(firm, request(world, statement))["vote"]
    vote = Vote.read(raw, firm.key.public.ed25519.raw)
    assert (vote.round_id, vote.member, vote.groups, len(vote.scores)) == (round_id, ME, groups_hash(GROUPS), 2)
    assert validate(firm, request(world, statement))["vote"] == raw  # the same noise: a second draw would cost again
    with pytest.raises(AlreadyAnswered):
        validate(firm, request(world, statement, GROUPS[::-1]))
    assert firm.wallet.head == paid


def test_a_restart_gives_no_second_vote(world: Consortium, statement: bytes) -> None:
    firm = world.firms[ME]
    participation.train(firm, world.request(ME, statement))
    raw = validate(firm, request(world, statement))["vote"]
    firm.close()
    world.firms[ME] = again = Firm(firm.home)
    assert validate(again, request(world, statement))["vote"] == raw
    with pytest.raises(AlreadyAnswered):
        validate(again, request(world, statement, GROUPS[::-1]))


@pytest.mark.parametrize("what", ["table", "secret"])
def test_no_vote_on_units_that_are_divided_otherwise_than_they_were_trained_on(
    world: Consortium, statement: bytes, what: str
) -> None:
    """A nightly export, and the vote is handled by another process: what was in the sum could be in the vote too."""
    firm = world.firms[ME]
    participation.train(firm, world.request(ME, statement))
    file = firm.home / (SECRET_FILE if what == "secret" else firm.config.task[0].data)
    before = file.read_bytes()
    head, *records = before.split(b"\n", 6)
    file.unlink()
    if what == "table":
        file.write_bytes(b"\n".join([head, records[4], *records]))
    firm.close()
    world.firms[ME] = again = Firm(firm.home)
    try:
        with pytest.raises(DividedOtherwise, match="has changed within the round") as told:
            validate(again, request(world, statement))
        with pytest.raises(Refusal, match=r"^Unready: "):
            unpack(pack_refusal(told.value), REPLIES[VALIDATE], "vote")
    finally:
        file.unlink()
        write_secret_file(file, before, "what was there")
        again.close()
        world.firms[ME] = Firm(firm.home)
    assert validate(world.firms[ME], request(world, statement))["vote"]


def test_no_vote_on_other_terms_than_were_paid_for(
    world: Consortium, statement: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a ledger the coordinator can offer another plan under the id of a round that is paid for."""
    firm = world.firms[ME]
    participation.train(firm, world.request(ME, statement))
    honest = validation.read_offer
    monkeypatch.setattr(validation, "read_offer", lambda *given: replace(honest(*given), digest=bytes(32)))
    with pytest.raises(SessionMismatch, match="on other terms"):
        validate(firm, request(world, statement))
    monkeypatch.undo()
    assert validate(firm, request(world, statement))["vote"]


@pytest.mark.parametrize(
    "groups",
    [
        GROUPS[:1],
        [*GROUPS, GROUPS[0]],
        [GROUPS[0], "text"],
        [GROUPS[0], b"no vector"],
        [GROUPS[0], write_vector(np.zeros(SIZE + 1))],
        [GROUPS[0], write_vector(np.full(SIZE, np.nan))],
    ],
    ids=["one", "three", "text", "bytes", "size", "nan"],
)
def test_what_is_no_mean_gradient_is_not_voted_on(world: Consortium, statement: bytes, groups: list[Any]) -> None:
    with pytest.raises((Refusal, ModelFileInvalid)):
        validate(world.firms[ME], request(world, statement, groups))


def test_no_vote_where_the_plan_has_none(world: Consortium) -> None:
    statement = world.open_round(voting(held_out_micro=0, vote_clip_micro=0))
    try:
        participation.train(world.firms[ME], world.request(ME, statement))
        with pytest.raises(Refusal, match="asks for no votes"):
            validate(world.firms[ME], request(world, statement))
    finally:
        world.abort(statement)


def test_no_vote_in_a_round_that_is_over(world: Consortium) -> None:
    statement = world.open_round(voting())
    participation.train(world.firms[ME], world.request(ME, statement))
    world.abort(statement)
    with pytest.raises((Refusal, LedgerError)):
        validate(world.firms[ME], request(world, statement))


def test_the_units_that_vote_are_never_trained_on(
    world: Consortium, statement: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Examples] = []
    honest = participation.bounded_gradient_sum

    def spy(architecture: Any, parameters: Any, examples: Examples, *rest: Any, **more: Any) -> Any:
        seen.append(examples)
        return honest(architecture, parameters, examples, *rest, **more)

    monkeypatch.setattr(participation, "bounded_gradient_sum", spy)
    firm = world.firms[OTHER]
    participation.train(firm, world.request(OTHER, statement))
    parts = divide(firm, firm.task("credit"), voting())
    assert seen == [parts.trained]
    assert parts.held_out.units > 0
    assert parts.held_out.units + parts.trained.units == firm.task("credit").examples.units


def test_the_same_units_in_every_round_from_a_secret_of_the_firm(world: Consortium) -> None:
    def aside(firm: Firm) -> list[list[float]]:
        held_out = divide(firm, firm.task("credit"), voting()).held_out
        assert held_out is not None
        return np.asarray(held_out.inputs.toarray()).tolist()  # type: ignore[no-any-return]

    firm = world.firms[ME]
    assert firm.config.experiment is None  # a real firm: nothing of this follows from a seed
    before = aside(firm)
    firm.close()
    world.firms[ME] = again = Firm(firm.home)
    assert aside(again) == before
    assert (again.home / SECRET_FILE).stat().st_mode & 0o077 == 0
    (again.home / SECRET_FILE).unlink()
    again.divided.clear()
    assert aside(again) != before


def test_a_firm_refuses_groups_drawn_by_a_number_of_the_coordinators_choice(world: Consortium) -> None:
    """Of a thousand numbers one puts a firm among those who side with the coordinator."""
    statement = world.open_round(voting(number=734, rounds=1000))
    paid = world.firms[ME].wallet.head
    try:
        with pytest.raises(Refusal, match="number: round 734 of 1000 cannot follow on no round"):
            participation.train(world.firms[ME], world.request(ME, statement))
    finally:
        world.abort(statement)
    assert world.firms[ME].wallet.head == paid


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"min_cohort": 6}, "cohort: 5 firms in a group, this firm asks for at least 6"),
        ({"smallest_group": 4}, "threshold: 4 firms could open the sum, this firm asks for 5"),
    ],
    ids=["cohort", "threshold"],
)
def test_a_firm_holds_its_group_to_its_limits(
    world: Consortium, statement: bytes, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], says: str
) -> None:
    """Ten firms are in the cohort; the four others of its group are all that this one hides among."""
    firm = world.firms[ME]
    changed = firm.config.limits.model_copy(update=limits)
    monkeypatch.setattr(firm, "config", firm.config.model_copy(update={"limits": changed}))
    paid = firm.wallet.head
    with pytest.raises(Refusal, match=says):
        participation.train(firm, world.request(ME, statement))
    assert firm.wallet.head == paid
