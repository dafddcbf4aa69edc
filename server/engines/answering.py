"""One node answers one message: call the ClientApp the way a SuperNode's child process does.

Nothing is shared between the two sides. Flower's arrays are immutable bytes, so copying the containers
(records, lists) is enough to make every message private to its receiver, at microseconds a message and
without serialising megabytes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any, cast

from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode

logger = logging.getLogger(__name__)

ClientAppCallable = Callable[[Message, Context], Message]
"""A Flower `ClientApp`, or anything that is called like one."""


def private_records(records: RecordDict) -> RecordDict:
    """A copy of `records` that shares only immutable values with them."""
    mine = records.copy()
    for name, record in records.items():
        mine[name] = _private_arrays(record) if isinstance(record, ArrayRecord) else _private_values(record)
    return mine


def _private_arrays(record: ArrayRecord) -> ArrayRecord:
    mine = record.copy()
    for key, array in record.items():
        mine[key] = copy.copy(array)  # the object is mutable, the bytes that it holds are not
    return mine


def _private_values(record: MetricRecord | ConfigRecord) -> MetricRecord | ConfigRecord:
    mine: Any = record.copy()
    for key, value in record.items():
        if isinstance(value, list):
            mine[key] = list(value)
    return cast(MetricRecord | ConfigRecord, mine)


def private_message(message: Message) -> Message:
    """A copy of `message` that shares only immutable values with it."""
    metadata = copy.copy(message.metadata)
    if message.has_error():
        return make_message(metadata, error=message.error)
    return make_message(metadata, content=private_records(message.content))


def failure(message: Message, code: int, reason: str) -> Message:
    """The reply that tells the sender of `message` why there is no answer."""
    return Message(Error(code=code, reason=reason), reply_to=message)


def answer(client_app: ClientAppCallable, message: Message, context: Context) -> Message:
    """The node's reply; `context.state` keeps what the app wrote, unless the app raised.

    Args:
        client_app: called once, with `message` as it is: give it one that is already the node's own.
        message: as delivered to the node.
        context: the node's own; changed in place.

    Returns:
        The app's reply, or an error reply with Flower's code and Flower's wording (the exception's type
        and text: an app that holds secrets must catch its own exceptions).
    """
    before = private_records(context.state)
    try:
        reply = client_app(message, context)
        if not isinstance(reply, Message) or reply.metadata.reply_to_message_id != message.metadata.message_id:
            raise TypeError("a ClientApp must return Message(..., reply_to=message)")
    except Exception as error:
        context.state = before
        logger.warning("node %d: the ClientApp raised", context.node_id, exc_info=True)
        return failure(message, ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{type(error)}:<'{error}'>")
    return reply
