"""The honest sequencer: the ledger's own log on a disk that survives it, with clients that it has answered."""

from collections.abc import Callable
from typing import TypeVar

from ledger.checkpoint import CheckpointError
from ledger.errors import LedgerError
from ledger.log import Log
from ledger.receipt import Receipt, verify_receipt
from ledger.rules import LOG
from ledger.statement import decode_statement

from .cast import CID, ORIGIN, key_of, log_generation
from .clock import Clock
from .disk import Crash, Disk
from .history import History
from .observer import Commitment, Observer, body_of, require

T = TypeVar("T")


class Unreachable(LedgerError):
    """Nobody answers."""

    exit_code = 3


class Wire:
    """The log as a witness reads it: a process that dies on the way is somebody who does not answer."""

    def __init__(self, sequencer: "Sequencer") -> None:
        self._sequencer = sequencer

    def checkpoint(self) -> str:
        return _answer(self._sequencer.checkpoint())

    def final(self) -> str | None:
        return None if self._sequencer.log is None else self._sequencer.log.final()

    def entries(self, start: int, end: int) -> list[bytes]:
        return _answer(self._sequencer.ask("entries", lambda log: log.entries(start, end)))

    def consistency(self, old: int, new: int) -> list[bytes]:
        return _answer(self._sequencer.ask("consistency", lambda log: log.consistency(old, new)))


def _answer(found: T | None) -> T:
    if found is None:
        raise Unreachable("the log does not answer")
    return found


class Sequencer:
    """Runs the log, dies, comes back, and is held to what it answered.

    Attributes:
        log: its process; None while it is down.
        kind: of the log on trial.
        truth: what has been put on the ledger, as the observer wrote it down.
    """

    def __init__(self, disk: Disk, truth: History, clock: Clock, observer: Observer, kind: type[Log]) -> None:
        self.disk = disk
        self.truth = truth
        self.clock = clock
        self.log: Log | None = None
        self._observer = observer
        self.kind = kind
        self._answered: dict[bytes, int] = {}
        self._receipts: set[bytes] = set()
        self._finals: list[Commitment] = []

    @property
    def _final_size(self) -> int:
        return self._finals[-1].size if self._finals else 0

    @property
    def answered(self) -> list[bytes]:
        """The statements whose places it has told."""
        return list(self._answered)

    def start(self, at_least: int = 0) -> bool:
        """Start the process, if it does not run; say whether it does now."""
        if self.log is None:
            self.disk.doing = "open"
            try:
                log = self._open(at_least)
            except Crash:
                return self._died()
            except LedgerError as error:
                require(False, "the log does not start again", error)
            self._check_start(log)
        return True

    def stop(self, *, gently: bool = False) -> None:
        """End the process: by a signal that it obeys, or because the machine loses power."""
        if gently:
            self.ask("close", lambda log: log.close())
        self.log = None

    def submit(self, *statements: bytes) -> list[int] | None:
        """Put statements on the ledger; their places, or None when the process died or refuses."""
        places = self.ask("append", lambda log: log.append(statements))
        if places is None:
            return None
        for raw, index in zip(statements, places, strict=True):
            known = self._answered.setdefault(raw, index)
            require(known == index, "a statement sent again found another place", known, index)
        self._learn()
        return places

    def checkpoint(self) -> str | None:
        """The log's present checkpoint."""
        note = self.ask("checkpoint", self._checkpoint)
        if note is not None:
            self._learn()
            self._observer.signed(note, log_generation(self.truth.lawful_state(self.truth.size)), self.truth)
        return note

    def take(self, lines: list[str], size: int) -> None:
        """Take cosignature lines, and hold the log to what it then calls final."""
        if self.ask("cosignatures", lambda log: log.add_cosignatures(lines, size)) and self.log is not None:
            self._check_final(self.log)

    def receipt(self, raw: bytes) -> bool:
        """Ask for the receipt of a statement; whether there is one. It must hold."""
        index = self._answered[raw]
        receipt = self.ask("receipt", lambda log: log.receipt(index))
        if receipt is None or self.log is None:
            require(raw not in self._receipts or self.log is None, "a final entry lost its receipt", index)
            return False
        commitment = self._observer.commitments[body_of(Receipt.from_bytes(receipt).checkpoint)]
        require(commitment.final, "a receipt from a checkpoint that is not final", commitment)
        require(self._proves(receipt, raw, index, commitment), "a receipt does not hold", index, commitment)
        self._receipts.add(raw)
        self._observer.event("receipt", index, commitment)
        return True

    def _proves(self, receipt: bytes, raw: bytes, index: int, commitment: Commitment) -> bool:
        """Whether a receipt holds for who has the policy file that may be issued once its checkpoint is final."""
        for policy in self._observer.settled_policy(commitment):
            try:
                return verify_receipt(receipt, raw, policy).index == index
            except LedgerError as error:
                self._observer.trace(f"a receipt is refused: {error}")
        return False

    def ask(self, doing: str, question: Callable[[Log], T]) -> T | None:
        """What the process answers; None when it refuses, dies or is down."""
        if self.log is None:
            return None
        self.disk.doing = doing
        try:
            return question(self.log)
        except Crash:
            self._died()
        except LedgerError as error:
            self._observer.event(f"log refused {type(error).__name__}", error)
        return None

    def _checkpoint(self, log: Log) -> str:
        try:
            return log.checkpoint()
        except CheckpointError:
            if log.state.log is None or log.state.founding:
                raise
            log.use_key(key_of(LOG, log_generation(log.state)))  # the log has a new key since the last one
            return log.checkpoint()

    def _open(self, at_least: int) -> Log:
        if self.disk.is_blank:
            return self.kind.create(self.disk, ORIGIN, key_of(LOG), self.clock, cid=CID)  # type: ignore[arg-type]
        generation = log_generation(self.truth.lawful_state(self.truth.size)) if self.truth.size else 0
        try:
            return self._reopen(generation, at_least)
        except CheckpointError:  # it died when it had taken the entry that names the next key
            return self._reopen(generation + 1, at_least)

    def _reopen(self, generation: int, at_least: int) -> Log:
        return self.kind.open(self.disk, key_of(LOG, generation), self.clock, at_least=at_least)  # type: ignore[arg-type]

    def _died(self) -> bool:
        self._observer.event(f"crash of the log at {self.disk.died}")
        self.log = None
        return False

    def _learn(self) -> None:
        """Write down what was added."""
        if self.log is not None:
            for raw in self.log.entries(self.truth.size, self.log.size):
                self.truth.append(raw)
            require(self.truth.is_lawful, "the log took a statement that breaks the rules")

    def _check_start(self, log: Log) -> None:
        self.log = log
        self._observer.event("log started", log.size)
        require(log.size >= self.truth.size, "acknowledged entries are lost", self.truth.size, log.size)
        self._learn()
        require(log.root == self.truth.root(self.truth.size), "an acknowledged entry has changed")
        for raw, index in self._answered.items():
            require(log.index_of(decode_statement(raw).digest) == index, "an acknowledged entry is lost", index)
        require(log.final_size >= self._final_size, "a final checkpoint is lost", self._final_size, log.final_size)
        if log.final_size:
            self._check_final(log)

    def _check_final(self, log: Log) -> None:
        commitment = self._observer.commitments[body_of(log.final() or "")]
        require(commitment.final, "the log calls a checkpoint final that is not", commitment)
        if commitment not in self._finals:
            require(log.final_size >= self._final_size, "finality went back", self._final_size, log.final_size)
            self._finals.append(commitment)
