"""Faults from a seed: which process is killed and which link is disturbed, when, and what was seen of it."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal, Self

from faulty_network import FaultyLink

from experiments.tiny_consortium import CHILD, COORDINATOR, TinyConsortium

Kind = Literal["kill", "cut", "delay", "half-close"]
_AT_COORDINATOR = (
    "ledger",
    "superlink",
    "executor",
    f"executor {CHILD}",
    "runner",
    "enrolment",
    "scores",
    "supervisor",
)
_AT_FIRMS = ("witness", "supernode", "executor", f"executor {CHILD}", "supervisor")
_LINKS = ("ledger", "fleet")
_WITHIN_S = 200.0


@dataclass(frozen=True)
class Fault:
    """One disturbance.

    Attributes:
        who: the coordinator or a firm.
        what: the process, or the service that the link leads to.
        lasts_s: of a link's.
        after_steps, after_s: when: so many journaled steps, and seconds, after the one before.
        alone: whether it is waited until the run has journaled a step again, before the next fault may come.
    """

    kind: Kind
    who: str
    what: str
    lasts_s: float
    after_steps: int
    after_s: float
    alone: bool


def plan_of_faults(seed: int, firms: tuple[str, ...], faults: int, rounds: int) -> list[Fault]:
    """The same for the same seed; each kind comes once before any comes again."""
    draw = random.Random(seed)
    kinds: list[tuple[Kind, bool, str]] = [
        *(("kill", True, what) for what in _AT_COORDINATOR),
        *(("kill", False, what) for what in _AT_FIRMS),
        ("cut", False, ""),
        ("delay", False, ""),
        ("half-close", False, ""),
    ]
    deck: list[tuple[Kind, bool, str]] = []
    found = []
    between = max(1, rounds * 8 // (faults + 1))  # a round journals some eight steps that differ
    for _ in range(faults):
        if not deck:
            deck = draw.sample(kinds, len(kinds))
        kind, central, what = deck.pop()
        found.append(
            Fault(
                kind,
                COORDINATOR if central else draw.choice(firms),
                what or draw.choice(_LINKS),
                round(draw.uniform(1, 6), 1),
                draw.randint(max(0, between - 2), between),
                round(draw.uniform(0, 1), 2),
                draw.random() < 0.75,
            )
        )
    return found


class Storm:
    """Disturbs a consortium. Use as a context, around its processes: it holds the links of all firms.

    Attributes:
        told: a JSON line for each fault that was tried.
    """

    def __init__(self, consortium: TinyConsortium) -> None:
        self._consortium = consortium
        self._links: dict[tuple[str, str], FaultyLink] = {}
        self._stack = ExitStack()
        self.told: list[Mapping[str, object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def lead(self) -> None:
        """Lead all firms to ledger and fleet by links of their own."""
        network = self._consortium.network
        for firm in self._consortium.firms:
            for service, port in (("ledger", network.ledger_port), ("fleet", network.fleet_port)):
                self._links[firm, service] = self._stack.enter_context(FaultyLink(port))
            self._consortium.lead(firm, self._links[firm, "ledger"].port, self._links[firm, "fleet"].port)

    def blow(self, faults: list[Fault], over: Callable[[], bool]) -> None:
        """Do the faults one after the other, until the run is `over`; all is mended at the end."""
        for fault in faults:
            if not self._steps(fault.after_steps, over):
                break
            time.sleep(fault.after_s)
            if over():
                break
            self._do(fault, over)
        for link in self._links.values():
            link.mend()

    def _do(self, fault: Fault, over: Callable[[], bool]) -> None:
        before, began_s = self._consortium.mark(), time.monotonic()
        done = self._disturb(fault)
        step = str(before[2]) if before else ""
        recovery_s = None
        if done and fault.alone:
            recovered = self._until(lambda: self._consortium.mark() != before or over(), _WITHIN_S)
            assert recovered, f"no step within {_WITHIN_S:g} s after {fault}, at {before}"
            recovery_s = round(time.monotonic() - began_s, 1)
        line = {
            **asdict(fault),
            "done": done,
            "round": before[0] if before else 0,
            "at": step,
            "next_step_s": recovery_s,
        }
        self.told.append(line)
        print(json.dumps(line), file=sys.stderr, flush=True)

    def _disturb(self, fault: Fault) -> bool:
        if fault.kind == "kill":  # a child is there only while a message is answered
            within_s = 20.0 if CHILD in fault.what else 5.0
            return self._until(lambda: self._consortium.kill(fault.who, fault.what), within_s)
        link = self._links[fault.who, fault.what]
        if fault.kind == "half-close":
            link.half_close()
            return True
        if fault.kind == "cut":
            link.cut()
        else:
            link.delay(0.3)
        time.sleep(fault.lasts_s)
        link.mend()
        return True

    def _steps(self, count: int, over: Callable[[], bool]) -> bool:
        """Wait for so many more steps; False where the run is over before."""
        for _ in range(count):
            before = self._consortium.mark()
            self._until(lambda before=before: self._consortium.mark() != before or over(), _WITHIN_S)  # type: ignore[misc]
            if over():
                return False
        return True

    def _until(self, what: Callable[[], bool], within_s: float) -> bool:
        end_s = min(self._consortium.end_s, time.monotonic() + within_s)
        while not what():
            if time.monotonic() > end_s:
                return False
            time.sleep(0.05)
        return True
