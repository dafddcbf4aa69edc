"""A firm whose table or secret changes in the middle: no unit moves more than is paid for, and nothing tells of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from consortium_world import Consortium, a_plan
from stream_world import ME, restart, row, table_of, take_part

from clients.disclosure import pack_refusal
from clients.held_out import SECRET_FILE, deal
from clients.kept_sums import DealtOtherwise
from clients.measuring.handler import measure
from clients.measuring.statistic import statistic_of
from clients.messages import REPLIES, TRAIN, Refusal, unpack
from clients.model_files import AVERAGE, PARAMETERS
from clients.plan import MICRO

BINS = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    limits = {"epsilon": 1e3, "measurements": ["fairness"]}
    made = Consortium(tmp_path_factory.mktemp("dealt") / "home", firms=5, limits=limits)
    yield made
    made.close()


def without_first_record(path: Path) -> None:
    head, _, *left = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([head, *left]))


@pytest.mark.parametrize("what", ["secret", "table"])
def test_no_row_follows_on_sums_of_units_that_were_dealt_otherwise(world: Consortium, what: str) -> None:
    """A unit of the part before may be in this row's part too, and would move the row by both coefficients."""
    firm = world.firms[ME]
    take_part(world, row(1))
    take_part(world, row(2))
    digest = deal(firm, firm.task("credit"), 2).digest
    if what == "secret":
        (firm.home / SECRET_FILE).unlink()
    else:
        without_first_record(table_of(firm))
    firm = restart(world)
    paid = firm.wallet.head
    assert deal(firm, firm.task("credit"), 2).digest != digest
    assert deal(firm, firm.task("credit"), 3).digest != deal(firm, firm.task("credit"), 2).digest
    with pytest.raises(DealtOtherwise) as told:
        take_part(world, row(3))
    assert firm.wallet.head == paid
    with pytest.raises(Refusal) as said:
        unpack(pack_refusal(told.value), REPLIES[TRAIN], "update")
    assert (said.value.code, "table" in said.value.detail) == ("Unready", False)  # a record may be why
    take_part(world, row(1))  # a new stream begins, with parts that it keeps
    restart(world)
    take_part(world, row(2))


def test_a_request_for_fairness_does_not_tell_whether_the_table_has_changed(world: Consortium) -> None:
    firm = world.firms[ME]
    private = firm.task("credit")
    statistic = statistic_of(private.task.spec, "fairness", BINS, "sector")
    asked = {"measures": "fairness", "measure_bins": BINS, "measure_column": "sector", "dimension": statistic.size}
    statement = world.open_round(a_plan(rounds=1, noise_micro=20 * MICRO, **asked))
    without_first_record(table_of(firm))
    digests = {name: hashlib.sha256(raw).digest() for name, raw in world.model.files().items() if name != AVERAGE}
    request = world.request(ME, statement, parameters=world.model.files()[AVERAGE], digests=digests)
    assert PARAMETERS in digests
    try:
        assert measure(firm, request)["contribution"]
    finally:
        world.abort(statement)
    assert len(private.groups["sector"]) == len(private.examples.targets)
