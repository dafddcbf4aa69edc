"""SuperLink's state with less to write: its own looks for dead tasks in nearly every question, and counts every byte.

Both are updates of the database, which a message of ours would cost some forty times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

CLEANS_EVERY_S = 1.0
"""Flower itself counts a task as dead after a minute without a heartbeat."""


def lighten(clock: Callable[[], float] = time.monotonic) -> None:
    """Change Flower's classes for this process, once."""
    from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
    from flwr.supercore.corestate.sql_corestate import SqlCoreState

    for kind, name in ((SqlCoreState, "_cleanup_expired_task_tokens"), (SqlLinkState, "store_traffic")):
        assert name in vars(kind), f"Flower has no {kind.__name__}.{name}"
    changed: list[tuple[Any, str, Any]] = [
        (
            SqlCoreState,
            "_cleanup_expired_task_tokens",
            seldom(vars(SqlCoreState)["_cleanup_expired_task_tokens"], clock),
        ),
        (SqlLinkState, "store_traffic", lambda *_, **__: None),  # nothing reads it
    ]
    for kind, name, value in changed:
        setattr(kind, name, value)


def seldom(method: Callable[[Any], None], clock: Callable[[], float]) -> Callable[[Any], None]:
    """The method, which does nothing when it was called less than `CLEANS_EVERY_S` ago."""
    last_s = -CLEANS_EVERY_S

    def called(self: Any) -> None:
        nonlocal last_s
        if clock() - last_s >= CLEANS_EVERY_S:
            last_s = clock()
            method(self)

    return called
