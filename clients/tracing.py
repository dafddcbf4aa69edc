"""Traces of rounds for OpenTelemetry: off unless a collector is named, and then of times and names, never of records.

A round is one trace: the coordinator's span of it is the parent of its questions, and each firm's answer is a child of
the question, whose ids travel beside the message. They are the coordinator's own random numbers; a firm sends none
back. Needs the extra `artesian[tracing]`. Off, a span costs a look at one variable.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

log = logging.getLogger("artesian.tracing")
ENDPOINT_VARIABLE = "ARTESIAN_OTLP_ENDPOINT"
"""URL of a collector that takes OTLP over HTTP, e.g. `http://127.0.0.1:4318/v1/traces`."""
CONTEXT_BYTES = 24
"""Of what travels: 16 of the trace's id, 8 of the span's."""
_EXPORT_S = 2.0
_NO_ERRORS: Mapping[str, bool] = {"record_exception": False, "set_status_on_exception": False}  # they may quote a cell
_NAME = "artesian"

_tracer: Any = None
_looked = False


def use(provider: Any) -> None:
    """Make spans with this provider's tracer from here on; None makes none."""
    global _tracer, _looked
    _tracer, _looked = None if provider is None else provider.get_tracer(_NAME), True


def span(name: str, **attributes: str | int) -> AbstractContextManager[object]:
    """A span around a block, child of the one that the block stands in.

    Args:
        attributes: names and numbers of the protocol only: of a task, a round, a kind of message, a member.
    """
    tracer = _get()
    return nullcontext() if tracer is None else tracer.start_as_current_span(name, attributes=attributes, **_NO_ERRORS)


@contextmanager
def question(name: str, **attributes: str | int) -> Iterator[bytes]:
    """A span that is nobody's surroundings, for what a generator asks; yields what travels, nothing where it is off."""
    tracer = _get()
    if tracer is None:
        yield b""
        return
    made = tracer.start_span(name, attributes=attributes)
    try:
        context = made.get_span_context()
        yield context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")
    finally:
        made.end()


@contextmanager
def asked(travelled: bytes, name: str, **attributes: str | int) -> Iterator[None]:
    """A span around the answer to a question of another process, of which these ids came with the message."""
    tracer = _get()
    if tracer is None or len(travelled) != CONTEXT_BYTES:
        yield
        return
    from opentelemetry import trace

    trace_id, span_id = int.from_bytes(travelled[:16], "big"), int.from_bytes(travelled[16:], "big")
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    above = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
    context = trace.set_span_in_context(trace.NonRecordingSpan(above))
    with tracer.start_as_current_span(name, context=context, attributes=attributes, **_NO_ERRORS):
        yield


def _get(environment: Mapping[str, str] = os.environ) -> Any:
    """The tracer, set up at the first span: a process that forks has made none before."""
    global _looked
    if not _looked:
        _looked = True
        endpoint = environment.get(ENDPOINT_VARIABLE)
        if endpoint:
            use(_provider(endpoint))
    return _tracer


def _provider(endpoint: str) -> Any:
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        log.warning("%s is set without the extra artesian[tracing]: there are no traces", ENDPOINT_VARIABLE)
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": _NAME}))
    # One by one, as each ends: a process that answers one message has no later moment.
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_S)))
    return provider
