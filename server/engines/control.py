"""What the coordinator asks of its running SuperLink: which nodes may connect and are there, and which runs go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from server.engines import EngineError

ConfigValue = bool | int | float | str
RunConfig = Mapping[str, ConfigValue]
"""What every app of a run reads as `context.run_config`."""


class RunUnknown(EngineError):
    """SuperLink knows no run of this number: its database is not the one that the run was begun in."""


@dataclass(frozen=True)
class Node:
    """A SuperNode whose key is registered.

    Attributes:
        name: the member's id, given when it was registered.
        node_id: Flower's number for it.
        online: whether Flower counts it as connected now.
        last_seen_s: seconds since 1970 of its last heartbeat; None if it never connected.
        public_key: the key (OpenSSH public key text, without a comment); empty where SuperLink tells none.
    """

    name: str
    node_id: int
    online: bool
    last_seen_s: float | None
    public_key: bytes = b""


RunPhase = Literal["pending", "running", "completed", "failed", "stopped"]


@dataclass(frozen=True)
class RunStatus:
    """A run of the ServerApp as Flower sees it.

    Attributes:
        run_id: Flower's number.
        phase: where it stands; the last three are ends.
        detail: what Flower says of the end.
    """

    run_id: int
    phase: RunPhase
    detail: str = ""


class Control(Protocol):
    """A SuperLink's Control API. Every method raises `EngineUnreachable` when it does not answer."""

    def register(self, name: str, public_key: bytes) -> None:
        """Let the SuperNode with this key (OpenSSH public key text) connect; again with the same key does nothing."""
        ...

    def unregister(self, name: str) -> None:
        """Never let this member's present SuperNode key connect again; one that is unknown does nothing."""
        ...

    def nodes(self) -> list[Node]:
        """Every registered node."""
        ...

    def submit(self, run_config: RunConfig) -> int:
        """Start a run of the coordinator's own, installed app; returns its number."""
        ...

    def run(self, run_id: int) -> RunStatus:
        """How a run stands.

        Raises:
            RunUnknown: there is no such run.
        """
        ...

    def stop(self, run_id: int) -> None:
        """Stop a run; one that has ended stays as it is.

        Raises:
            RunUnknown: there is no such run.
        """
        ...
