"""A ledger that another process serves, used as if it were open here: read, appended to, and waited for.

What it says of the ledger comes from a mirror of its own, which believes nobody and which a thread keeps up to date.
When the service goes away, nothing is lost and nothing doubled: what was not acknowledged is submitted again, the same
bytes, until a deadline. What passes by itself (a full disk, a list of revoked certificates that cannot be read) is
tried again for as long as this is used; meanwhile nothing is answered from a mirror that is older than `STALE_S`.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from ledger.errors import Damaged, LedgerError, Locked
from ledger.keys import SigningKey
from ledger.log import Clock
from ledger.mirror import Mirror
from ledger.note import Vkey
from ledger.rules import Refused, State, admit
from ledger.service.client import LedgerClient, Placed, Unreachable
from ledger.service.following import BackOff, News, complete_news
from ledger.source import Misbehaviour, WitnessRefusal
from ledger.statement import Statement, decode_statement

T = TypeVar("T")
REACH_S = 60.0
LONGEST_PAUSE_S = 1.0
STALE_S = 120.0
"""Without a sign of life from the service for so long, what the mirror says is not answered from any more."""
MIRRORS = 16
_FOR_EVER = (Misbehaviour, WitnessRefusal, Damaged)
"""What waiting does not mend: the ledger is another one, or the mirror is spoilt."""
log = logging.getLogger("artesian.ledger")


class NotShown(Unreachable):
    """The service has taken statements and shows no checkpoint over them."""


class Stale(Unreachable):
    """The mirror could not be brought up to date for too long to answer from it."""


class FollowerFailed(LedgerError):
    """What keeps the mirror up to date has ended by a fault in this program."""

    exit_code = 1


class ServedLedger:
    """An `ledger.open_ledger.OpenLedger` at a service. Threads may share it.

    What is read of it raises `Stale` when the service was not heard for `stale_s`.

    Attributes:
        address: `HOST:PORT` of the service.
    """

    def __init__(
        self,
        client: LedgerClient,
        mirror: Mirror,
        *,
        reach_s: float = REACH_S,
        stale_s: float = STALE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bring the mirror up to date, and keep it so until `close`. Both arguments belong to this from here on.

        Args:
            client: in the name of whoever appends.
            mirror: of this ledger; no other process may use it.
            reach_s: how long to try again when the service cannot be reached, in seconds.
            stale_s: how old what the mirror says may be, in seconds.

        Raises:
            Unreachable: it could not be in all that time.
            Misbehaviour, WitnessRefusal: the service shows another ledger than the mirror's.
        """
        self.address = client.address
        self._client, self._mirror = client, mirror
        self._reach_s, self._stale_s, self._monotonic = reach_s, stale_s, monotonic
        self._heard_s = monotonic()
        self._trouble: Exception | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._failure: LedgerError | None = None
        self._follower = threading.Thread(target=self._follow, name="ledger-mirror", daemon=True)
        try:
            self._patiently(self._catch_up)
        except BaseException:
            client.close()
            mirror.close()
            raise
        self._follower.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and give the mirror back."""
        self._stop.set()
        self._client.close()
        with self._changed:
            self._changed.notify_all()
        self._follower.join()
        self._mirror.close()

    @property
    def cid(self) -> str:
        """The consortium's id."""
        return self._mirror.state.cid

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._mirror.origin

    @property
    def size(self) -> int:
        """Number of entries mirrored."""
        self._require_fresh()
        return self._mirror.size

    @property
    def state(self) -> State:
        """What the rules make of them. Immutable."""
        self._require_fresh()
        return self._mirror.state

    @property
    def final_size(self) -> int:
        """How many entries the mirror knows to be final."""
        self._require_fresh()
        return self._mirror.final_size

    def final(self) -> str | None:
        """The largest checkpoint that the mirror knows to be final, with its cosignatures; None if there is none."""
        with self._sound():
            return self._mirror.final()

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1`; raises NoSuchEntry."""
        with self._sound():
            return self._mirror.entries(start, end)

    def index_of(self, digest: bytes) -> int | None:
        """The place of the statement with this digest, or None."""
        with self._sound():
            return self._mirror.index_of(digest)

    def receipt(self, index: int) -> bytes:
        """Proof, checkable offline, that entry `index` is on the ledger and final.

        Raises:
            NoSuchEntry, NotFinal: it is not.
            Unreachable: the service was not reached in time.
        """
        return self._patiently(lambda: self._client.receipt(index=index))[1]

    def append(self, statements: Sequence[bytes]) -> list[int]:
        """Put statements on the ledger and return their places; returns when they are mirrored here.

        Of several, all are held against the rules here before any is submitted, so that a refusal leaves none on the
        ledger, unless another caller's entry that came in between is the reason.

        Raises:
            StatementError: one cannot be read.
            Refused: one breaks a rule.
            NotAllowed: the service does not take statements from this caller.
            Unreachable: not in time; it is not known whether they were taken. Submitting them again is safe.
        """
        decoded = [decode_statement(raw) for raw in statements]
        if not decoded:
            return []
        if len(decoded) > 1:
            self._require_all_allowed(decoded)
        results = self._patiently(lambda: self._client.submit(statements))
        places = [one.index for one in results if isinstance(one, Placed)]
        if places and not self._wait(lambda: self._mirror.size > max(places), self._reach_s):
            raise NotShown(
                f"the ledger at {self.address} has taken entry {max(places)} and not shown it within "
                f"{self._reach_s:.0f} s; see that it runs"
            )
        for one in results:
            if isinstance(one, Refused):
                raise one
        return places

    def wait_final(self, size: int, for_s: float) -> bool:
        """Wait until `size` entries are final, for at most `for_s` seconds; say whether they are."""
        return self._wait(lambda: self._mirror.final_size >= size, for_s)

    def cosigned(self) -> tuple[dict[str, int], float]:
        """By active member, the size of the newest checkpoint that it cosigned, and how long the oldest entry waits.

        Seconds, 0 when all are final; see `ledger.health.Health`.

        Raises:
            Unreachable: the service was not reached in time.
        """
        health, _ = self._patiently(self._client.status)
        return dict(health.cosigned), health.waiting_s

    def _require_all_allowed(self, statements: Sequence[Statement]) -> None:
        state = self.state
        for statement in statements:
            if self.index_of(statement.digest) is None:
                state = admit(state, statement, state.size)

    def _patiently(self, call: Callable[[], T]) -> T:
        """The result of `call`, tried again while the service cannot be reached, for `reach_s` in all."""
        end_s, pauses = self._monotonic() + self._reach_s, BackOff(self._stop, longest_s=LONGEST_PAUSE_S)
        while True:
            self.require_sound()
            try:
                return call()
            except Unreachable as error:
                left_s = end_s - self._monotonic()
                if left_s <= 0 or self._stop.is_set():
                    raise Unreachable(f"{error} (tried for {self._reach_s:.0f} s)") from None
                pauses.wait(left_s)

    def _wait(self, holds: Callable[[], bool], for_s: float) -> bool:
        end_s = self._monotonic() + for_s
        with self._changed:
            while not holds():
                self.require_sound()
                left_s = end_s - self._monotonic()
                if left_s <= 0 or self._stop.is_set():
                    return False
                self._changed.wait(left_s)
            return True

    def _follow(self) -> None:
        """Keep the mirror up to date, whatever passes by itself, until `close` or until the ledger contradicts it."""
        pauses, away = BackOff(self._stop, longest_s=LONGEST_PAUSE_S), False
        while not self._stop.is_set():
            try:
                if away:
                    self._catch_up()
                    away = False
                for news in complete_news(self._client, self._mirror.size, self._mirror.final_size):
                    pauses.reset()
                    self._take(news)
            except _FOR_EVER as error:
                self._fail(error)
            except (LedgerError, OSError) as error:
                away = True
                self._troubled_by(error)
                pauses.wait(LONGEST_PAUSE_S)
            except Exception as error:
                log.exception("%s: the mirror of the ledger is not followed any more", self.address)
                why = f"the ledger at {self.address} is not followed any more: {type(error).__name__}; begin again"
                self._fail(FollowerFailed(why))

    def _troubled_by(self, error: Exception) -> None:
        """Say once what keeps the mirror from being brought up to date, other than that the service is away."""
        known, self._trouble = self._trouble, error
        if not isinstance(error, Unreachable) and (known is None or str(known) != str(error)):
            log.error("the mirror of the ledger at %s is not brought up to date: %s", self.address, error)

    def _catch_up(self) -> None:
        """Take all that is there, whatever happened since: also what a handover has changed."""
        with self._changed:
            self._mirror.follow(self._client)
            self._mirror.learn_from(self._client)
            self._heard()

    def _take(self, news: News) -> None:
        with self._changed:
            if news.checkpoint:
                self._mirror.advance(news.entries, news.checkpoint, news.consistency)
            if news.final:
                self._mirror.learn(news.final)
            self._heard()

    def _heard(self) -> None:
        self._heard_s, self._trouble = self._monotonic(), None
        self._changed.notify_all()

    def _fail(self, error: LedgerError) -> None:
        if self._stop.is_set():
            return
        with self._changed:
            self._failure = error
            self._changed.notify_all()
        self._stop.set()

    def _sound(self) -> threading.Condition:
        self._require_fresh()
        return self._changed

    def _require_fresh(self) -> None:
        self.require_sound()
        old_s = self._monotonic() - self._heard_s
        if old_s > self._stale_s:
            why = "it does not answer" if self._trouble is None else str(self._trouble)
            raise Stale(f"the ledger at {self.address} was not heard for {old_s:.0f} s: {why}")

    def require_sound(self) -> None:
        """Raise what has ended this for ever; whoever lives by it ends then, and begins again."""
        if self._failure is not None:
            raise self._failure


def own_mirror(
    folder: Path,
    log: Vkey,
    cid: str,
    clock: Clock = time.time,
    *,
    founding: str | None = None,
    seal: SigningKey | None = None,
) -> Mirror:
    """A mirror that no other process uses: the first free one of those in `folder`, which keep what they have read.

    Raises:
        Locked: all are in use.
        StoreError, Damaged, WitnessRefusal: as `ledger.mirrored.Mirrored`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(MIRRORS):
        with suppress(Locked):
            return Mirror(folder / f"ledger-{number}.db", log, cid, clock, founding=founding, seal=seal)
    raise Locked(f"{folder}: {MIRRORS} processes use its mirrors of the ledger; end one of them")
