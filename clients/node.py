"""Who am I: the settings of the node that this ClientApp runs on, whatever engine runs it.

A SuperNode and our own engines hand the node's settings over as `context.node_config`. Flower's own local
simulation gives its nodes nothing but a number; there the settings come from a JSON list, indexed by that
number, in the file that the environment variable ARTESIAN_NODES names. The environment is the firm's own;
`context.run_config` is not, it is written by whoever submits the run, so it is never asked where a home is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from flwr.app import Context

from clients.errors import ClientError

NODES_VARIABLE = "ARTESIAN_NODES"

_NUMBER, _COUNT = "partition-id", "num-partitions"


class NodeUnknown(ClientError):
    """This node's settings cannot be found or read."""


def node_settings(context: Context, environment: Mapping[str, str] = os.environ) -> Mapping[str, str | int]:
    """The settings of this node: `partition-id`, `num-partitions` and what the firm gave, e.g. `home`.

    Args:
        context: as the ClientApp got it.
        environment: of this process.

    Returns:
        Settings by name; `context.node_config` itself where the firm gave any, and it alone.

    Raises:
        NodeUnknown: the file of ARTESIAN_NODES is missing, malformed, or has no entry for this node.
    """
    given: dict[str, str | int] = {key: _plain(value) for key, value in context.node_config.items()}
    path = environment.get(NODES_VARIABLE)
    if given.keys() - {_NUMBER, _COUNT} or path is None:
        return given
    try:
        nodes = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NodeUnknown(f"{NODES_VARIABLE}={path}: cannot be read as a JSON list of nodes: {error}") from error
    number = given.get(_NUMBER)
    if not isinstance(nodes, list) or not isinstance(number, int) or not 0 <= number < len(nodes):
        raise NodeUnknown(f"{NODES_VARIABLE}={path}: is no JSON list with an entry for node {number}")
    entry = nodes[number]
    if not isinstance(entry, dict) or not all(isinstance(value, str | int) for value in entry.values()):
        raise NodeUnknown(f"{NODES_VARIABLE}={path}: entry {number} must map names to texts or whole numbers")
    return {**entry, **given}


def _plain(value: bool | int | float | str) -> str | int:
    return str(value) if isinstance(value, float) else value
