"""Follow a served ledger for as long as it lives and longer: reconnect, catch up, and cosign what a witness allows."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from ledger.checkpoint import SignedCheckpoint
from ledger.errors import LedgerError, Locked
from ledger.service.client import LedgerClient, Unreachable, statement_of
from ledger.turns import PAUSE_S, take_turn
from ledger.witness import Witness

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
MIRROR_WAIT_S = 30.0
GIVE_WAY_S = 1.0
LEARN_S = 1.0
REST_AFTER_S = 0.5
WATCH_S = 0.02


@dataclass(frozen=True)
class News:
    """What has come: a checkpoint with the entries before it, a final checkpoint, or neither (a sign of life).

    Attributes:
        start: the follower's place: how many entries it has.
        entries: those from there up to the checkpoint's size.
        checkpoint: signed by the log, or empty.
        consistency: proof from the follower's place to the checkpoint.
        final: a final checkpoint with its cosignatures, or empty.
    """

    start: int
    entries: Sequence[bytes] = ()
    checkpoint: str = ""
    consistency: Sequence[bytes] = ()
    final: str = ""


class BackOff:
    """Waits that grow while nothing succeeds, with some chance in them, so that not all come back at once."""

    def __init__(
        self,
        stop: threading.Event,
        chance: Callable[[], float] = random.random,
        longest_s: float = LONGEST_WAIT_S,
    ) -> None:
        """Wait no longer than until `stop` is set, and at most `longest_s` at a time."""
        self._stop = stop
        self._chance = chance
        self._longest_s = longest_s
        self._wait_s = FIRST_WAIT_S

    def reset(self) -> None:
        """Something succeeded."""
        self._wait_s = FIRST_WAIT_S

    def wait(self, at_most_s: float) -> None:
        """Wait half to all of the present time, but not over `at_most_s`."""
        self._stop.wait(min(at_most_s, self._wait_s * (1 + self._chance()) / 2))
        self._wait_s = min(2 * self._wait_s, self._longest_s)


def follow(
    client: LedgerClient,
    start: int,
    *,
    final_size: int = 0,
    for_s: float = float("inf"),
    stop: threading.Event | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[News]:
    """News from entry `start` on, across broken connections and restarts of the service.

    A piece of news is complete: a connection that breaks in the middle of one repeats it from its start.

    Args:
        final_size: size of the final checkpoint that is known already.
        for_s: end after so many seconds.
        stop: end soon after it is set; closing the client ends at once.

    Raises:
        Unreachable: there was no answer in all of `for_s`.
        LedgerError: the service refuses, for a reason that waiting does not mend.
    """
    stop = stop or threading.Event()
    end_s, back_off, answered = monotonic() + for_s, BackOff(stop), False
    problem: Unreachable | None = None
    at, known = start, final_size
    while not stop.is_set() and monotonic() < end_s:
        try:
            for news in complete_news(client, at, known):
                answered = True
                back_off.reset()
                at = _size(news.checkpoint) or at
                known = _size(news.final) or known
                yield news
                if stop.is_set() or monotonic() >= end_s:
                    return
        except Unreachable as error:
            problem = error
            back_off.wait(end_s - monotonic())
    if problem is not None and not answered and not stop.is_set():
        raise problem


def keep_witnessing(
    witness: Witness,
    client: LedgerClient,
    *,
    stop: threading.Event,
    for_s: float = float("inf"),
    on_news: Callable[[News], None] = lambda _: None,
    on_trouble: Callable[[Unreachable], None] = lambda _: None,
) -> None:
    """Let a witness advance over everything the service brings, and hand in its cosignatures, until `stop` is set.

    A cosignature that was made and not handed in, for a crash of either side, is made again after coming back.

    Args:
        witness: it rests between the news, and when this returns.
        client: of the witness's member.
        for_s: end after so many seconds.
        on_news: called after each piece of news has been dealt with, and when what it made final has been learned
            later; never twice at a time.
        on_trouble: called when the service cannot be reached, before another try.

    Raises:
        Misbehaviour: the log has forked or broken the rules; the evidence is kept.
        WitnessRefusal, NotAllowed: the witness or the service will not go on.
        StoreError: another process keeps the mirror to itself.
    """
    end_s, back_off = time.monotonic() + for_s, BackOff(stop)
    with Held(witness, stop) as held, _Learner(held, lambda: on_news(News(witness.size))) as learner:
        while not stop.is_set() and time.monotonic() < end_s:
            try:
                # What was missed may be long: the witness reads it in portions. What comes after is short.
                line, size = held.cosigning(lambda: witness.follow(client))
                client.cosign([line], size)
                with held.awake():
                    witness.mirror.learn_from(client)
                back_off.reset()
                for news in complete_news(client, size, 0):
                    _deal_with(news, held, client)
                    with learner.one_at_a_time:
                        learner.hear(news.final)
                        on_news(news)
                    if stop.is_set() or time.monotonic() >= end_s:
                        return
            except Unreachable as error:
                on_trouble(error)
                back_off.wait(end_s - time.monotonic())
            except Locked:
                if not stop.is_set():  # else it was told to end while it waited for the mirror
                    raise


class Held:
    """A witness whose mirror is held while there is work, and rests soon after.

    Waking takes some reads, so that it does not rest between news that follow each other closely, unless another
    process of the member waits for the mirror: then it rests at once, and wakes when that one has had its turn.
    """

    def __init__(self, witness: Witness, stop: threading.Event, rest_after_s: float = REST_AFTER_S) -> None:
        """Hold `witness`; when it cannot be had for long, waiting ends with `stop`."""
        self.witness = witness
        self._stop = stop
        self._rest_after_s = rest_after_s
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._used_s = 0.0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="mirror", daemon=True)

    def __enter__(self) -> Self:
        self.witness.rest()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # not while the watcher lets the mirror rest: it would put out the sign that it waits for
            self._ended.set()
            self._awake.set()
        self._watcher.join()
        self._rest()

    @contextmanager
    def awake(self) -> Iterator[Witness]:
        """The witness, with its mirror held.

        Raises:
            StoreError: another process keeps the mirror to itself.
        """
        with self._lock:
            if not self._awake.is_set():
                self._wake()
            try:
                yield self.witness
            finally:
                self._used_s = time.monotonic()

    def cosigning(self, check: Callable[[], str]) -> tuple[str, int]:
        """The cosignature line that `check` gives, and the size of the checkpoint that it is on."""
        with self.awake() as witness:
            return check(), witness.size

    def _wake(self) -> None:
        turns, end_s = self.witness.mirror.turns, time.monotonic() + GIVE_WAY_S
        while turns.are_wanted() and time.monotonic() < end_s and not self._stop.wait(PAUSE_S):
            pass
        take_turn(turns, self.witness.wake, MIRROR_WAIT_S, sleep=self._pause)
        self._awake.set()

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Locked("told to stop while another process used the mirror")

    def _watch(self) -> None:
        while self._awake.wait() and not self._ended.wait(WATCH_S):
            idle = time.monotonic() >= self._used_s + self._rest_after_s
            if idle or self.witness.mirror.turns.are_wanted():
                self._rest()

    def _rest(self) -> None:
        with self._lock:
            if self._awake.is_set():
                self.witness.rest()
                if not self._ended.is_set():
                    self._awake.clear()


class _Learner:
    """Tells the mirror what is final: at once when little comes, once in `LEARN_S` when much does.

    The largest final checkpoint makes final what is before it, so that those in between can be left out. The last one
    before a silence is learned by a thread, for no news comes that would bring it.
    """

    def __init__(self, held: Held, on_learned: Callable[[], None]) -> None:
        """Wake the mirror by `held`; call `on_learned` after what was learned in the silence."""
        self.one_at_a_time = threading.RLock()
        self._held = held
        self._on_learned = on_learned
        self._heard = ""
        self._learned_s = float("-inf")
        self._ended = threading.Event()
        self._late = threading.Thread(target=self._learn_late, name="learner", daemon=True)

    def __enter__(self) -> Self:
        self._late.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._late.join()

    def hear(self, final: str) -> None:
        """Keep `final` (unless it is empty), and learn what is kept when it is time."""
        with self.one_at_a_time:
            self._heard = final or self._heard
            self._learn()

    def _learn(self) -> bool:
        if not self._heard or time.monotonic() < self._learned_s + LEARN_S:
            return False
        with self._held.awake() as witness:
            witness.mirror.learn(self._heard)
        self._heard, self._learned_s = "", time.monotonic()
        return True

    def _learn_late(self) -> None:
        while not self._ended.wait(LEARN_S / 2):
            # What goes wrong here goes wrong again with the next news, in the thread that can say so.
            with self.one_at_a_time, suppress(LedgerError):
                if self._learn():
                    self._on_learned()


def _deal_with(news: News, held: Held, client: LedgerClient) -> None:
    def check() -> str:
        witness = held.witness
        if witness.size != news.start:  # another process of the member has advanced the mirror meanwhile
            return witness.follow(client)
        return witness.advance(news.entries, news.checkpoint, news.consistency)

    if news.checkpoint:
        line, size = held.cosigning(check)
        client.cosign([line], size)


def complete_news(client: LedgerClient, start: int, final_size: int) -> Iterator[News]:
    """The news of one `Follow` stream from entry `start` on, each piece complete, until the service ends it.

    Raises:
        LedgerError: as the service says; `Unreachable` when the stream breaks.
    """
    at, entries = start, list[bytes]()
    for piece in client.news(start, final_size):
        entries += map(statement_of, piece.entries)
        if piece.checkpoint:
            yield News(at, entries, piece.checkpoint, list(piece.consistency))
            at, entries = _size(piece.checkpoint), []
        elif piece.final_checkpoint or not piece.entries:
            yield News(at, final=piece.final_checkpoint)


def _size(note: str) -> int:
    return SignedCheckpoint.parse(note).checkpoint.size if note else 0
