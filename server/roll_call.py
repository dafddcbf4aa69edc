"""Whether enough firms are there to begin a run, and who is not: before anything is opened or asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from server.engines.control import Node
from server.words import clock_time

if TYPE_CHECKING:
    from server.coordinator import TaskAtCoordinator


@dataclass(frozen=True)
class Enrolled:
    """What the ledger says of those who may train.

    Attributes:
        firms: ids of the active firms.
        min_cohort: fewest contributions that the consortium's policy allows in an aggregate.
    """

    firms: Collection[str]
    min_cohort: int


@dataclass(frozen=True)
class Missing:
    """Why a run cannot begin yet.

    Attributes:
        needed, there: how many firms it takes, and how many are connected.
        away: the others, with seconds since 1970 when each was last seen; None for never.
    """

    needed: int
    there: int
    away: tuple[tuple[str, float | None], ...]

    def words(self, now_s: float) -> str:
        """In one clause: `2 more firms (firm-2 never seen, firm-3 last seen 12:03)`."""
        more = self.needed - self.there
        seen = (f"{name} {_seen(last, now_s)}" for name, last in self.away)
        who = ", ".join(seen) or f"only {len(self.away) + self.there} are enrolled"
        return f"{more} more firm{'' if more == 1 else 's'} ({who})"


def named_in(words: str) -> tuple[int, tuple[str, ...]]:
    """How many more firms it takes, and who is away, of what `Missing.words` said; 0 and nobody of other words."""
    found = re.fullmatch(r"(\d+) more firms? \((.*)\)", words)
    if found is None:
        return 0, ()
    return int(found[1]), tuple(re.findall(r"(\S+) (?:never|last) seen", found[2]))


class RollCall(Protocol):
    """Says who is missing for a task."""

    def missing(self, task: TaskAtCoordinator) -> Missing | None:
        """None where a run may begin.

        Raises:
            EngineUnreachable, ServerError, LedgerError: nobody can say.
        """
        ...


class ByNodes:
    """By the nodes that the SuperLink counts as connected, of firms that the ledger counts as active."""

    def __init__(self, nodes: Callable[[], list[Node]], enrolled: Callable[[], Enrolled]) -> None:
        self._nodes = nodes
        self._enrolled = enrolled

    def missing(self, task: TaskAtCoordinator) -> Missing | None:
        enrolled = self._enrolled()
        nodes = {node.name: node for node in self._nodes() if node.name in enrolled.firms}
        there = sum(node.online for node in nodes.values())
        needed = max(enrolled.min_cohort, task.firms or 0)
        if there >= needed:
            return None
        away = (name for name in enrolled.firms if name not in nodes or not nodes[name].online)
        seen = tuple((name, nodes[name].last_seen_s if name in nodes else None) for name in sorted(away))
        return Missing(needed, there, seen)


def _seen(last_s: float | None, now_s: float) -> str:
    return "never seen" if last_s is None else f"last seen {clock_time(last_s, now_s)}"
