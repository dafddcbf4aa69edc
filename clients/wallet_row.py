"""What one row of a privacy wallet says: a mapping for JSON. Keys of before are never given another meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from clients.cost import Cost
from clients.mechanism import Mechanism
from clients.privacy import NanoRdp, check_nano_rdp

Row = Mapping[str, Any]
"""One wallet row as read from JSON; its key `do` says what it is, see `clients.accounts`."""


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
    """

    consortium: str = ""
    final: int = 0
    number: int = 0
    rounds: int = 0
    table: str = ""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(**{one.name: row[one.name] for one in fields(cls) if one.name in row})

    def to_row(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}


UNKNOWN = Occasion()


@dataclass(frozen=True)
class Reservation:
    """Privacy set aside for one purpose (a round id); `id` is the number of its row in the wallet.

    Attributes:
        at_ms: when, in milliseconds since 1970, by the firm's clock.
    """

    id: int
    unit: str
    dataset: str
    purpose: str
    cost: Cost
    occasion: Occasion = UNKNOWN
    at_ms: int = 0

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


def cost_of(row: Row) -> Cost:
    """What a row spends. Whether its mechanisms cover its nano-RDP was checked when it was written.

    Raises:
        KeyError, TypeError, ValueError, PrivacyError: it spends nothing.
    """
    return Cost(check_nano_rdp(row["rdp"]), tuple(Mechanism(*numbers) for numbers in row.get("mechanisms", ())))
