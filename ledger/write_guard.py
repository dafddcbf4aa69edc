"""Keeps a log from being written once it is out of step with its database.

That is so for good when another process has written there, and for as long as nobody has looked after a write whose
outcome was never learnt.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ledger.errors import Conflict, LedgerError, StoreError, StoreFull
from ledger.store import Store


class WriteGuard:
    """What is known of a log's own writes."""

    def __init__(self, store: Store) -> None:
        """Guard the log in `store`, which has just been read."""
        self._store = store
        self._refusal: LedgerError | None = None
        self._in_doubt = False

    @property
    def in_step(self) -> bool:
        """Whether the database is known to hold what the log holds."""
        return self._refusal is None and not self._in_doubt

    def require_in_step(self, size: int) -> None:
        """Raise what keeps a log of `size` entries from being written; look, if it is not known."""
        if self._refusal is not None:
            raise self._refusal
        if self._in_doubt:
            if self._store.size() != size:
                raise self.overtaken()
            self._in_doubt = False

    def refuse(self, error: LedgerError) -> None:
        """Refuse every later write with `error`."""
        self._refusal = error

    def overtaken(self) -> Conflict:
        """Refuse every later write with what is returned: another process has written."""
        found = Conflict(f"{self._store.name}: it holds more than this log has written; open it again")
        self.refuse(found)
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A span that writes: after it another process's write is known, or that it is not known what became of it."""
        try:
            yield
        except Conflict as error:
            self.refuse(error)
            raise
        except StoreFull:
            raise
        except StoreError:
            self._in_doubt = True
            raise
