"""The executor: one child a task, bounded, ended, and never the cause that somebody waits for nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from clients.flower.forking import Executor, ExecutorUnreachable, Task, TokenBook, fork, reaped


def task(number: int) -> Task:
    return Task(number, run_id=1, token=f"token-{number}", fab_hash="")


class World:
    """A source of tasks, children that end when told to, and a clock that is set."""

    def __init__(self, folder: Path, most_children: int = 2) -> None:
        self.waiting = list[Task]()
        self.failed = dict[str, str]()
        self.reachable, self.startable = True, True
        self.ended = dict[int, int]()
        self.killed = list[int]()
        self.started = list[int]()
        self.now_s = 0.0
        self.asked = 0
        self.book = TokenBook(folder / "tasks.json")
        self.executor = Executor(
            self,
            self.book,
            self._start,
            most_children=most_children,
            most_s=100.0,
            reap=lambda pid: self.ended.get(pid),
            kill=self._kill,
            clock=lambda: self.now_s,
        )

    def take(self) -> Task | None:
        self.asked += 1
        if not self.reachable:
            raise ExecutorUnreachable("the SuperNode does not answer")
        return self.waiting.pop(0) if self.waiting else None

    def fail(self, token: str, why: str) -> None:
        self.failed[token] = why

    def _start(self, one: Task) -> int:
        if not self.startable:
            raise OSError("no memory")
        self.started.append(one.task_id)
        return one.task_id

    def _kill(self, pid: int) -> None:
        self.killed.append(pid)
        self.ended[pid] = -signal.SIGKILL


def test_a_task_gets_a_child_and_is_forgotten_when_that_ends_well(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.waiting.append(task(1))
    world.executor.step()
    assert world.started == [1]
    assert world.book.tokens() == {1: "token-1"}
    world.ended[1] = 0
    world.executor.step()
    assert world.executor.running == 0
    assert world.failed == {}
    assert world.book.tokens() == {}


def test_no_more_children_than_allowed(tmp_path: Path) -> None:
    world = World(tmp_path, most_children=2)
    world.waiting += [task(1), task(2), task(3)]
    for _ in range(4):
        world.executor.step()
    assert world.started == [1, 2]
    assert world.asked == 2
    world.ended[1] = 0
    world.executor.step()
    assert world.started == [1, 2, 3]


@pytest.mark.parametrize("code", [1, 70, -signal.SIGKILL])
def test_a_child_that_ends_badly_has_its_task_failed_at_once(tmp_path: Path, code: int) -> None:
    world = World(tmp_path)
    world.waiting.append(task(1))
    world.executor.step()
    world.ended[1] = code
    world.executor.step()
    assert world.failed == {"token-1": f"its process ended with {code}"}
    assert world.book.tokens() == {}


def test_a_child_that_hangs_is_killed_and_its_task_failed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.waiting.append(task(1))
    world.executor.step()
    world.now_s = 99.0
    world.executor.step()
    assert world.killed == []
    world.now_s = 100.0
    world.executor.step()
    world.executor.step()
    assert world.killed == [1]
    assert list(world.failed) == ["token-1"]


def test_a_task_for_which_no_process_can_be_started_is_failed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.startable = False
    world.waiting.append(task(1))
    world.executor.step()
    assert world.failed == {"token-1": "no process could be started"}
    assert world.executor.running == 0


def test_the_tasks_of_a_killed_executor_are_failed_by_the_next(tmp_path: Path) -> None:
    before = World(tmp_path)
    before.waiting += [task(1), task(2)]
    before.executor.step()
    before.executor.step()
    after = World(tmp_path)
    after.executor.fail_forgotten()
    assert after.failed.keys() == {"token-1", "token-2"}
    assert World(tmp_path).book.tokens() == {}


def test_tokens_are_for_their_owner_alone(tmp_path: Path) -> None:
    TokenBook(tmp_path / "tasks.json").add(task(1))
    assert (tmp_path / "tasks.json").stat().st_mode & 0o777 == 0o600


def test_a_book_that_was_cut_short_is_empty(tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text('{"1": "tok')
    assert TokenBook(tmp_path / "tasks.json").tokens() == {}


def test_a_source_that_is_away_is_asked_less_and_less_and_children_go_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.waiting.append(task(1))
    usual_s = world.executor.step()
    world.reachable = False
    pauses = [world.executor.step() for _ in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 5.0
    assert world.executor.running == 1
    world.reachable = True
    assert world.executor.step() == usual_s


def test_stopping_waits_for_children_and_then_kills_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.waiting += [task(1), task(2)]
    world.executor.step()
    world.executor.step()

    def sleep(seconds: float) -> None:
        world.now_s += seconds
        if world.now_s > 0.5:
            world.ended.setdefault(1, 0)

    world.executor.stop(1.0, sleep)
    assert world.killed == [2]
    assert list(world.failed) == ["token-2"]


def wait(pid: int) -> int:
    """The exit code of a real child."""
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        code = reaped(pid)
        if code is not None:
            return code
        time.sleep(0.002)
    raise AssertionError("the child does not end")


def test_a_real_child_does_its_work_and_says_how_it_ended(tmp_path: Path) -> None:
    def leave(code: object) -> None:
        raise SystemExit(code)

    def fail() -> None:
        raise ValueError("a cell of the table")

    assert wait(fork(lambda: (tmp_path / "done").touch())) == 0
    assert (tmp_path / "done").exists()
    assert wait(fork(lambda: leave(3))) == 3
    assert wait(fork(lambda: leave(None))) == 0
    assert wait(fork(lambda: leave("no"))) == 1
    assert wait(fork(fail)) == 70


def test_a_real_child_dies_with_its_parent(tmp_path: Path) -> None:
    said = tmp_path / "pid"

    def grandchild() -> None:
        said.write_text(str(os.getpid()))
        time.sleep(60)

    def child() -> None:
        fork(grandchild)
        while not said.exists() or not said.read_text():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGKILL)

    assert wait(fork(child)) == -signal.SIGKILL
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        try:
            state = Path("/proc", said.read_text(), "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.002)
    raise AssertionError("it lives on")
