"""The Flower ClientApp of a firm: hands each message to the firm at this node and sends its answer or refusal."""

from __future__ import annotations

import logging

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients import encrypted_sums, participation, taking, validation
from clients.disclosure import Handler, refuse, reply
from clients.errors import ClientError
from clients.firm import open_firm
from clients.key_setup import end_stale_epoch
from clients.measuring import handler
from clients.messages import (
    CHECK,
    DECRYPT,
    HELLO,
    HOLD,
    KEY,
    MEASURE,
    OPEN,
    PAIR,
    RELEASE,
    REQUESTS,
    REVEAL,
    TRAIN,
    VALIDATE,
    WITNESS,
    unpack,
)
from clients.node import node_settings
from clients.pacing import paced
from clients.round_end import end_stale_reply
from ledger.errors import LedgerError

log = logging.getLogger("artesian.firm")
app = ClientApp()


def _respond(message: Message, context: Context, kind: str, handler: Handler) -> Message:
    """Answer one message; whatever goes wrong becomes a refusal that tells no secrets."""
    try:
        request = unpack(message.content, REQUESTS[kind], kind)
        home = node_settings(context).get("home")
        if not isinstance(home, str):
            raise ClientError("this node has no firm: start its SuperNode with --node-config \"home='/path'\"")
        firm = open_firm(home)
        with paced(firm):
            try:
                end_stale_epoch(firm)
                end_stale_reply(firm)
                encrypted_sums.end_stale_key(firm)
                return reply(message, handler(firm, request))
            finally:
                firm.rest()
    except (ClientError, LedgerError) as error:
        log.warning("%s refused: %s", kind, error)
        return refuse(message, error)
    except Exception as error:
        log.exception("%s failed", kind)
        return refuse(message, error)


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Who are you?"""
    return _respond(message, context, HELLO, participation.hello)


@app.query("pair")
def pair(message: Message, context: Context) -> Message:
    """Set up pair secrets for an epoch."""
    return _respond(message, context, PAIR, participation.pair)


@app.query("witness")
def witness(message: Message, context: Context) -> Message:
    """Mirror, replay and cosign the ledger."""
    return _respond(message, context, WITNESS, participation.witness)


@app.query("release")
def release(message: Message, context: Context) -> Message:
    """Take a published model."""
    return _respond(message, context, RELEASE, taking.deliver)


@app.train("update")
def train(message: Message, context: Context) -> Message:
    """Train and contribute to a round."""
    return _respond(message, context, TRAIN, participation.train)


@app.train("measure")
def measure(message: Message, context: Context) -> Message:
    """Take part in a measurement."""
    return _respond(message, context, MEASURE, handler.measure)


@app.train("open")
def open_round(message: Message, context: Context) -> Message:
    """Help to open a round's sum."""
    return _respond(message, context, OPEN, participation.open_sum)


@app.train("validate")
def validate(message: Message, context: Context) -> Message:
    """Vote on the opened groups of a round."""
    return _respond(message, context, VALIDATE, validation.validate)


@app.query("hold")
def hold(message: Message, context: Context) -> Message:
    """Make a key for encrypted sums of others."""
    return _respond(message, context, HOLD, encrypted_sums.hold)


@app.query("key")
def key(message: Message, context: Context) -> Message:
    """Take the public key of a key holder."""
    return _respond(message, context, KEY, encrypted_sums.take_key)


@app.train("reveal")
def reveal(message: Message, context: Context) -> Message:
    """Hand over an encrypted update that this firm is committed to."""
    return _respond(message, context, REVEAL, encrypted_sums.reveal)


@app.train("check")
def check(message: Message, context: Context) -> Message:
    """Compute a piece of an encrypted sum."""
    return _respond(message, context, CHECK, encrypted_sums.check)


@app.train("decrypt")
def decrypt(message: Message, context: Context) -> Message:
    """Open an encrypted sum."""
    return _respond(message, context, DECRYPT, encrypted_sums.decrypt)
