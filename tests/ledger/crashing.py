"""Deaths of the process at every write to a store, one after the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ledger.store import Store
from ledger.transaction import Transaction


class Crash(BaseException):
    """The process is gone."""


@contextmanager
def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let the process die at the `step`-th write, before or after it is done; yields what was reached."""
    reached: list[str] = []
    for name in (
        "put_meta",
        "put_entries",
        "put_checkpoint",
        "put_cosignatures",
        "put_evidence",
        "set_aside",
        "put_snapshot",
    ):
        original: Callable[..., Any] = getattr(Transaction, name)

        def dying(self: Transaction, *args: Any, _name: str = name, _original: Any = original, **more: Any) -> Any:
            reached.append(_name)
            if len(reached) * 2 - 1 == step:
                raise Crash(_name)
            result = _original(self, *args, **more)
            if len(reached) * 2 == step:
                raise Crash(_name)
            return result

        monkeypatch.setattr(Transaction, name, dying)
    write = Store.write

    @contextmanager
    def dying_write(self: Store) -> Iterator[Transaction]:
        with write(self) as transaction:
            yield transaction
        reached.append("committed")
        if len(reached) * 2 - 1 == step:
            raise Crash("committed")

    monkeypatch.setattr(Store, "write", dying_write)
    try:
        yield reached
    finally:
        monkeypatch.undo()
