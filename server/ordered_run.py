"""The ServerApp's side of an order: it trains by a ticket, says where it is, and stops between rounds when told to."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.errors import ClientError
from ledger.errors import LedgerError
from server.errors import ServerError
from server.run_order import RunOrder, Said, Superseded
from server.run_orders import RunOrders

LOCK = Path("run", "training.lock")
_POLL_S = 0.5


class HeldBetweenRounds(ServerError):
    """A run that stops after a whole round because it was told to; it goes on from there another time."""

    exit_code = 0


class StillTraining(ServerError):
    """Another process trains in this home: one that the SuperLink has given up, or that was started by hand."""

    exit_code = 3


class OrderedRun:
    """One run of the ServerApp by an order of the runner's. Use as a context, around all that trains.

    What goes wrong inside is told to the runner, and raised again; a run that is held between rounds ends well.
    """

    def __init__(self, orders: RunOrders, ticket: str, run_id: int, now: Callable[[], float]) -> None:
        """Claim the ticket.

        Raises:
            Superseded: this run is not wanted any more.
        """
        self._orders, self._ticket, self._now = orders, ticket, now
        self._order: RunOrder = orders.claim(ticket, run_id)
        self._held: Said | None = None
        self._completed_with = ""

    @property
    def carried_by(self) -> bytes:
        """Id of the run in the round journal that an earlier try of the order began or took up; empty without one."""
        return bytes.fromhex(self._order.carried_by)

    def begins(self, run: bytes) -> None:
        """Say which run of the round journal carries the order out, before anything of it is done.

        Raises:
            Superseded: this run is not wanted any more.
        """
        self._orders.carried_by(self._ticket, run)

    def at(self, step: str) -> None:
        """Say where a run is that has one round.

        Raises:
            Superseded: this run is not wanted any more.
        """
        self._order = self._orders.heard(self._ticket, step, 0, 1, self._now())

    def completes(self, words: str) -> None:
        """With which words the order ends when the run ends well."""
        self._completed_with = words

    def before_round(self, done: int, total: int) -> None:
        """Say that so many rounds of the run are done.

        Raises:
            HeldBetweenRounds: and no more are wanted now.
            Superseded: this run is not wanted any more.
        """
        until = self._order.until
        if until is None:
            until = total if self._order.rounds is None else min(total, done + self._order.rounds)
        wish = self._orders.wishes().get(self._order.task)
        unwanted = wish is not None and wish.wanted != "scheduled"
        if done == total:
            step = "publishing"
        else:
            step = (
                f"held after round {done} of {total}" if unwanted or done >= until else f"round {done + 1} of {total}"
            )
        self._order = self._orders.heard(self._ticket, step, done, total, self._now(), until)
        if done >= until and done < total:
            self._held = "completed"
            raise HeldBetweenRounds(f"{self._order.task}: the order's rounds are done, at round {done} of {total}")
        if wish is not None and unwanted:
            self._held = "paused"
            raise HeldBetweenRounds(f"{self._order.task}: {wish.wanted} after round {done} of {total}")

    def __enter__(self) -> OrderedRun:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is None:
            self._orders.said(self._ticket, "completed", self._completed_with)
        elif isinstance(error, HeldBetweenRounds):
            self._orders.said(self._ticket, self._held or "paused", str(error))
            return True
        elif isinstance(error, Superseded):
            pass
        elif isinstance(error, ServerError | ClientError | LedgerError):
            self._orders.said(self._ticket, "failed", str(error))
        else:
            self._orders.said(self._ticket, "failed", f"{type(error).__name__}: see the coordinator's log")
        return False


@contextmanager
def training_alone(
    home: Path,
    within_s: float = 90.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the home's lock on training. The kernel lets go of it when the process ends, however that is.

    Raises:
        StillTraining: another process holds it after `within_s`.
    """
    path = home / LOCK
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, end_s = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), clock() + within_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock() >= end_s:
                    raise StillTraining(
                        f"{home}: another process trains here and has not ended within {within_s:g} s; two at once "
                        "would end each other's masking keys"
                    ) from None
                sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)
