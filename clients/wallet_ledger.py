"""A firm's wallet held against the ledger: every contribution that is final there under its name must be paid for here.

The ledger cannot be put back from an older copy, and it is the same for every machine: so it shows what a wallet has
forgotten that was restored, and what was trained with another copy of it. It does not show openings in disputes, nor
rounds that were paid for and never became final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from clients.cost import Cost
from clients.errors import ClientError
from clients.firm_config import FirmConfig
from clients.firm_wallet import Payer, require_name_kept
from clients.plan import Plan
from clients.privacy import NanoRdp
from clients.wallet import Wallet, WalletBehind
from clients.wallet_row import Occasion, Reservation
from ledger.rules import State
from ledger.statement import decode_statement

_CHUNK = 1024

PayerOf: TypeAlias = Callable[[str], Payer]
"""A task as far as it matters which account pays for it, by its name."""


class LedgerView(NamedTuple):
    """What a firm's mirror shows.

    Attributes:
        state: what its entries mean.
        final: how many of them are known to be final.
        entries: reads those from one index up to another.
    """

    state: State
    final: int
    entries: Callable[[int, int], Sequence[bytes]]


class Logged(NamedTuple):
    """One contribution of a firm to a round of a task, as the ledger has it; `at_s` by the firm's clock of then."""

    entry: int
    round_id: bytes
    task: str
    nano_rdp: NanoRdp
    at_s: int

    @property
    def purpose(self) -> str:
        """What the wallet's rows call it."""
        return purpose_of(self.task, self.round_id)


def purpose_of(task: str, round_id: bytes) -> str:
    """What the wallet's rows say that a round's spend is for."""
    return f"{task}/{round_id.hex()}"


def require_booked(wallet: Wallet, view: LedgerView, config: FirmConfig, start: int | None = None) -> int:
    """Insist that the wallet has paid for all that is final under the firm's name; returns up to which entry.

    Args:
        start: the first entry to look at; None for what the wallet's rows do not say was compared before.

    Raises:
        WalletBehind: it has not.
    """
    begin = wallet.compared(config.cid, config.member) if start is None else start
    missing = unbooked(wallet, view, config.member, begin)
    if missing:
        first, many = missing[0], len(missing)
        raise WalletBehind(
            f"wallet: the ledger shows {many} contribution{'s' * (many > 1)} of {config.member} that it has no row of, "
            f"the first at entry {first.entry}, to round {first.round_id.hex()} of {first.task}: it was put back from "
            "an older copy, or another machine trains in this firm's name; artesian firm wallet-adopt books them"
        )
    return view.final


def unbooked(wallet: Wallet, view: LedgerView, member: str, start: int = 0) -> list[Logged]:
    """The firm's final contributions from entry `start` on that the wallet has not paid for, oldest first."""
    found = [one for one in _contributions(view, member, start) if any(one.nano_rdp)]
    paid = wallet.spent_for([one.purpose for one in found])
    return [one for one in found if any(map(int.__gt__, one.nano_rdp, paid[one.purpose]))]


def adopt_unbooked(wallet: Wallet, view: LedgerView, config: FirmConfig, payer: PayerOf) -> int:
    """Book what `unbooked` finds, for the tasks' data sets of now; returns how much that was.

    Args:
        payer: finds which account pays for a task.

    Raises:
        NotTakingPart: a task is in `firm.toml` no more, so that nobody can say whose records have paid.
        TwoNames: a task has paid as another data set than it would now.
    """
    missing = unbooked(wallet, view, config.member)
    for task in dict.fromkeys(one.task for one in missing):
        require_name_kept(wallet, payer(task))  # before anything is booked
    return wallet.adopt((_spend(one, view, config, payer), f"ledger entry {one.entry}") for one in missing)


def _spend(one: Logged, view: LedgerView, config: FirmConfig, payer: PayerOf) -> Reservation:
    known = view.state.rounds.get(one.round_id)
    assert known is not None, "the rules admit no contribution to a round that is not there"
    payload = decode_statement(view.entries(known.index, known.index + 1)[0]).payload
    cost, occasion = Cost(one.nano_rdp), Occasion(config.cid, member=config.member)
    with suppress(ClientError):  # a plan that this release cannot read: its nano-RDP stands
        plan = Plan.from_map(payload["plan"])
        occasion = replace(occasion, number=plan.number, rounds=plan.rounds, measures=plan.measures)
        mechanism = plan.round_mechanism()
        if mechanism is not None and mechanism.rdp() == one.nano_rdp:
            cost = Cost(one.nano_rdp, (mechanism,))
    paying = payer(one.task)
    return Reservation(0, paying.unit, paying.dataset, one.purpose, cost, occasion, one.at_s * 1000)


def _contributions(view: LedgerView, member: str, start: int) -> Iterator[Logged]:
    name = member.encode()
    for first in range(start, view.final, _CHUNK):
        for entry, raw in enumerate(view.entries(first, min(first + _CHUNK, view.final)), first):
            if name not in raw:  # most entries are others'
                continue
            statement = decode_statement(raw)
            payload = statement.payload
            if payload["t"] == "contribution" and statement.issuer == member:
                known = view.state.rounds.get(payload["round"])
                assert known is not None, "the rules admit no contribution to a round that is not there"
                yield Logged(entry, known.id, known.task, tuple(payload["rdp"]), payload["ts"])
