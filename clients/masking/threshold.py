"""How many firms must agree before a sum is opened, and what a firm demands of a session.

A lying coordinator may show different closed sets to different firms. Let A be the honest firms that
answered with firm g included; its self-mask opens only if A has at least t - m members, m being the firms
that collude. For each i in A whose update is not in the opened sum, the mask between g and i must be opened
by g, whose one answer leaves out at most n - t firms. So the opened sum holds at least (t - m) - (n - t)
= 2t - m - n honest firms, which is at least c when t >= (n + m + c) / 2.

The argument needs that pair seeds are opened by the two firms themselves and not also through shares held by
others: with both ways open, 10 firms with t = 6 could be brought to open a single update.
"""

from __future__ import annotations

from dataclasses import dataclass

from clients.masking.errors import PlanRefused

FEWEST_FIRMS = 3
FEWEST_WITH_DROPOUTS = 5
SMALLEST_GROUP = 2


def threshold_for(cohort_size: int, *, colluders: int, smallest_group: int) -> int:
    """The fewest firms t >= (n + m + c) / 2 that must be in the closed set and must send shares.

    Args:
        cohort_size: n, firms in the roster. With 3 or 4 every firm is needed: t = n.
        colluders: m, firms that may side with the coordinator.
        smallest_group: c, the fewest honest firms whose sum may ever be opened; at least 2.

    Raises:
        PlanRefused: no threshold gives this protection to so few firms.
    """
    if cohort_size < FEWEST_FIRMS:
        raise PlanRefused(f"cohort: {cohort_size} firms, masking needs at least {FEWEST_FIRMS}")
    if colluders < 0 or smallest_group < SMALLEST_GROUP:
        raise PlanRefused(
            f"policy: colluders {colluders} and smallest_group {smallest_group}, need at least 0 and {SMALLEST_GROUP}"
        )
    if colluders + smallest_group > cohort_size:
        raise PlanRefused(
            f"cohort: {cohort_size} firms cannot hold {colluders} colluders and a group of {smallest_group} "
            "honest firms; enlarge the cohort"
        )
    if cohort_size < FEWEST_WITH_DROPOUTS:
        return cohort_size
    return (cohort_size + colluders + smallest_group + 1) // 2


@dataclass(frozen=True)
class GroupPolicy:
    """What one firm demands before it hides among others; the coordinator cannot change it.

    Attributes:
        min_cohort: fewest firms in a roster.
        colluders: firms that may side with a lying coordinator.
        smallest_group: fewest honest firms whose sum may ever be opened.
    """

    min_cohort: int = FEWEST_WITH_DROPOUTS
    colluders: int = 1
    smallest_group: int = 3

    def threshold(self, cohort_size: int) -> int:
        """The lowest threshold this firm accepts for a roster of `cohort_size` firms; see `threshold_for`.

        Raises:
            PlanRefused: the roster is smaller than this firm accepts.
        """
        if cohort_size < self.min_cohort:
            raise PlanRefused(f"cohort: {cohort_size} firms, this firm's policy asks for {self.min_cohort}")
        return threshold_for(cohort_size, colluders=self.colluders, smallest_group=self.smallest_group)

    def admit(self, cohort_size: int, threshold: int) -> None:
        """Accepts a session's roster size and threshold, or says why not.

        Raises:
            PlanRefused: the roster or the threshold is smaller than this firm accepts.
        """
        needed = self.threshold(cohort_size)
        if threshold < needed:
            raise PlanRefused(f"threshold: {threshold} of {cohort_size} firms, this firm's policy asks for {needed}")
