"""When a firm answers: at steps of its own clock, if its operator wants that, since how long it took tells how much."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clients.firm import Firm

Clock = Callable[[], float]
Sleep = Callable[[float], None]


@contextmanager
def paced(firm: Firm, now: Clock = time.monotonic, sleep: Sleep = time.sleep) -> Iterator[None]:
    """Leave only when a whole number of the firm's steps has passed since it was entered, come an answer or a refusal.

    What is told then is how many steps it took, and no more.

    Args:
        now: seconds of a clock that never goes back.
    """
    step_s, began_s = firm.config.limits.answer_step_s, now()
    try:
        yield
    finally:
        if step_s:
            sleep(step_s - (now() - began_s) % step_s)
