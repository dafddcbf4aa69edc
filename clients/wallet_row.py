"""What one row of a privacy wallet says: a mapping for JSON. Keys of before are never given another meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

from clients.cost import Cost
from clients.mechanism import Mechanism
from clients.privacy import NanoRdp, check_nano_rdp

Row = Mapping[str, Any]
"""One wallet row as read from JSON; its key `do` says what it is, see `clients.accounts`."""

_RDP = '"rdp":['


@dataclass(frozen=True)
class Cap:
    """The most that may ever be spent on one (unit, dataset): `epsilon` in nats at failure `delta`."""

    epsilon: float
    delta: float

    def __str__(self) -> str:
        return f"epsilon {self.epsilon:g} at delta {self.delta:g}"


@dataclass(frozen=True)
class Occasion:
    """When and on what something was spent, as far as it is known; rows leave out what is not.

    Attributes:
        consortium: its id.
        final: entries of that consortium's ledger that were final, and with which the wallet had been compared.
        number: the round's number in its run, from 1; 0 if it was no round.
        rounds: how many rounds the run was to have.
        table: the file that the records were read from.
        measures: what the round measured; empty for one that trained.
        member: under which name the firm took part: several of one owner may share a wallet.
    """

    consortium: str = ""
    final: int = 0
    number: int = 0
    rounds: int = 0
    table: str = ""
    measures: str = ""
    member: str = ""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})

    def to_row(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}


UNKNOWN = Occasion()


@dataclass(frozen=True)
class Reservation:
    """Privacy set aside for one purpose (a round id); `id` is the number of its row in the wallet.

    Attributes:
        at_ms: when, in milliseconds since 1970, by the firm's clock.
        not_before_ms: the latest time of the rows before it in its wallet.
    """

    id: int
    unit: str
    dataset: str
    purpose: str
    cost: Cost
    occasion: Occasion = UNKNOWN
    at_ms: int = 0
    not_before_ms: int = 0

    @classmethod
    def from_row(cls, number: int, row: Row) -> Self:
        """Read a row that spends.

        Raises:
            KeyError, TypeError, ValueError, PrivacyError: it is none.
        """
        names = row["unit"], row["dataset"], row["purpose"]
        return cls(number, *names, cost_of(row), Occasion.from_row(row), row.get("at_ms", 0))

    def to_row(self, do: str) -> dict[str, Any]:
        """The row, without its number and its time."""
        named = [[one.noise_micro, one.sampling_micro, one.steps] for one in self.cost.mechanisms]
        return {
            "do": do,
            "unit": self.unit,
            "dataset": self.dataset,
            "purpose": self.purpose,
            "rdp": list(self.cost.nano_rdp),
            **({"mechanisms": named} if named else {}),
            **self.occasion.to_row(),
        }

    @property
    def nano_rdp(self) -> NanoRdp:
        return self.cost.nano_rdp

    @property
    def task(self) -> str:
        """Of which task, by its purpose: `TASK/ROUND` or `opening/TASK/ROUND`; empty if it names none."""
        return self.purpose.rpartition("/")[0].rpartition("/")[2]

    @property
    def dated_ms(self) -> int:
        """When, also where a clock was put back or never set: no earlier than any row before."""
        return max(self.at_ms, self.not_before_ms)


def read_row(body: str) -> Row:
    """A row from its JSON. Its nano-RDP, most of it and the same in most rows, is read once for all of them.

    Raises:
        ValueError: it is no JSON.
    """
    before, key, rest = body.partition(_RDP)  # within a text the quotes would be escaped
    numbers, end, after = rest.partition("]")
    if not end:
        row: Row = json.loads(body)
        return row
    return {**json.loads(f"{before}{key}]{after}"), "rdp": _numbers(numbers)}


@lru_cache(maxsize=1024)
def _numbers(text: str) -> tuple[int, ...]:
    return tuple(json.loads(f"[{text}]"))


def cost_of(row: Row) -> Cost:
    """What a row spends. Whether its mechanisms cover its nano-RDP was checked when it was written.

    Raises:
        KeyError, TypeError, ValueError, PrivacyError: it spends nothing.
    """
    return Cost(check_nano_rdp(row["rdp"]), tuple(_mechanism(*numbers) for numbers in row.get("mechanisms", ())))


_mechanism = lru_cache(maxsize=1024)(Mechanism)  # most rows name the same
