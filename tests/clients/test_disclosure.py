"""The one door: nothing leaves without a ground, and nothing computed from records without payment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from consortium_world import CID, Consortium, a_plan
from task_world import credit_spec, credit_table

from clients import introduction
from clients.accounts import NoCap, OverCap, WalletRefused
from clients.data import TableInvalid, check_frame, read_table
from clients.disclosure import (
    Charge,
    Leaving,
    NotShown,
    Paid,
    charge,
    leave,
    leave_vote,
    pack_refusal,
    paid_by_round,
)
from clients.errors import ClientError
from clients.firm import Firm
from clients.greeting import question
from clients.grounds import GROUNDS, OPENING, REFUSAL, Why, markdown, needs_payment
from clients.masking.errors import KeySetupRefused, SessionMismatch
from clients.messages import HELLO, KEY, REPLIES, TRAIN, VALIDATE, Refusal, unpack
from clients.offer import Offer
from clients.plan import Plan
from clients.tasks.task import task_for
from ledger.errors import StoreError
from ledger.homes import HomeError
from ledger.source import WitnessRefusal

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    made = Consortium(tmp_path_factory.mktemp("door") / "home", firms=5)
    yield made
    made.close()


def offer_of(plan: Plan) -> Offer:
    return Offer({"id": b"r" * 16, "task": "credit", "cohort": []}, bytes(32), plan)


# The table.


def test_every_field_of_every_message_has_its_ground() -> None:
    """A new message, or a new field of one, stays inside until somebody says on what ground it may leave."""
    assert GROUNDS.keys() - {OPENING, REFUSAL} == REPLIES.keys()
    for kind, fields in REPLIES.items():
        assert GROUNDS[kind].keys() == fields.keys(), kind
    assert GROUNDS[REFUSAL].keys() == {"code", "detail"}


def test_what_follows_from_a_payment_names_one_that_is_paid() -> None:
    for kind, fields in GROUNDS.items():
        for field, ground in fields.items():
            assert ground.words, (kind, field)
            assert (ground.why is Why.AFTERWARDS) == bool(ground.of), (kind, field)
            assert not ground.of or needs_payment(ground.of), (kind, field)
    assert {kind for kind in GROUNDS if needs_payment(kind)} >= {TRAIN, VALIDATE, OPENING}


def test_the_docs_show_the_table() -> None:
    assert markdown() in (DOCS / "privacy.md").read_text(encoding="utf-8")


# The door.


def test_nothing_leaves_without_a_ground() -> None:
    for kind, fields in (
        ("query.rows", {"rows": 17}),
        (KEY, {"hash": b"", "rows": 17}),
        (KEY, {}),
        (REFUSAL, {"code": "x"}),
    ):
        with pytest.raises(NotShown, match="there is no ground on which"):
            leave(kind, fields)
    assert dict(leave(KEY, {"hash": b"x"})) == {"hash": b"x"}


@pytest.mark.parametrize("kind", [kind for kind in GROUNDS if needs_payment(kind)])
def test_nothing_computed_from_records_leaves_unpaid(kind: str) -> None:
    fields = dict.fromkeys(GROUNDS[kind], b"")
    for evidence in (None, object(), True, "paid"):
        with pytest.raises(NotShown, match="nothing has paid for it"):
            leave(kind, fields, evidence)  # type: ignore[arg-type]
    assert leave(kind, fields, paid_by_round("round")).kind == kind


def test_evidence_and_what_leaves_are_made_by_the_door_alone() -> None:
    with pytest.raises(NotShown, match="only a settled charge"):
        Paid(object(), "round")
    with pytest.raises(NotShown, match="only the door"):
        Leaving(object(), TRAIN, {"contribution": b"", "statement": b""})
    passed = leave(KEY, {"hash": b"x"})
    with pytest.raises(TypeError):
        passed["hash"] = b"y"  # type: ignore[index]


def test_a_charge_is_settled_before_it_is_evidence(world: Consortium) -> None:
    firm = world.firms["firm-1"]
    private, purpose = firm.task("credit"), f"credit/{(b'r' * 16).hex()}"
    reserved = charge(firm, private, offer_of(a_plan()))
    assert [one.purpose for one in firm.wallet.open_reservations()] == [purpose]
    assert reserved.pay().purpose == purpose
    assert firm.wallet.open_reservations() == ()
    with pytest.raises(WalletRefused):
        reserved.pay()
    with pytest.raises(OverCap):
        charge(firm, private, offer_of(a_plan(noise_micro=300_000)))


def test_what_adds_no_noise_leaves_only_where_the_firms_own_limits_say_so(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    firm, offer = world.firms["firm-2"], offer_of(a_plan(privacy="none", noise_micro=0))
    with pytest.raises(NotShown, match="trains with privacy only"):
        charge(firm, firm.task("credit"), offer)
    changed = firm.config.limits.model_copy(update={"without_privacy": True})
    monkeypatch.setattr(firm, "config", firm.config.model_copy(update={"limits": changed}))
    reserved = charge(firm, firm.task("credit"), offer)
    assert reserved == Charge(firm, reserved.purpose, None)
    assert reserved.pay().purpose == reserved.purpose


def test_a_vote_needs_the_payment_of_its_round(world: Consortium) -> None:
    offer = offer_of(a_plan())
    with pytest.raises(SessionMismatch, match="has not contributed"):
        leave_vote(world.firms["firm-3"], offer, bytes(32), lambda _: b"vote")


# Refusals.


def refused(error: Exception) -> Refusal:
    with pytest.raises(Refusal) as caught:
        unpack(pack_refusal(error), REPLIES[HELLO], "reply")
    return caught.value


@pytest.mark.parametrize("kind", [OverCap, NoCap, WalletRefused])
def test_a_wallets_refusal_tells_no_spend(kind: type[Exception]) -> None:
    said = refused(kind("wallet: one row/data/credit.csv: this would bring epsilon from 4.371 to 9.1, over the cap 8"))
    assert said.code == kind.__name__
    for secret in ("4.371", "9.1", "cap 8", "credit.csv"):
        assert secret not in str(said)


@pytest.mark.parametrize(
    "error",
    [
        StoreError("/home/firm/mirror.db: is locked"),
        HomeError("/home/firm/ledger.toml: not valid TOML"),
        ClientError("17 rows"),
        OSError("x"),
    ],
)
def test_a_refusal_about_the_firms_own_things_shows_not_even_its_kind(error: Exception) -> None:
    said = refused(error)
    assert (said.code, said.detail) == (
        "Unready",
        "the firm's client cannot go on; its operator finds the cause in its log",
    )


@pytest.mark.parametrize("error", [WitnessRefusal, KeySetupRefused])
def test_a_refusal_about_the_protocol_names_no_path(error: type[Exception]) -> None:
    said = refused(error("/srv/firms/acme/mirror.db: this mirror's member is 'a', not 'b'; see (/srv/x) and 1/2"))
    assert said.code == error.__name__
    assert "/srv" not in said.detail
    assert said.detail.startswith("a file of this firm")
    assert said.detail.endswith("this mirror's member is 'a', not 'b'; see (a file of this firm) and 1/2")


def test_a_path_is_no_shorter_for_what_its_names_hold() -> None:
    said = refused(WitnessRefusal("/home/max mueller/Firma A, B (neu)/mirror.db: its member is 'a'"))
    assert said.detail == "a file of this firm: its member is 'a'"


def test_one_record_more_or_less_does_not_make_a_firm_refuse(world: Consortium) -> None:
    """The last record of a class, and the last of all: to refuse without them would say that they are missing."""
    firm = world.firms["firm-4"]
    firm.close()
    path = firm.home / "data" / "credit.csv"
    whole = path.read_text(encoding="utf-8")
    head, *rows = whole.splitlines()
    place = head.split(",").index("outcome")
    paid = [row for row in rows if row.split(",")[place] == "0"]
    try:
        for left in (paid, paid[:1], []):
            path.write_text("\n".join([head, *left]) + "\n", encoding="utf-8")
            with pytest.raises(TableInvalid):
                read_table(path, firm.declared("credit").spec)
            again = Firm(firm.home)
            private = again.task("credit")
            assert private.examples.units == len(left)
            request = question(CID, "credit", 0, bytes(32))
            assert introduction.hello(again, request)["units"] == private.settings.units
            again.close()
    finally:
        path.write_text(whole, encoding="utf-8")


def test_a_table_without_rows_has_no_units() -> None:
    spec = credit_spec()
    import pandas as pd

    frame = pd.DataFrame({name: np.array([], dtype=object) for name in credit_table(spec, 3).columns})
    table = check_frame(frame, spec, "t", alone=False)
    given = task_for(spec).examples(table)
    assert (given.units, given.inputs.shape) == (0, (0, task_for(spec).architecture.inputs))
