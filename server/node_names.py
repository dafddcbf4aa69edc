"""What the operator calls a node that has not proven whose it is: by the key that SuperLink knows it by.

SuperLink lets no node connect but with a key that this home registered under a member's id, so the key tells whose
refusal it is. It is not the member's signature: nothing that counts goes by it, only what is said to the operator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from ledger.errors import LedgerError
from server.engines.flower_home import FlowerHome
from server.errors import ServerError
from server.network import Network
from server.words import unknown_node

NodeNames = Callable[[], Mapping[int, str]]
"""Members' ids by Flower's ids of their nodes, as far as somebody knows."""

log = logging.getLogger("artesian.coordinator")


def no_names() -> Mapping[int, str]:
    """Of nodes that have no keys: a simulation's."""
    return {}


def registered_names(home: Path, network: Network) -> NodeNames:
    """By what SuperLink of this home says of the keys that are registered; of nobody where it never ran."""

    def ask() -> Mapping[int, str]:
        from server.engines.flower_control import FlowerControl

        if not FlowerHome(home, network).is_there:
            return {}
        try:
            return {node.node_id: node.name for node in FlowerControl(home, network).nodes() if node.name}
        except (ServerError, LedgerError) as error:
            log.warning("nodes that refuse are named by their numbers: %s", error)
            return {}

    return ask


class Labels:
    """What nodes are called in one meeting; SuperLink is asked once, and only if a node has to be called something."""

    def __init__(self, names: NodeNames) -> None:
        self._names = names
        self._known: Mapping[int, str] | None = None

    def forget(self) -> None:
        """Ask again when the next node has to be called something: others may be registered by then."""
        self._known = None

    def of(self, node: int) -> str:
        """A member's id, or the node's number."""
        if self._known is None:
            self._known = self._names()
        return self._known.get(node) or unknown_node(node)
