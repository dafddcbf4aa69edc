"""The Flower ClientApp of a firm: hands each message to the firm at this node and sends its answer or refusal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients import encrypted_sums, introduction, participation, taking, validation
from clients.dialect import SPOKEN, Dialect
from clients.disclosure import Handler, Leaving, refuse, reply, told
from clients.errors import ClientError
from clients.firm import Firm, open_firm
from clients.key_setup import end_stale_epoch
from clients.measuring import handler as measuring
from clients.memory import out_of_memory
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
    REVEAL,
    TRAIN,
    VALIDATE,
    WITNESS,
    trace_of,
    unpack,
    version_of,
)
from clients.node import node_settings
from clients.pacing import paced
from clients.refusal_log import RefusalLog, RefusalsUnreadable, round_of
from clients.round_end import end_stale_reply
from clients.tracing import asked
from ledger.errors import LedgerError

log = logging.getLogger("artesian.firm")

HANDLERS: Mapping[str, Handler] = {
    PAIR: participation.pair,
    WITNESS: introduction.witness,
    RELEASE: taking.deliver,
    TRAIN: participation.train,
    MEASURE: measuring.measure,
    OPEN: participation.open_sum,
    VALIDATE: validation.validate,
    HOLD: encrypted_sums.hold,
    KEY: encrypted_sums.take_key,
    REVEAL: encrypted_sums.reveal,
    CHECK: encrypted_sums.check,
    DECRYPT: encrypted_sums.decrypt,
}
"""Who answers each kind of message but `query.hello`, which says in which versions this program speaks the others."""


def _respond(spoken: Dialect, kind: str, handler: Handler, message: Message, context: Context) -> Message:
    """Answer one message; whatever goes wrong becomes a refusal that tells no secrets."""
    request, firm = dict[str, Any](), None
    try:
        version = spoken.version(kind, version_of(message.content))
        fields = unpack(message.content, spoken.schema("request", kind, version), kind, version)
        request = spoken.raised("request", kind, fields, version)
        home = node_settings(context).get("home")
        if not isinstance(home, str):
            raise ClientError("this node has no firm: start its SuperNode with --node-config \"home='/path'\"")
        firm = open_firm(home)
        with paced(firm):
            try:
                end_stale_epoch(firm)
                end_stale_reply(firm)
                encrypted_sums.end_stale_key(firm)
                with asked(trace_of(message.content), kind, member=firm.member):
                    return reply(message, handler(firm, request), spoken, version)
            finally:
                firm.rest()
    except (ClientError, LedgerError) as error:
        log.warning("%s refused: %s", kind, error, extra=_about(firm, request))
        _note(firm, kind, request, error)
        return refuse(message, error)
    except Exception as error:
        log.exception("%s failed", kind, extra=_about(firm, request))
        why = out_of_memory(error) or error
        _note(firm, kind, request, why)
        return refuse(message, why)


def _about(firm: Firm | None, request: Mapping[str, Any]) -> dict[str, str]:
    """What a line of the log says beside its text."""
    return {} if firm is None else {"member": firm.member, "round": round_of(request).hex()}


def _note(firm: Firm | None, kind: str, request: Mapping[str, Any], error: Exception) -> None:
    """Write a refusal down for the firm's operator, who may know more than is told."""
    if firm is None or firm.in_memory:
        return
    try:
        RefusalLog(firm.home).note(kind, round_of(request), told(error)[0], str(error))
    except RefusalsUnreadable as trouble:
        log.warning("%s", trouble)


def make_app(spoken: Dialect = SPOKEN, handlers: Mapping[str, Handler] = HANDLERS) -> ClientApp:
    """A ClientApp that speaks these versions of the messages and answers these kinds, and `query.hello`."""
    made = ClientApp()

    def hello(firm: Firm, request: Mapping[str, Any]) -> Leaving:
        return introduction.hello(firm, request, spoken.span)

    groups: Mapping[str, Callable[[str], Callable[[Callable[[Message, Context], Message]], object]]] = {
        "query": made.query,
        "train": made.train,
    }
    for kind, handler in {HELLO: hello, **handlers}.items():
        group, action = kind.split(".")
        groups[group](action)(partial(_respond, spoken, kind, handler))
    return made


app = make_app()
