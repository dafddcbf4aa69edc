"""Toy Flower apps for the engines' tests; a module of its own, so that Ray's workers can import it."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from clients.node import node_settings

client_app = ClientApp()
server_app = ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Add this node's share to the array, count its messages, and spoil what it was sent."""
    rounds = int(context.state["seen"]["rounds"]) if "seen" in context.state else 0  # type: ignore[arg-type]
    context.state["seen"] = ConfigRecord({"rounds": rounds + 1})
    number = int(context.node_config["partition-id"])
    if number == context.run_config.get("broken"):
        context.state["seen"] = ConfigRecord({"rounds": 1000})
        raise RuntimeError(f"node {number} is broken")
    (values,) = message.content["model"].to_numpy_ndarrays()  # type: ignore[union-attr]
    noise = np.random.default_rng([int(context.run_config["seed"]), number, rounds])
    share = values + noise.normal(size=values.shape)
    content = RecordDict(
        {
            "model": ArrayRecord([share]),
            "said": ConfigRecord({"rounds": rounds, "home": str(node_settings(context).get("home", ""))}),
        }
    )
    message.content["plan"]["names"].append("spoilt")  # type: ignore[union-attr, index]
    message.content["model"].clear()  # type: ignore[union-attr]
    return Message(content, reply_to=message)


@client_app.query()
def echo(message: Message, context: Context) -> Message:
    """Send back the very object that came."""
    return Message(message.content, reply_to=message)


@client_app.query("seen")
def seen(message: Message, context: Context) -> Message:
    """What this node remembers."""
    return Message(context.state, reply_to=message)


@client_app.query("worker")
def worker(message: Message, context: Context) -> Message:
    """Which process this is."""
    return Message(RecordDict({"said": MetricRecord({"pid": os.getpid()})}), reply_to=message)


@client_app.query("crash")
def crash(message: Message, context: Context) -> Message:
    """Die without a word."""
    os._exit(7)


@client_app.query("nothing")
def nothing(message: Message, context: Context) -> Message:
    """Return what is no reply."""
    return None  # type: ignore[return-value]


def content_for(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> RecordDict:
    return RecordDict({"model": ArrayRecord([values]), "plan": ConfigRecord({"names": ["a", "b"]})})


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Three rounds of plain averaging; leaves a digest of all that was said in the context."""
    values, digest, errors = np.zeros(50), hashlib.sha256(), 0
    for number in range(int(context.run_config["rounds"])):
        content = content_for(values)
        replies = list(
            grid.send_and_receive(
                [Message(content, node, "train", group_id=str(number)) for node in grid.get_node_ids()]
            )
        )
        assert content["plan"]["names"] == ["a", "b"]  # type: ignore[index]
        assert len(content["model"]) == 1
        good = [reply for reply in replies if not reply.has_error()]
        errors += len(replies) - len(good)
        arrays = [reply.content["model"].to_numpy_ndarrays()[0] for reply in good]  # type: ignore[union-attr]
        for reply, array in zip(good, arrays, strict=True):
            said = dict(reply.content["said"])
            assert said["rounds"] == number
            digest.update(f"{reply.metadata.src_node_id} {json.dumps(said)}".encode() + array.tobytes())
        values = np.mean(arrays, axis=0)
    context.state["result"] = ConfigRecord({"digest": digest.hexdigest(), "errors": errors})
