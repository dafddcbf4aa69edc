"""The privacy wallet: a firm's own append-only account of what its data has paid, refused past its cap.

The order of events is the whole point: `reserve` before training touches the data, `settle` before
anything leaves the firm, `cancel` only when nothing will. A reservation without an end counts as spent,
so a crash at any moment can only make the firm poorer, never its units less private.

Each row is chained to the one before it by SHA-256; opening the wallet re-checks the chain and replays
it. The chain shows an edited or missing row; that a whole file was put back from an older copy shows the
journal beside it (`clients.wallet_journal`), and the ledger (`clients.wallet_ledger`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from clients.accounts import Account, Accounts, WalletRefused
from clients.allowance import NO_LIMITS, Allowance
from clients.cost import Cost, as_cost
from clients.privacy import NanoRdp, add
from clients.wallet_book import WalletBehind, WalletBook
from clients.wallet_file import WalletDamaged, WalletUnreadable
from clients.wallet_row import UNKNOWN, Occasion, Reservation

__all__ = ["Wallet", "WalletBehind", "WalletDamaged", "WalletUnreadable"]


class Wallet(WalletBook):
    """One firm's wallet.

    Args:
        path, clock, busy_timeout_s, journal: as of a `WalletBook`, which also says what opening one raises.
        allowance: limits beside the caps.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        busy_timeout_s: float = 30.0,
        journal: Path | None = None,
        allowance: Allowance = NO_LIMITS,
    ) -> None:
        super().__init__(path, clock=clock, busy_timeout_s=busy_timeout_s, journal=journal)
        self._allowance = allowance

    def set_cap(self, unit: str, dataset: str, *, epsilon: float, delta: float) -> None:
        """Set the most that may ever be spent on `dataset`, counted in `unit`; a cap may only fall.

        Setting the cap that already holds writes nothing. A cap below what is spent stops all spending.

        Raises:
            WalletRefused: out of range, or above the cap that holds.
        """
        with self._transaction(write=True):
            cap = self._accounts.account(unit, dataset).cap
            if cap is not None and (cap.epsilon, cap.delta) == (epsilon, delta):
                return
            self._append({"do": "cap", "unit": unit, "dataset": dataset, "epsilon": epsilon, "delta": delta})
        self._note()

    def raise_cap(self, unit: str, dataset: str, *, before: float, epsilon: float, delta: float, reason: str) -> None:
        """Raise a cap, as the owner has decided; the decision is a row for good.

        Args:
            before: epsilon of the cap that holds, which the owner names.
            reason: why, in one line.

        Raises:
            WalletRefused: another cap holds, or it would not be raised, or it was raised from there for this reason
                before.
        """
        row = {"do": "raise", "unit": unit, "dataset": dataset, "epsilon": epsilon, "delta": delta}
        with self._transaction(write=True):
            self._append({**row, "from": before, "reason": reason})
        self._note()

    def reserve(
        self, unit: str, dataset: str, purpose: str, cost: Cost | Sequence[int], occasion: Occasion = UNKNOWN
    ) -> Reservation:
        """Set `cost` aside for `purpose` (a round id): on disk before this returns.

        Reserving twice for one purpose costs twice: training again draws new noise on the same data.

        Args:
            cost: what is released; or nano-RDP alone, and then its whole account is added up as such from now on.

        Raises:
            OverCap: the cap would be passed; nothing is spent. `exit_code` 1.
            NoCap: no cap is set for this unit and dataset.
            PrivacyError: `cost` holds no account on the grid of orders, or more than its mechanisms.
        """
        asked = as_cost(cost)
        with self._transaction(write=True):
            reserved = self._reserve(Reservation(0, unit, dataset, purpose, asked, occasion))
        self._note()
        return reserved

    def reserve_once(
        self, unit: str, dataset: str, purpose: str, cost: Cost | Sequence[int], occasion: Occasion = UNKNOWN
    ) -> Reservation | None:
        """Set `cost` aside for showing again what is the same each time, noise and all: that costs once.

        Returns:
            The reservation, which is an earlier one of the same purpose and cost if that was never settled, as after a
            crash; None if it was.

        Raises:
            OverCap, NoCap, PrivacyError: as `reserve`.
        """
        asked = as_cost(cost)
        with self._transaction(write=True):
            if self._accounts.settled.get((unit, dataset, purpose)) == asked.nano_rdp:
                return None
            wanted = (unit, dataset, purpose, asked.nano_rdp)
            for held in self._accounts.open.values():
                if (held.unit, held.dataset, held.purpose, held.nano_rdp) == wanted:
                    return held
            reserved = self._reserve(Reservation(0, unit, dataset, purpose, asked, occasion))
        self._note()
        return reserved

    def adopt(self, found: Iterable[tuple[Reservation, str]]) -> int:
        """Book what was spent elsewhere, whatever the cap: it is spent. Returns how much was booked.

        Args:
            found: each with where it was found, such as an entry of the ledger.

        Raises:
            PrivacyError: a cost does not hold together; nothing is booked.
        """
        booked = 0
        with self._transaction(write=True):
            for one, source in found:
                self._append({**one.to_row("adopt"), "source": source, "at_ms": one.dated_ms})
                booked += 1
        self._note()
        return booked

    def rehearsal(self, allowance: Allowance = NO_LIMITS) -> Wallet:
        """A wallet in memory with the same rows: it refuses what this one would, and nothing in it is spent."""
        copied = Wallet(None, clock=self._clock, allowance=allowance)
        copied.extend(self.rows())
        return copied

    def settle(self, reservation: Reservation) -> None:
        """Say that the update is about to leave: from here on the spend can never be taken back.

        Raises:
            WalletRefused: the reservation is not open.
        """
        self._end("settle", reservation)

    def cancel(self, reservation: Reservation) -> None:
        """Give a reservation back. Only if nothing left the firm in any form: not even a loss or a count.

        Raises:
            WalletRefused: the reservation is not open (it was settled, so it may have left).
        """
        self._end("cancel", reservation)

    def _reserve(self, wanted: Reservation) -> Reservation:
        cap = self._accounts.account(wanted.unit, wanted.dataset).cap
        if cap is not None:
            dated = replace(wanted, at_ms=self._now_ms())
            self._allowance.require(dated, self._accounts.kept.values(), cap.delta)
        return self._accounts.open[self._append(wanted.to_row("reserve"))]

    def _end(self, do: str, reservation: Reservation) -> None:
        with self._transaction(write=True):
            if self._accounts.open.get(reservation.id, reservation) != reservation:
                raise WalletRefused(f"wallet {self._name}: reservation {reservation.id} is of another wallet")
            self._append({"do": do, "reservation": reservation.id})
        self._note()

    def spent(self, unit: str, dataset: str) -> NanoRdp:
        """Nano-RDP reserved and not cancelled, settled or not."""
        with self._transaction():
            return self._accounts.account(unit, dataset).nano_rdp

    def open_reservations(self, purpose: str | None = None) -> tuple[Reservation, ...]:
        """Reservations neither settled nor cancelled (all, or those of one purpose), oldest first."""
        with self._transaction():
            held = tuple(self._accounts.open.values())
        return tuple(one for one in held if purpose in (None, one.purpose))

    def purchases(self, purpose: str | None = None) -> tuple[Reservation, ...]:
        """All that is spent, settled or not (for everything, or for one purpose), oldest first."""
        with self._transaction():
            if purpose is None:
                return tuple(self._accounts.kept.values())
            return tuple(self._accounts.for_purpose(purpose))

    def spent_for(self, purposes: Iterable[str]) -> dict[str, NanoRdp]:
        """Nano-RDP spent for each of the purposes, whatever the account."""
        with self._transaction():
            paid = {one: self._accounts.for_purpose(one) for one in purposes}
        return {one: add(spent.nano_rdp for spent in rows) for one, rows in paid.items()}

    def report(self) -> tuple[Account, ...]:
        """A copy of every account, in order of unit and dataset."""
        with self._transaction():
            return tuple(account.copy() for _, account in sorted(self._accounts.accounts.items()))

    def account(self, unit: str, dataset: str) -> Account:
        """A copy of one account; an empty one if nothing was ever recorded."""
        with self._transaction():
            return self._accounts.account(unit, dataset).copy()

    @contextmanager
    def reading(self) -> Iterator[Accounts]:
        """All that the rows add up to, at one moment: to look at, not to keep or change."""
        with self._transaction():
            yield self._accounts

    def compared(self, consortium: str, member: str) -> int:
        """With how many final entries of the consortium's ledger this wallet was compared, for a firm's name there."""
        with self._transaction():
            return self._accounts.compared.get((consortium, member), 0)

    @property
    def adopted(self) -> frozenset[int]:
        """The rows that book what was spent elsewhere."""
        with self._transaction():
            return frozenset(self._accounts.adopted)
