"""What the rows of a privacy wallet add up to: caps, reservations and totals. Pure: no disk, no clock.

`check` refuses a row that would break a rule; `apply` takes a row in. A replay of stored rows only
applies: the rules were checked when the row was written, and the last digit of an epsilon may differ
between machines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clients.errors import ClientError
from clients.privacy import NOTHING, NanoRdp, add, check_nano_rdp, epsilon

Row = Mapping[str, Any]
"""One wallet row as read from JSON; its key `do` is one of cap, reserve, settle, cancel."""

_LONGEST_NAME = 200


class WalletRefused(ClientError):
    """The wallet does not do what was asked, and nothing has changed."""


class OverCap(WalletRefused):
    """The reservation would pass the firm's cap: the answer is no."""

    exit_code = 1


class NoCap(WalletRefused):
    """Nothing may be spent on data for which the firm has set no cap."""


@dataclass(frozen=True)
class Cap:
    """The most that may ever be spent on one (unit, dataset): `epsilon` in nats at failure `delta`."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class Reservation:
    """Privacy set aside for one purpose (a round id); `id` is the number of its row in the wallet."""

    id: int
    unit: str
    dataset: str
    purpose: str
    nano_rdp: NanoRdp


@dataclass
class Account:
    """All of one (unit, dataset): its cap, what is spent (reserved and not cancelled), and how often."""

    unit: str
    dataset: str
    cap: Cap | None = None
    nano_rdp: NanoRdp = NOTHING
    open: int = 0
    settled: int = 0
    cancelled: int = 0

    @property
    def epsilon_spent(self) -> float | None:
        """Epsilon of what is spent, at the cap's delta; None before a cap names a delta."""
        return None if self.cap is None else epsilon(self.nano_rdp, self.cap.delta)


class Accounts:
    """The state of a wallet, changed only by `apply`.

    Attributes:
        accounts: by unit and dataset.
        open: reservations neither settled nor cancelled, by their row.
        settled: what was settled last, by unit, dataset and purpose.
    """

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}
        self.open: dict[int, Reservation] = {}
        self.settled: dict[tuple[str, str, str], NanoRdp] = {}

    def account(self, unit: str, dataset: str) -> Account:
        """The account of `dataset` counted in `unit`; an empty one if nothing was ever recorded."""
        return self.accounts.get((unit, dataset)) or Account(unit, dataset)

    def check(self, row: Row) -> None:
        """Raise `WalletRefused` (or `OverCap`, `NoCap`) if the row may not be written."""
        match row["do"]:
            case "cap":
                self._check_cap(row)
            case "reserve":
                self._check_reserve(row)
            case "settle" | "cancel" if row["reservation"] not in self.open:
                raise WalletRefused(
                    f"wallet: reservation {row['reservation']} is not open: it was settled or cancelled"
                )

    def apply(self, seq: int, row: Row) -> None:
        """Take row number `seq` in.

        Raises:
            KeyError, TypeError, ValueError, ClientError: the row is not a row of a wallet.
        """
        match row["do"]:
            case "cap":
                self._enter(row).cap = Cap(float(row["epsilon"]), float(row["delta"]))
            case "reserve":
                account, nano_rdp = self._enter(row), check_nano_rdp(row["rdp"])
                account.nano_rdp = add([account.nano_rdp, nano_rdp])
                account.open += 1
                self.open[seq] = Reservation(seq, account.unit, account.dataset, row["purpose"], nano_rdp)
            case "settle":
                done = self.open[row["reservation"]]
                self._close(row).settled += 1
                self.settled[done.unit, done.dataset, done.purpose] = done.nano_rdp
            case "cancel":
                reservation = self.open[row["reservation"]]
                account = self._close(row)
                account.cancelled += 1
                account.nano_rdp = tuple(
                    total - part for total, part in zip(account.nano_rdp, reservation.nano_rdp, strict=True)
                )
            case other:
                raise ValueError(f"unknown row {other!r}")

    def _enter(self, row: Row) -> Account:
        key = (row["unit"], row["dataset"])
        return self.accounts.setdefault(key, Account(*key))

    def _close(self, row: Row) -> Account:
        reservation = self.open.pop(row["reservation"])
        account = self.accounts[reservation.unit, reservation.dataset]
        account.open -= 1
        return account

    def _check_cap(self, row: Row) -> None:
        _check_name("unit", row["unit"])
        _check_name("dataset", row["dataset"])
        new, old = Cap(row["epsilon"], row["delta"]), self.account(row["unit"], row["dataset"]).cap
        if not (math.isfinite(new.epsilon) and new.epsilon > 0 and 0 < new.delta < 1):
            raise WalletRefused(
                f"wallet: a cap needs epsilon above 0 and delta between 0 and 1, not {new.epsilon} and {new.delta}"
            )
        if old is not None and (new.epsilon > old.epsilon or new.delta > old.delta):
            raise WalletRefused(
                f"wallet: the cap of {row['unit']}/{row['dataset']} is epsilon {old.epsilon:g} at delta "
                f"{old.delta:g} and may only fall, not become {new.epsilon:g} at {new.delta:g}"
            )

    def _check_reserve(self, row: Row) -> None:
        unit, dataset = row["unit"], row["dataset"]
        for what in ("unit", "dataset", "purpose"):
            _check_name(what, row[what])
        asked, account = check_nano_rdp(row["rdp"]), self.account(unit, dataset)
        cap = account.cap
        if cap is None:
            raise NoCap(f"wallet: no cap is set for {unit}/{dataset}, so nothing may be spent: set one first")
        together = epsilon(add([account.nano_rdp, asked]), cap.delta)
        if together > cap.epsilon:
            before = epsilon(account.nano_rdp, cap.delta)
            raise OverCap(
                f"wallet: {unit}/{dataset} at delta {cap.delta:g}: this would bring epsilon from {before:.4g} to "
                f"{together:.4g}, over the cap {cap.epsilon:g}; nothing was spent"
            )


def _check_name(what: str, value: str) -> None:
    if not (isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()):
        raise WalletRefused(f"wallet: {what} must be 1 to {_LONGEST_NAME} printable characters, not {value!r}")
