"""What a firm's own policy allows beside the cap of a lifetime: so much for one round, so much in any year."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clients.accounts import WalletRefused
from clients.cost import Total
from clients.wallet_row import Reservation

YEAR_MS = 365 * 24 * 3600 * 1000
_CLOCK_SET_MS = 50 * YEAR_MS  # late in 2019: no wallet is older


class OverAllowance(WalletRefused):
    """A plan asks for more than the firm's policy allows at once, or in a year: the answer is no."""

    exit_code = 1


@dataclass(frozen=True)
class Allowance:
    """Limits from `firm.toml`, held against what the wallet has paid; None for no limit.

    Attributes:
        epsilon_round: most that one round may cost.
        epsilon_year: most that one account may pay in 365 days.
    """

    epsilon_round: float | None = None
    epsilon_year: float | None = None

    def require(self, wanted: Reservation, spent: Iterable[Reservation], delta: float) -> None:
        """Hold what is about to be spent against the limits.

        Args:
            wanted: with its time.
            spent: all that is spent, of any account.
            delta: at which epsilon is told.

        Raises:
            OverAllowance: naming the numbers; nothing is spent.
        """
        where = f"wallet: {wanted.unit}/{wanted.dataset} at delta {delta:g}"
        alone = Total.of([wanted.cost])
        if self.epsilon_round is not None and wanted.occasion.number and not alone.within(self.epsilon_round, delta):
            raise OverAllowance(
                f"{where}: the round costs epsilon {alone.capped_epsilon(self.epsilon_round, delta):.4g}, over the "
                f"{self.epsilon_round:g} that epsilon_round allows; nothing was spent"
            )
        if self.epsilon_year is None:
            return
        paid = Total.of(one.cost for one in within_a_year(wanted, spent))
        together = paid.with_(wanted.cost)
        if not together.within(self.epsilon_year, delta):
            before, after = (one.capped_epsilon(self.epsilon_year, delta) for one in (paid, together))
            raise OverAllowance(
                f"{where}: this would bring epsilon of the last 365 days from {before:.4g} to {after:.4g}, over the "
                f"{self.epsilon_year:g} that epsilon_year allows; nothing was spent"
            )


NO_LIMITS = Allowance()


def within_a_year(of: Reservation, spent: Iterable[Reservation]) -> Iterable[Reservation]:
    """What the same account has paid in the 365 days before, or may have: no wrong clock makes it less.

    What is dated later counts too, by a clock put back. What is dated before rows that it follows counts as of the
    latest of them, and what no row dates, by a clock that was never set, counts in every year.
    """
    since = of.at_ms - YEAR_MS
    mine = (one for one in spent if (one.unit, one.dataset) == (of.unit, of.dataset))
    return (one for one in mine if one.dated_ms > since or one.dated_ms < _CLOCK_SET_MS)
