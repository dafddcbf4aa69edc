"""The memory of a set of processes: who belongs to it, and what each has."""

import os
import subprocess
import sys

import pytest

from experiments.benchmarks.resident import NOTHING, NoSuchProcess, Resident, family, processor_s, resident


def test_a_family_is_all_that_a_supervisor_has_started_and_they() -> None:
    starts = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", starts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n"
        found = family(os.getpid(), {child.pid: "runner"})
        child.communicate("\n")
    assert found[os.getpid()] == "supervisor"
    assert found[child.pid] == "runner"
    assert "child of runner" in found.values()
    assert os.getppid() not in found
    assert family(os.getpid(), {}).get(child.pid) is None


def test_memory_is_what_the_system_says() -> None:
    mine = resident(os.getpid())
    assert 1 < mine.pss <= mine.rss < 10_000
    assert mine + NOTHING == mine == Resident(mine.rss, mine.pss)
    assert processor_s(os.getpid()) > 0


def test_who_has_ended_has_none() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as child:
        child.wait()
    with pytest.raises(NoSuchProcess, match=f"process {child.pid}"):
        resident(child.pid)
