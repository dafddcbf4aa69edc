"""Which units are held out: each by a lot of its own, which follows the unit and not its place in the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consortium_world import Consortium, a_plan
from task_world import credit_spec, credit_table, demand_spec, demand_table

from clients.data import Table
from clients.firm import Firm
from clients.held_out import divide
from clients.plan import MICRO, Plan
from clients.tasks.examples import Divided, Examples
from clients.tasks.spec import TaskSpec
from clients.tasks.task import task_for
from clients.unit_secret import SECRET_FILE
from ledger.secret_files import write_secret_file

PLAN: Plan = a_plan(groups=2, combine="mean", held_out_micro=MICRO // 4, vote_clip_micro=MICRO // 10, threshold=4)


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firm]:
    world = Consortium(tmp_path_factory.mktemp("lots") / "home", firms=3)
    firm = world.firms["firm-1"]
    (firm.home / SECRET_FILE).unlink(missing_ok=True)
    write_secret_file(
        firm.home / SECRET_FILE, bytes(range(32)), "lots"
    )  # with another one of 30, no series is held out
    yield firm
    world.close()


def divided(firm: Firm, spec: TaskSpec, table: Table) -> Divided:
    firm.divided.clear()
    task = task_for(spec)
    private = replace(firm.task("credit"), task=task, examples=task.examples(table))
    return divide(firm, private, PLAN)


def rows_of(part: Examples) -> Counter[Any]:
    return Counter(map(tuple, np.column_stack([part.inputs.toarray(), part.targets]).tolist()))


def names_of(part: Examples) -> set[str]:
    assert part.names is not None
    return set(part.names.tolist())


@pytest.mark.parametrize("change", ["shuffled", "one removed", "one more of a kind", "one new at the top"])
def test_a_row_keeps_its_lot_in_another_table(firm: Firm, change: str) -> None:
    spec = credit_spec()
    table = credit_table(spec, 80)
    twice = table.take(np.concatenate([np.arange(60), np.arange(40)]))  # rows that say the same have lots of their own
    places = {
        "shuffled": np.random.default_rng(1).permutation(100),
        "one removed": np.arange(1, 100),
        "one more of a kind": np.append(np.arange(100), 3),
        "one new at the top": np.append(100, np.arange(100)),
    }[change]
    more = table.take(np.concatenate([np.arange(60), np.arange(40), [70]]))
    before, after = divided(firm, spec, twice), divided(firm, spec, more.take(places))
    for old, new in ((before.trained, after.trained), (before.held_out, after.held_out)):
        gone, come = rows_of(old) - rows_of(new), rows_of(new) - rows_of(old)
        assert sum(gone.values()) <= (change == "one removed")
        assert sum(come.values()) <= (change not in ("one removed", "shuffled"))
    assert 10 <= before.held_out.units <= 45
    if change == "shuffled":
        assert before.held_out.units == after.held_out.units


@pytest.mark.parametrize("kind", ["entity", "block", "series"])
def test_a_named_unit_keeps_its_lot_whatever_its_records_say(firm: Firm, kind: str) -> None:
    if kind == "entity":
        spec = credit_spec(privacy={"unit": "entity", "entity": "customer", "max_rows": 5})
        table, place = credit_table(spec, 80), "customer"
    else:
        spec = demand_spec() if kind == "block" else demand_spec(privacy={"unit": "series"})
        table, place = demand_table(stores=12), "store"
    before = divided(firm, spec, table)
    left = sorted(set(table.columns[place].tolist()))[0]
    after = divided(firm, spec, table.take(table.columns[place] != left))
    gone = {one for one in names_of(before.trained) | names_of(before.held_out) if one.split(" ")[-1] == left}
    assert gone
    assert names_of(after.trained) == names_of(before.trained) - gone
    assert names_of(after.held_out) == names_of(before.held_out) - gone
    assert names_of(before.held_out)
    assert not names_of(before.trained) & names_of(before.held_out)


def test_a_division_is_named_by_all_that_is_in_it(firm: Firm) -> None:
    spec = credit_spec()
    table = credit_table(spec, 60)
    before = divided(firm, spec, table)
    assert divided(firm, spec, table).digest == before.digest
    digests = {
        before.digest,
        divided(firm, spec, table.take(np.arange(1, 60))).digest,
        Divided(before.held_out, before.trained).digest,
        Divided(replace(before.trained, targets=1.0 - before.trained.targets), before.held_out).digest,
        Divided(replace(before.trained, names=np.arange(before.trained.units).astype(str)), before.held_out).digest,
    }
    assert len(digests) == 5
