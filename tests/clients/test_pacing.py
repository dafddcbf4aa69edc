"""Answers come at steps of the firm's clock, whatever took how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clients.pacing import paced


class Clock:
    """Goes on only when somebody works or sleeps."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now(self) -> float:
        return self.at_s

    def spend(self, seconds: float) -> None:
        self.at_s += seconds


def answered_after(step_s: int, work_s: float, *, fails: bool = False) -> float:
    clock = Clock()
    firm: Any = SimpleNamespace(config=SimpleNamespace(limits=SimpleNamespace(answer_step_s=step_s)))
    try:
        with paced(firm, clock.now, clock.spend):
            clock.spend(work_s)
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    return clock.at_s - 1000.0


@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_and_a_refusal_come_at_whole_steps(fails: bool) -> None:
    assert [answered_after(10, work, fails=fails) for work in (0.0, 0.1, 7.5, 9.999)] == pytest.approx([10] * 4)
    assert [answered_after(10, work, fails=fails) for work in (10.1, 19.0)] == pytest.approx([20, 20])


def test_by_default_a_firm_answers_at_once() -> None:
    assert answered_after(0, 3.7) == pytest.approx(3.7)
