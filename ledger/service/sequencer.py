"""One thread owns the log: many callers' statements become durable together, and one bad one stops only itself.

Every use of the log goes through this thread, in turns: a turn takes what is waiting, appends all statements in
one transaction, adds cosignatures, makes a checkpoint when one is due, tells what has changed, and then answers
what was asked. When nothing is waiting, the thread audits what the start left unaudited.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ledger.errors import Conflict, LedgerError, StoreError, Unreachable
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.rules import State
from ledger.service.batch import Outcome, append_each, cosign_each
from ledger.service.board import View
from ledger.service.gathering import Gathering
from ledger.service.limits import Settings
from ledger.statement import Statement

T = TypeVar("T")

# Somebody else writes, or the session that holds the sequencer's lock is gone: no later write can succeed.
_FATAL = (Conflict, Unreachable)


class Overloaded(LedgerError):
    """More calls are waiting for the log than it takes; come back later."""

    exit_code = 3


class Stopped(LedgerError):
    """The sequencer has stopped and takes nothing more."""

    exit_code = 3


@dataclass(frozen=True)
class _Submit:
    statements: Sequence[Statement]
    done: "Future[list[Outcome]]"


@dataclass(frozen=True)
class _Cosign:
    lines: Sequence[str]
    size: int
    done: "Future[bool]"


@dataclass(frozen=True)
class _Ask:
    question: Callable[[Log], Any]
    done: "Future[Any]"


class Sequencer:
    """The owner of a log. Its methods may be called from any thread."""

    def __init__(
        self,
        log: Log,
        key: SigningKey,
        settings: Settings,
        *,
        next_key: SigningKey | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Own `log` from now on; nobody else may use it.

        Args:
            key: the log's present signing key, with which it was opened.
            next_key: the key that the log changes to when a `rotate` record for it is appended.
            monotonic: seconds from any start, for the times between checkpoints.
        """
        self.origin = log.origin
        self.key = key
        """Signs promises: the log's key now."""
        self._log = log
        self._settings = settings
        self._next_key = next_key
        self._monotonic = monotonic
        self._jobs: queue.Queue[_Submit | _Cosign | _Ask | None] = queue.Queue(settings.max_pending)
        self._listener: Callable[[View], None] = lambda _: None
        self._on_stop: Callable[[], None] = lambda: None
        self._note, self._noted_size = "", 0
        self._checkpointed_s = float("-inf")
        self._gathering: Gathering[_Cosign] = Gathering(settings.gather_s, monotonic)
        self._auditing = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self.view = View(log.state)
        """What stood after the latest turn."""
        self.failure: Exception | None = None
        """What stopped the sequencer before it was told to."""

    @property
    def state(self) -> State:
        """What the rules make of all durable entries: never older than an answer that was given."""
        return self._log.state

    def start(self, listener: Callable[[View], None], on_stop: Callable[[], None]) -> None:
        """Make the first checkpoint and take jobs. Both functions are called from the sequencer's thread.

        Args:
            listener: called with what has changed after each turn.
            on_stop: called once when the sequencer has stopped, for whatever reason.

        Raises:
            LedgerError: the log's state cannot be committed to; nothing was started.
        """
        self._listener, self._on_stop = listener, on_stop
        self._checkpoint()
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn at hand, refuse what still waits, sign what is durable, and give the log back."""
        self._closing.set()
        with contextlib.suppress(queue.Full):  # a full queue keeps the thread awake anyway
            self._jobs.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join()
            if self.failure is None:
                with contextlib.suppress(LedgerError):  # the next start signs it; a copy made before that lacks it
                    self._log.checkpoint()
        self._log.close()

    def submit(self, statements: Sequence[Statement]) -> "Future[list[Outcome]]":
        """Have statements put on the ledger; the outcomes come in their order when they are durable.

        The future raises `StoreError` when nothing could be written.

        Raises:
            Overloaded, Stopped: not taken.
        """
        job = _Submit(statements, Future())
        self._enter(job)
        return job.done

    def cosign(self, lines: Sequence[str], size: int) -> "Future[bool]":
        """Have cosignature lines kept on the checkpoint at `size`; says whether it is final then."""
        job = _Cosign(lines, size, Future())
        self._enter(job)
        return job.done

    def ask(self, question: Callable[[Log], T]) -> "Future[T]":
        """Have `question` answered by the log, between turns. It must be quick, and change no entries."""
        done: Future[T] = Future()
        self._enter(_Ask(question, done))
        return done

    def _enter(self, job: _Submit | _Cosign | _Ask) -> None:
        if self._closing.is_set():
            raise Stopped("the ledger's sequencer has stopped; try again when it is back")
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise Overloaded("too many calls are waiting for the ledger; try again in a second") from None

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._turn(self._take())
        except Exception as error:  # whatever it is, going on could fork the history: fail closed
            self.failure = error
        finally:
            self._closing.set()
            self._refuse_all()
            self._on_stop()

    def _take(self) -> list[_Submit | _Cosign | _Ask]:
        """What is waiting, up to a batch; waits for something unless there is other work to do."""
        jobs: list[_Submit | _Cosign | _Ask] = []
        statements = 0
        wait_s = self._may_wait_s()
        try:
            job = self._jobs.get(wait_s > 0, wait_s if wait_s < float("inf") else None)
            while job is not None:
                jobs.append(job)
                statements += len(job.statements) if isinstance(job, _Submit) else 0
                if statements >= self._settings.max_batch or len(jobs) >= self._settings.max_pending:
                    break
                job = self._jobs.get_nowait()
        except queue.Empty:
            pass
        return jobs

    def _may_wait_s(self) -> float:
        if self._auditing:
            return 0.0
        wait_s = self._gathering.wait_s()
        if self._log.size > self._noted_size and not self._log.state.founding:
            due_s = self._checkpointed_s + self._settings.checkpoint_s
            return min(wait_s, max(0.0, due_s - self._monotonic()))
        return wait_s

    def _turn(self, jobs: Sequence[_Submit | _Cosign | _Ask]) -> None:
        idle = not jobs
        at_hand = self._with_cosignatures_due([job for job in jobs if job.done.set_running_or_notify_cancel()])
        answers: list[Callable[[], None]] = []
        try:
            answers += self._append([job for job in at_hand if isinstance(job, _Submit)])
            answers += self._cosign([job for job in at_hand if isinstance(job, _Cosign)])
            self._checkpoint()
            self._look()
            _call(answers)  # only now: whoever hears that something is final must find it told
            for job in at_hand:
                if isinstance(job, _Ask):
                    self._answer(job)
            if idle:
                self._auditing = self._auditing and self._log.audit_some(self._settings.audit_s)
        except Exception:
            _call(answers)  # what is durable stays so
            stopped = Stopped("the ledger's sequencer has stopped; it is not known whether this was done: ask again")
            for job in at_hand:
                if not job.done.done():
                    job.done.set_exception(stopped)
            raise

    def _with_cosignatures_due(self, jobs: Sequence[_Submit | _Cosign | _Ask]) -> list[_Submit | _Cosign | _Ask]:
        for job in jobs:
            if isinstance(job, _Cosign):
                self._gathering.add(job)
        due = self._gathering.take(self._log.state.voters)
        return [*(job for job in jobs if not isinstance(job, _Cosign)), *due]

    def _append(self, jobs: Sequence[_Submit]) -> list[Callable[[], None]]:
        """Have statements appended; returns what answers those who gave them."""
        if not jobs:
            return []
        statements = [statement for job in jobs for statement in job.statements]
        try:
            outcomes = iter(append_each(self._log, statements))
        except _FATAL:
            raise
        except StoreError as error:  # nothing was written, and the log is as it was
            return [partial(job.done.set_exception, error) for job in jobs]
        self._follow_key()
        return [partial(job.done.set_result, [next(outcomes) for _ in job.statements]) for job in jobs]

    def _cosign(self, jobs: Sequence[_Cosign]) -> list[Callable[[], None]]:
        """Have cosignatures kept; returns what answers those who gave them."""
        answers: list[Callable[[], None]] = []
        for job, outcome in zip(jobs, cosign_each(self._log, [(job.lines, job.size) for job in jobs]), strict=True):
            if isinstance(outcome, _FATAL):
                raise outcome
            if isinstance(outcome, LedgerError):
                answers.append(partial(job.done.set_exception, outcome))
            else:
                answers.append(partial(job.done.set_result, outcome))
        return answers

    def _checkpoint(self) -> None:
        """Sign what is durable, if it is time."""
        log, now_s = self._log, self._monotonic()
        due = now_s >= self._checkpointed_s + self._settings.checkpoint_s
        if log.size <= self._noted_size or log.state.founding or not due:
            return
        try:
            note = log.checkpoint()
        except _FATAL:
            raise
        except StoreError:  # the entries are safe; the checkpoint is made when there is room again
            self._checkpointed_s = now_s + 1.0
            return
        self._checkpointed_s = now_s
        self._note, self._noted_size = note, log.size

    def _follow_key(self) -> None:
        """Sign with the key that the ledger names now; without it the next checkpoint fails, and the log stops."""
        named = self._log.state.log
        if named is not None and self._next_key is not None and named.key == self._next_key.public.ed25519:
            self._log.use_key(self._next_key)
            self.key, self._next_key = self._next_key, None

    def _look(self) -> None:
        """Tell what has changed."""
        log = self._log
        settled = None if log.state.founding else log.settled
        view = View(log.state, self._note, self._noted_size, log.final() or "", log.final_size, settled)
        if view.state is not self.view.state or (view.checkpoint, view.final) != (
            self.view.checkpoint,
            self.view.final,
        ):
            self.view = view
            self._listener(view)

    def _answer(self, job: _Ask) -> None:
        try:
            answer = job.question(self._log)
        except LedgerError as error:
            job.done.set_exception(error)
        else:
            job.done.set_result(answer)

    def _refuse_all(self) -> None:
        stopped = Stopped("the ledger's sequencer has stopped; try again when it is back")
        for waiting in self._gathering.take_all():
            waiting.done.set_exception(stopped)
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None and job.done.set_running_or_notify_cancel():
                job.done.set_exception(stopped)


def _call(answers: list[Callable[[], None]]) -> None:
    """Give each answer once."""
    while answers:
        answers.pop(0)()
