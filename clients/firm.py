"""A firm at home: its configuration, keys, tables, wallet, witness and masking keys, opened from one directory."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from clients.connection import CONNECTION
from clients.cost import Cost
from clients.data import Table
from clients.encryption.held_keys import HeldKeys
from clients.encryption.kept_contexts import KeptContexts
from clients.encryption.kept_vector import KeptVector
from clients.firm_config import FirmConfig, load_firm_config
from clients.firm_tasks import DeclaredTask, NotTakingPart, PrivateTask
from clients.firm_wallet import (
    allowance,
    apply_policy,
    open_wallet,
    require_one_account,
    table_of,
    wallet_to_look_at,
)
from clients.kept_reply import KeptReply
from clients.kept_sums import KeptSums
from clients.masking.answer_book import AnswerBook
from clients.masking.threshold import GroupPolicy
from clients.measuring.vectors import groups_of_records
from clients.mechanism import Mechanism
from clients.migration import state_version
from clients.noise import RandomStream
from clients.private_tables import PrivateTables, Stream
from clients.round_secrets import RoundSecrets
from clients.shared_witness import SharedWitness
from clients.tasks.credit import CreditTask
from clients.tasks.examples import Dealt, Divided, Examples
from clients.tasks.spec import load_spec
from clients.tasks.task import Task, task_for
from clients.unit_secret import unit_secret
from clients.wallet import Wallet
from clients.wallet_ledger import LedgerView, require_booked
from clients.wallet_row import Occasion, Reservation
from ledger.homes import MIRROR, Settings
from ledger.keys import SigningKey
from ledger.policy import Policy
from ledger.rules import State
from ledger.witness import Witness

__all__ = ["DeclaredTask", "Firm", "NotTakingPart", "PrivateTask", "close_firms", "open_firm"]

MIRROR_PATIENCE_S = 10.0
"""How long a message waits until the firm's live witness lets it have the mirror, or has caught up with the ledger."""


class Firm:
    """One firm's state. What is on disk stays there between messages; a table is read again when it has changed.

    Raises (on use):
        FirmConfigInvalid, TaskSpecInvalid, TableInvalid: what the operator must mend.
    """

    def __init__(self, home: Path, now: Callable[[], float] = time.time) -> None:
        """Open the firm at `home`; `now` is the clock, in seconds since 1970."""
        self.home = home
        self.now = now
        state_version(home)  # files of a later release are not for this one to write
        self.config: FirmConfig = load_firm_config(home / "firm.toml")
        # By task and held-out share or number of parts, with the examples that were divided: see `clients.held_out`.
        self.divided: dict[tuple[str, int], tuple[Examples, Divided]] = {}
        self.dealt: dict[tuple[str, int], tuple[Examples, Dealt]] = {}
        self._kept_sums: dict[str, KeptSums] = {}
        patience_s = lambda: MIRROR_PATIENCE_S if self.has_live_witness else 0.0  # noqa: E731
        self._witness = SharedWitness(self._file(MIRROR), self._open_witness, patience_s)

    @property
    def member(self) -> str:
        return self.config.member

    @property
    def in_memory(self) -> bool:
        return self.config.experiment is not None and self.config.experiment.in_memory

    @property
    def group_policy(self) -> GroupPolicy:
        """What this firm demands of a masked cohort."""
        limits = self.config.limits
        return GroupPolicy(limits.min_cohort, limits.colluders, limits.smallest_group)

    @cached_property
    def key(self) -> SigningKey:
        return SigningKey.load(self.home / "signing.pem")

    @cached_property
    def policy(self) -> Policy:
        """Which log and which witnesses this firm trusts to begin with, from its own `policy.txt`."""
        return Policy.parse((self.home / "policy.txt").read_text(encoding="utf-8"))

    @property
    def trusted(self) -> Policy:
        """Whom this firm trusts now: the members at the last checkpoint that its mirror knows to be final.

        Before the first one, those of its `policy.txt`. Members and keys change; whom to trust then is what the
        quorum of those before them has cosigned, not what a file once said.
        """
        mirror = self.witness.mirror
        return mirror.settled_policy if mirror.final_size else self.policy

    @cached_property
    def has_live_witness(self) -> bool:
        """Whether a process of its own follows the served ledger for this firm, and shares the mirror with this one."""
        return (self.home / CONNECTION).exists()

    @property
    def witness(self) -> Witness:
        """The mirror of the ledger, this process's alone until `rest` or `rest_mirror`.

        Raises:
            Locked: another process kept it, beside a live witness for `MIRROR_PATIENCE_S` seconds.
        """
        return self._witness.taken()

    def _open_witness(self) -> Witness:
        log = self.policy.logs[-1]  # a policy file keeps the log's earlier keys; the last is that of its founding
        place, config = self._file(MIRROR), self.config
        founding = config.founding or Settings.load(self.home).founding or None
        return Witness(place, self.key, self.member, log, config.cid, founding=founding)

    def rest_mirror(self) -> None:
        """Let the live witness have the mirror while this process computes; the next use of it takes it back."""
        if self.has_live_witness:
            self._witness.rest()

    @property
    def ledger(self) -> State | None:
        """What the entries of the mirror mean; None for a firm that agrees to do without a ledger."""
        return None if self.config.limits.without_ledger else self.witness.state

    @cached_property
    def wallet(self) -> Wallet:
        """The wallet to spend from, with the caps of `firm.toml`.

        Raises:
            WalletBehind, WalletDamaged, WalletUnreadable, WalletRefused: nothing may be spent until that is mended.
        """
        return open_wallet(self.home, self.config, self.declared_tasks, lambda: self.now())

    @property
    def declared_tasks(self) -> list[DeclaredTask]:
        """Every task that the firm takes part in, without a look at the tables."""
        return [self.declared(settings.name) for settings in self.config.task]

    @cached_property
    def answers(self) -> AnswerBook:
        return AnswerBook(self._file("answers.sqlite"))

    @cached_property
    def round_secrets(self) -> RoundSecrets:
        """Masking keys of the epoch and what is kept between the two trips of a round."""
        folder, most_days = self._file("masking"), self.config.limits.epoch_days
        return RoundSecrets(folder, secrets.token_bytes, lambda: self.now(), most_days)

    @property
    def holds_keys(self) -> bool:
        """Whether this firm agrees to hold keys for encrypted sums of others."""
        return self.member in self.config.limits.key_holders

    @cached_property
    def held_keys(self) -> HeldKeys:
        """The key with which this firm opens encrypted sums of others, if it is asked and agrees to."""
        return HeldKeys(None if self.in_memory else self.home / "held-keys", secrets.token_bytes)

    @cached_property
    def kept_vector(self) -> KeptVector:
        """The encrypted update that this firm is committed to and has not handed over yet."""
        return KeptVector(None if self.in_memory else self.home / "encrypted-update")

    @cached_property
    def kept_reply(self) -> KeptReply:
        """What this firm has answered in the round that it is in."""
        return KeptReply(self._file("reply"), secrets.token_bytes)

    def kept_sums(self, task: str) -> KeptSums:
        """The clipped sums of a task that the next round of correlated noise needs."""
        if task not in self._kept_sums:
            self._kept_sums[task] = KeptSums(self._file(f"sums-{task}"))
        return self._kept_sums[task]

    @cached_property
    def contexts(self) -> KeptContexts:
        """The public contexts of key holders."""
        return KeptContexts(None if self.in_memory else self.home / "contexts")

    @cached_property
    def tables(self) -> PrivateTables:
        """The tables of the firm's tasks."""
        research = self.config.experiment is not None
        secret = (lambda: b"") if research else (lambda: unit_secret(self.home))
        kept = lambda task: self._file(f"records-{task}")  # noqa: E731
        return PrivateTables(self.home, kept, secret, self._encoded, self.rest_mirror)

    def task(self, name: str, stream: Stream | None = None) -> PrivateTask:
        """A task that the firm takes part in, with its own table encoded: as it is now, or as a stream needs it.

        Raises:
            NotTakingPart: it is not in `firm.toml`.
            TableInvalid, TableUnreadable: what is wrong with the table.
            DealtOtherwise: some of the stream's records are no more in it.
        """
        return self.tables.task(self.declared(name), stream)

    def model(self, name: str) -> Task:
        """What a task that the firm takes part in computes, without a look at its table.

        Raises:
            NotTakingPart: it is not in `firm.toml`.
        """
        return task_for(self.declared(name).spec)

    def require_fits(self, name: str) -> DeclaredTask:
        """A task whose table fits its spec as it is now.

        Raises:
            NotTakingPart, TableInvalid, TableUnreadable: as `task`.
        """
        declared = self.declared(name)
        self.tables.require_fits(declared)
        return declared

    def _encoded(self, declared: DeclaredTask, table: Table) -> PrivateTask:
        task = task_for(declared.spec)
        fairness = "fairness" in self.config.limits.measurements
        groups = groups_of_records(task, table) if fairness and isinstance(task, CreditTask) else {}
        return PrivateTask(declared.settings, task, task.examples(table), groups)

    def declared(self, name: str) -> DeclaredTask:
        """A task that the firm takes part in, without a look at its table.

        Raises:
            NotTakingPart: it is not in `firm.toml`.
        """
        settings = next((one for one in self.config.task if one.name == name), None)
        if settings is None:
            raise NotTakingPart(f"{self.member} takes no part in the task {name!r}: its firm.toml does not name it")
        return DeclaredTask(settings, load_spec(self.home / settings.spec))

    def charge(
        self,
        private: PrivateTask,
        purpose: str,
        *mechanisms: Mechanism,
        number: int = 0,
        rounds: int = 0,
        measures: str = "",
    ) -> Reservation | None:
        """Reserve what releasing `mechanisms` costs every unit of the task's data set, once for a purpose.

        What a process had reserved that was ended before it settled is taken up: nothing of it has left.

        Returns:
            The reservation; None where this purpose was reserved and settled before.

        Args:
            purpose: what the wallet's row says it is for: `TASK/ROUND` for a round.
            number: the round's number in its run of `rounds`; 0 for what is no round.
            measures: what the round measures; empty for one that trains.

        Raises:
            OverCap, OverAllowance: the cap or a limit would be passed.
            CountedOtherwise, TwoNames: the data set has paid in another unit, or under another name.
            WalletBehind: the wallet lacks what the ledger shows.
        """
        final = 0
        if not self.config.limits.without_ledger:
            mirror = self.witness.mirror
            view = LedgerView(mirror.state, mirror.final_size, mirror.entries)
            final = require_booked(self.wallet, view, self.config)
        payer, cost = private.declared, Cost.of(*mechanisms)
        require_one_account(self.wallet, self.home, payer)
        table = table_of(self.home, payer.data)
        occasion = Occasion(self.config.cid, final, number, rounds, table, measures, self.member)
        return self.wallet.reserve_once(payer.unit, payer.dataset, purpose, cost, occasion)

    def charge_once(self, payer: DeclaredTask, purpose: str, cost: Cost) -> Reservation | None:
        """As `charge`, but what has been reserved for this purpose is not reserved again; None if it is settled too.

        It is not held against the ledger, which the caller has read.
        """
        require_one_account(self.wallet, self.home, payer)
        occasion = Occasion(self.config.cid, table=table_of(self.home, payer.data), member=self.member)
        return self.wallet.reserve_once(payer.unit, payer.dataset, purpose, cost, occasion)

    def rehearse_charge_once(self, payer: DeclaredTask, purpose: str, cost: Cost) -> bool:
        """Whether `charge_once` would find it paid for already; raises what that would. Changes nothing, caps included.

        Raises:
            OverCap, OverAllowance, CountedOtherwise, TwoNames: as `charge`.
        """
        with self._rehearsal(payer) as wallet:
            return wallet.reserve_once(payer.unit, payer.dataset, purpose, cost) is None

    def rehearse_charge(self, payer: DeclaredTask, *mechanisms: Mechanism, number: int = 0, rounds: int = 0) -> None:
        """Raise what `charge` would, but for what the ledger shows. Changes nothing, caps included."""
        occasion = Occasion(self.config.cid, number=number, rounds=rounds)
        with self._rehearsal(payer) as wallet:
            wallet.reserve(payer.unit, payer.dataset, "rehearsal", Cost.of(*mechanisms), occasion)

    @contextmanager
    def _rehearsal(self, payer: DeclaredTask) -> Iterator[Wallet]:
        with self.wallet_as_it_is() as kept, kept.rehearsal(allowance(self.config.limits)) as wallet:
            apply_policy(wallet, self.home, self.config.limits, self.declared_tasks)
            require_one_account(wallet, self.home, payer)
            yield wallet

    def wallet_as_it_is(self) -> Wallet:
        """The wallet to look at, beside a running client: no cap is lowered, nothing is written."""
        return wallet_to_look_at(self.home, self.config, lambda: self.now())

    def stream(self, *labels: str | int) -> RandomStream:
        """A fresh stream for noise, sampling and rounding: secure, or of the experiment's seed."""
        if self.config.experiment is None:
            return RandomStream.secure()
        return RandomStream.seeded(self.config.experiment.seed, self.member, *labels)

    def rest(self) -> None:
        """Between two messages: other processes may handle the next ones, so keep no lock and trust no memory.

        Engines run one process a message, or hand a firm's messages to any of several workers.
        """
        self._witness.rest()
        if not self.in_memory:
            self.__dict__.pop("round_secrets", None)

    def close(self) -> None:
        """Give files back. The firm must not be used afterwards."""
        self._witness.close()
        for name in ("wallet", "answers"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def _file(self, name: str) -> Path | None:
        return None if self.in_memory else self.home / name


_open: dict[str, Firm] = {}


def open_firm(home: str | os.PathLike[str], make: Callable[[Path], Firm] = Firm) -> Firm:
    """The firm at `home`, opened once per process: to read its tables for every message costs more than training."""
    asked = os.fspath(home)
    if asked not in _open:
        real = os.path.realpath(asked)
        _open[asked] = _open[real] if real in _open else make(Path(real))
        _open[real] = _open[asked]
    return _open[asked]


def close_firms() -> None:
    """Close every firm that this process has opened."""
    for firm in set(_open.values()):
        firm.close()
    _open.clear()
