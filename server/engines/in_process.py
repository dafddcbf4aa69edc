"""The default engine: the ServerApp and every node in this process, one after the other.

No child process, no port, no file. Fast enough for a hundred firms in milliseconds a round, and what the
tests and the demo run on. A pool of threads helps only where clients wait or leave Python.
"""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from server.engines.answering import answer
from server.engines.control import RunConfig
from server.engines.grid import DirectGrid, NodeConfig, run_server_app


def run_in_process(
    server_app: ServerApp,
    client_app: ClientApp,
    nodes: Sequence[NodeConfig],
    run_config: RunConfig,
    seed: int = 0,
    *,
    workers: int = 1,
) -> Context:
    """Run both apps to the end, in this process.

    Args:
        server_app: called once with a `Grid` over `nodes`.
        client_app: called for each message, with the context of the node that it is for.
        nodes: one node_config a node, in order of partition id.
        run_config: read by both apps as `context.run_config`.
        seed: decides run and node ids. Apps draw randomness from what `run_config` gives them.
        workers: nodes called at once. With 1, the order of calls is the order of messages.

    Returns:
        The ServerApp's context, with whatever it left in `state`.

    Raises:
        EngineError: no nodes, no workers, or a message to a node that is not there.
        Exception: whatever the ServerApp raises. What a ClientApp raises becomes an error reply.
    """

    def call_node(message: Message, context: Context) -> tuple[Message, Context]:
        return answer(client_app, message, context), context

    grid = DirectGrid(nodes, run_config, call_node, seed=seed, workers=workers)
    return run_server_app(server_app, grid, run_config)
