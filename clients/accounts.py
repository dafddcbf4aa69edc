"""What the rows of a privacy wallet add up to: caps, reservations and totals. Pure: no disk, no clock.

A row is one of these: `cap` (sets one, or lowers it), `raise` (the owner raises it, with a reason), `reserve`,
`settle`, `cancel`, and `adopt`, which books what was spent elsewhere, as the ledger or another copy of the wallet says.

`check` refuses a row that would break a rule; `apply` takes a row in. A replay of stored rows only
applies: the rules were checked when the row was written, and the last digit of an epsilon may differ
between machines.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from clients.cost import Total
from clients.errors import ClientError
from clients.privacy import NanoRdp
from clients.wallet_row import Cap, Reservation, Row, cost_of

_LONGEST_NAME = 200


class WalletRefused(ClientError):
    """The wallet does not do what was asked, and nothing has changed."""


class OverCap(WalletRefused):
    """The reservation would pass the firm's cap: the answer is no."""

    exit_code = 1


class NoCap(WalletRefused):
    """Nothing may be spent on data for which the firm has set no cap."""


@dataclass
class Account:
    """All of one (unit, dataset): its cap, what is spent (reserved and not cancelled), and how often."""

    unit: str
    dataset: str
    cap: Cap | None = None
    total: Total = field(default_factory=Total)
    open: int = 0
    settled: int = 0
    cancelled: int = 0

    @property
    def nano_rdp(self) -> NanoRdp:
        return self.total.nano_rdp

    @property
    def epsilon_spent(self) -> float | None:
        """Epsilon of what is spent, at the cap's delta; None before a cap names a delta."""
        return None if self.cap is None else self.total.epsilon(self.cap.delta)

    def copy(self) -> Account:
        """The account as it stands now."""
        return replace(self, total=self.total.copy())


class Accounts:
    """The state of a wallet, changed only by `apply`.

    Attributes:
        accounts: by unit and dataset.
        open: reservations neither settled nor cancelled, by their row.
        kept: all that is spent: reservations that were not cancelled, by their row.
        settled: what was settled last, by unit, dataset and purpose.
        adopted: the rows of what was found to be spent elsewhere.
        compared: with how many final entries of a consortium's ledger, by its id and the firm's name there.
    """

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}
        self.open: dict[int, Reservation] = {}
        self.kept: dict[int, Reservation] = {}
        self.settled: dict[tuple[str, str, str], NanoRdp] = {}
        self.adopted: set[int] = set()
        self.compared: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._purposes: defaultdict[str, set[int]] = defaultdict(set)
        self._tables: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._tasks: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._raised: set[tuple[str, str, float, str]] = set()
        self._latest_ms = 0

    def account(self, unit: str, dataset: str) -> Account:
        """The account of `dataset` counted in `unit`; an empty one if nothing was ever recorded."""
        return self.accounts.get((unit, dataset)) or Account(unit, dataset)

    def for_purpose(self, purpose: str) -> list[Reservation]:
        """All that is spent for a purpose, whatever the account, oldest first."""
        return [self.kept[number] for number in sorted(self._purposes.get(purpose, ()))]

    def datasets_of(self, table: str) -> set[str]:
        """Under which names the records of a file have paid."""
        return set(self._tables[table]) if table in self._tables else set()

    def datasets_for(self, task: str) -> list[str]:
        """As which data sets a task of this name has paid, whatever the unit, in the order of their first rows."""
        return list(self._tasks[task]) if task in self._tasks else []

    def check(self, row: Row) -> None:
        """Raise `WalletRefused` (or `OverCap`, `NoCap`) if the row may not be written."""
        match row["do"]:
            case "cap":
                self._check_cap(row)
            case "raise":
                self._check_raise(row)
            case "reserve":
                self._check_reserve(row)
            case "adopt":
                self._check_names(row)
                cost_of(row).require_sound()
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
            case "cap" | "raise" as do:
                self._enter(row).cap = Cap(float(row["epsilon"]), float(row["delta"]))
                if do == "raise":
                    self._raised.add(_decision(row))
            case "reserve":
                self._spend(seq, row).open += 1
                self.open[seq] = self.kept[seq]
            case "adopt":
                self._spend(seq, row).settled += 1
                found = self.kept[seq]
                self.settled[found.unit, found.dataset, found.purpose] = found.nano_rdp
                self.adopted.add(seq)
            case "settle":
                done = self.open[row["reservation"]]
                self._close(row).settled += 1
                self.settled[done.unit, done.dataset, done.purpose] = done.nano_rdp
            case "cancel":
                reservation = self.open[row["reservation"]]
                account = self._close(row)
                account.cancelled += 1
                account.total.take(reservation.cost)
                del self.kept[reservation.id]
                self._purposes[reservation.purpose].discard(reservation.id)
                self._tables[reservation.occasion.table] -= Counter([reservation.dataset])
                self._tasks[reservation.task] -= Counter([reservation.dataset])
            case other:
                raise ValueError(f"unknown row {other!r}")
        self._latest_ms = max(self._latest_ms, row.get("at_ms", 0))

    def _enter(self, row: Row) -> Account:
        key = (row["unit"], row["dataset"])
        return self.accounts.setdefault(key, Account(*key))

    def _spend(self, seq: int, row: Row) -> Account:
        account = self._enter(row)
        spent = replace(Reservation.from_row(seq, row), not_before_ms=self._latest_ms)
        account.total.put(spent.cost)
        self.kept[seq] = spent
        self._purposes[spent.purpose].add(seq)
        occasion = spent.occasion
        self._tables[occasion.table][spent.dataset] += 1
        self._tasks[spent.task][spent.dataset] += 1
        who = occasion.consortium, occasion.member
        self.compared[who] = max(self.compared[who], occasion.final)
        return account

    def _close(self, row: Row) -> Account:
        reservation = self.open.pop(row["reservation"])
        account = self.accounts[reservation.unit, reservation.dataset]
        account.open -= 1
        return account

    def _check_cap(self, row: Row) -> None:
        new, old = self._new_cap(row), self.account(row["unit"], row["dataset"]).cap
        if old is not None and (new.epsilon > old.epsilon or new.delta > old.delta):
            raise WalletRefused(
                f"wallet: the cap of {row['unit']}/{row['dataset']} is {old} and may only fall, not become "
                f"{new.epsilon:g} at {new.delta:g}; an owner who means to raise epsilon says so in firm.toml: "
                f"[limits.raising] from_epsilon = {old.epsilon:g} and a reason"
            )

    def _check_raise(self, row: Row) -> None:
        new, old = self._new_cap(row), self.account(row["unit"], row["dataset"]).cap
        _check_name("reason", row["reason"])
        if old is None or old.epsilon != row["from"] or new.epsilon < old.epsilon or new.delta > old.delta:
            raise WalletRefused(
                f"wallet: the cap of {row['unit']}/{row['dataset']} is {old}: it cannot be raised from "
                f"{row['from']:g} to {new}"
            )
        if _decision(row) in self._raised:
            raise WalletRefused(
                f"wallet: the cap of {row['unit']}/{row['dataset']} is {old}: it was raised from there before, by the "
                f"decision {row['reason']!r}, which holds once; to raise it again, put a new reason into firm.toml: "
                f"[limits.raising] from_epsilon = {old.epsilon:g}"
            )

    def _new_cap(self, row: Row) -> Cap:
        _check_name("unit", row["unit"])
        _check_name("dataset", row["dataset"])
        cap = Cap(row["epsilon"], row["delta"])
        if not (math.isfinite(cap.epsilon) and cap.epsilon > 0 and 0 < cap.delta < 1):
            raise WalletRefused(
                f"wallet: a cap needs epsilon above 0 and delta between 0 and 1, not {cap.epsilon} and {cap.delta}"
            )
        return cap

    def _check_names(self, row: Row) -> None:
        for what in ("unit", "dataset", "purpose"):
            _check_name(what, row[what])

    def _check_reserve(self, row: Row) -> None:
        unit, dataset = row["unit"], row["dataset"]
        self._check_names(row)
        asked, account = cost_of(row).require_sound(), self.account(unit, dataset)
        cap = account.cap
        if cap is None:
            raise NoCap(f"wallet: no cap is set for {unit}/{dataset}, so nothing may be spent: set one first")
        together = account.total.with_(asked)
        if not together.within(cap.epsilon, cap.delta):
            before, after = (one.capped_epsilon(cap.epsilon, cap.delta) for one in (account.total, together))
            raise OverCap(
                f"wallet: {unit}/{dataset} at delta {cap.delta:g}: this would bring epsilon from {before:.4g} to "
                f"{after:.4g}, over the cap {cap.epsilon:g}; nothing was spent"
            )


def _decision(row: Row) -> tuple[str, str, float, str]:
    """What makes an owner's decision another one: the account, the cap that it raises, and why."""
    return row["unit"], row["dataset"], float(row["from"]), row["reason"]


def _check_name(what: str, value: str) -> None:
    if not (isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()):
        raise WalletRefused(f"wallet: {what} must be 1 to {_LONGEST_NAME} printable characters, not {value!r}")
