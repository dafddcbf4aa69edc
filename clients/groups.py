"""The random groups of a round: whose updates are added up together, drawn so that no single party chooses it.

A round's cohort is one group, or several whose sums are opened each by itself, so that a poisoned one can be told from
the others. Firms, coordinator and auditor draw alike. The draw follows from what stood before the round: consortium,
task, the round's *number* (so that a round that is tried again has the same groups) and the cohort's masking keys of
the epoch, which the firms made. The number is not the coordinator's to choose, see `is_next`; what it can still do is
in docs/adr/0017. No promise here rests on the draw: a firm holds every group to its own limits, whoever is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from clients.errors import ClientError
from clients.firm_config import SIMULATION
from clients.masking.derivation import commit
from clients.masking.session import RosterEntry
from clients.plan import Plan

FEWEST_IN_A_GROUP = 5

Roster = tuple[RosterEntry, ...]


class GroupsImpossible(ClientError):
    """A cohort that cannot be divided as the plan says."""


def group_sizes(cohort_size: int, groups: int) -> tuple[int, int]:
    """Firms in the smallest and in the largest group; they differ by one at most.

    Raises:
        GroupsImpossible: several groups, one of them with fewer than `FEWEST_IN_A_GROUP` firms.
    """
    smallest = cohort_size // groups
    if groups > 1 and smallest < FEWEST_IN_A_GROUP:
        raise GroupsImpossible(
            f"groups: {cohort_size} firms in {groups} groups leave {smallest} in one, "
            f"a group has at least {FEWEST_IN_A_GROUP}; use fewer groups"
        )
    return smallest, -(-cohort_size // groups)


def is_next(plan: Plan, before: Plan | None) -> bool:
    """Whether a round has a number that follows from the ledger: the first of a run, or the next of one.

    Whoever could choose the number would have as many draws as there are numbers.

    Args:
        before: the plan of the round that made the model from which this one starts; None where no round did.
    """
    follows = before is not None and (plan.number, plan.rounds) == (before.number + 1, before.rounds)
    return plan.number == 1 or follows


def draw_groups(cid: str, task: str, number: int, groups: int, roster: Roster) -> tuple[Roster, ...]:
    """Divide a cohort; every firm is in exactly one group, and each is in order of member ids.

    Args:
        number: of the round in its run.
        roster: the cohort with its masking keys of the epoch. Without such keys the member ids decide, and in
            simulations: keys are never the same twice, and one seed must give the same model twice.

    Raises:
        GroupsImpossible: a group would be too small.
    """
    group_sizes(len(roster), groups)
    if groups == 1:
        return (tuple(roster),)
    keys = sorted((cid != SIMULATION and one.epoch_key) or one.member.encode() for one in roster)
    seed = commit("groups", cid.encode(), task.encode(), number.to_bytes(8, "big"), *keys)
    drawn = sorted(roster, key=lambda one: commit("group place", seed, one.member.encode()))
    return tuple(_in_order(drawn[place::groups]) for place in range(groups))


def _in_order(entries: Sequence[RosterEntry]) -> Roster:
    return tuple(sorted(entries, key=lambda one: one.member))
