"""What the process of a message may take: so much and no more, and what it is by default."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clients.firm_config import FirmConfig, FirmConfigInvalid
from clients.flower.executor import within_memory
from clients.flower.forking import Task, fork, reaped
from clients.memory import LEAST_MIB, limit_memory, machine_memory, out_of_memory
from clients.toml_files import validated

GIB = 1 << 30


def ended(pid: int) -> int:
    until_s = time.monotonic() + 60
    while (code := reaped(pid)) is None:
        assert time.monotonic() < until_s, "the child does not end"
        time.sleep(0.005)
    return code


def in_child(work: Callable[[], bool]) -> bool:
    """Whether `work` says yes in a process of its own."""

    def asked() -> None:
        raise SystemExit(0 if work() else 1)

    return ended(fork(asked)) == 0


def lacks_memory(work: Callable[[], object]) -> bool:
    try:
        work()
    except Exception as error:
        return out_of_memory(error) is not None
    return False


def test_a_child_has_its_limit_and_its_parent_has_none() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)

    def answer(task: Task) -> None:
        raise SystemExit(task.task_id if resource.getrlimit(resource.RLIMIT_DATA)[0] == 3 * GIB else 1)

    assert ended(within_memory(answer, 3072)(Task(7, 1, "token", ""))) == 7
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_does_not_fit_fails_and_the_process_goes_on(tmp_path: Path) -> None:
    """With the least that may be given there is room for a Parquet table, for which pyarrow sets a gigabyte aside."""
    pd.DataFrame({"a": np.arange(1000.0)}).to_parquet(tmp_path / "table.parquet")

    def work() -> bool:
        limit_memory(LEAST_MIB)
        table = pd.read_parquet(tmp_path / "table.parquet")
        too_much = (lambda: np.ones(GIB), lambda: bytearray(3 * GIB), lambda: pd.concat([table] * 500_000))
        return all(map(lacks_memory, too_much)) and float(table["a"].sum()) == 499_500.0

    assert in_child(work)


@pytest.mark.parametrize(("machine", "given"), [(16 * GIB, 12 * 1024), (1 * GIB, 4096)])
def test_by_default_it_is_three_quarters_of_the_machine_and_four_gigabytes_at_least(machine: int, given: int) -> None:
    assert in_child(lambda: limit_memory(None, lambda: machine) == given)


def test_a_limit_that_is_there_already_is_not_raised() -> None:
    assert in_child(lambda: limit_memory(2048) == 2048 and limit_memory(4096) == 2048)


def test_a_control_group_is_a_smaller_machine(tmp_path: Path) -> None:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    own, inner = tmp_path / "own", tmp_path / "groups" / "system.slice" / "artesian-firm.service"
    own.write_text("0::/system.slice/artesian-firm.service\n")
    inner.mkdir(parents=True)
    assert machine_memory(tmp_path / "groups", own) == physical
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("1000000\n")
    assert machine_memory(tmp_path / "groups", own) == 1_000_000
    assert machine_memory(tmp_path / "groups", tmp_path / "none") == physical


def test_less_than_the_libraries_need_cannot_be_given() -> None:
    document = {"member": "firm-1", "cid": "acme", "machine": {"memory_mib": 1024}}
    with pytest.raises(FirmConfigInvalid, match="memory_mib"):
        validated(document, FirmConfig, FirmConfigInvalid, "firm.toml")
