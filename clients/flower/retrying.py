"""How often Flower's clients try again when the other side does not answer: sooner than every twenty seconds."""

from __future__ import annotations

from importlib import import_module
from typing import Any

LONGEST_RETRY_S = 5
"""Who was started again after a kill listens within about as many seconds; Flower's own clients wait up to 20."""


def retry_sooner() -> None:
    """Change Flower's pauses for this process."""
    retries: Any = import_module("flwr.supercore.retry.http_retry")
    heartbeat: Any = import_module("flwr.supercore.heartbeat")

    from flwr.supercore.retry import exponential

    for module, name in ((retries, "MAX_RETRY_DELAY"), (heartbeat, "exponential")):
        assert hasattr(module, name), f"Flower has no {module.__name__}.{name}"
    retries.MAX_RETRY_DELAY = LONGEST_RETRY_S
    heartbeat.exponential = lambda **_: exponential(max_delay=LONGEST_RETRY_S)
