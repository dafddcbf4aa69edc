"""The simulator is deterministic, and its disks in memory behave as the ledger's own store does."""

import inspect
from pathlib import Path

import pytest
from schedules.memory_store import MemoryStore, MemoryTransaction
from schedules.runner import run
from schedules.storage import InFiles

from ledger.store import Store
from ledger.transaction import Transaction


def trace(number: int, storage: InFiles | None = None) -> list[str]:
    lines: list[str] = []
    run(number, storage=storage, trace=lines)
    return lines


@pytest.mark.parametrize("number", range(4))
def test_a_schedule_takes_the_same_course_each_time(number: int) -> None:
    assert trace(number) == trace(number) != []


@pytest.mark.parametrize("number", range(20, 40))
def test_a_schedule_takes_the_same_course_in_files(number: int, tmp_path: Path) -> None:
    told = [line.replace("memory: ", "") for line in trace(number)]
    in_files = [line.replace(f"{tmp_path}/", "") for line in trace(number, InFiles(tmp_path))]
    assert [line.split(":")[0] for line in in_files] == [line.split(":")[0] for line in told]


@pytest.mark.parametrize(("real", "simulated"), [(Store, MemoryStore), (Transaction, MemoryTransaction)])
def test_the_simulated_store_is_asked_as_the_real_one_is(real: type, simulated: type) -> None:
    """A method that only the real one has is not needed here, or the schedules fail for the lack of it."""

    def public(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(method).parameters) for name, method in methods if name[0] != "_"}

    theirs, ours = public(real), public(simulated)
    assert {name: parameters for name, parameters in ours.items() if theirs.get(name) != parameters} == {}
