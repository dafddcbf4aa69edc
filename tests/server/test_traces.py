"""One round is one trace, across the coordinator and every firm, and says nothing of records; off, nothing travels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federation_world import Meddler, federation, opened, train, training
from flwr.app import Message
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clients import tracing
from clients.messages import HELLO, OPEN, TRAIN, trace_of


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


def test_a_round_is_one_trace_with_every_firm_under_its_question(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    built = federation(tmp_path / "f", 3, training(2))
    with opened(built) as coordinator:
        train(built, coordinator)
    made = spans.get_finished_spans()
    by_id = {span.context.span_id: span for span in made}

    def above(span: ReadableSpan) -> ReadableSpan:
        assert span.parent is not None
        return by_id[span.parent.span_id]

    rounds = [span for span in made if span.name == "round"]
    assert [span.attributes["number"] for span in rounds if span.attributes] == [1, 2]
    assert len({span.context.trace_id for span in rounds}) == 2
    for one in rounds:
        inside = [span for span in made if span.context.trace_id == one.context.trace_id]
        assert {"open", "ask train.update", "open the sums", "aggregate"} <= {span.name for span in inside}
        for kind in (TRAIN, OPEN):
            answers = [span for span in inside if span.name == kind]
            assert {span.attributes["member"] for span in answers if span.attributes} == set(built.firms)
            assert {above(span).name for span in answers} == {f"ask {kind}"}
        for step in ("train", "protect"):
            assert [above(span).name for span in inside if span.name == step] == [TRAIN] * 3
    keys = {key for span in made for key in (span.attributes or {})}
    assert keys <= {"task", "number", "round", "member"}


def test_an_error_leaves_nothing_of_itself_in_a_span(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    built = federation(tmp_path / "f", 4, training(1))
    data = built.member("firm-2") / "data" / "credit.csv"
    data.write_text(data.read_text().replace("default", "secret-4711", 1))
    with opened(built) as coordinator:
        try:
            train(built, coordinator)
        finally:
            assert spans.get_finished_spans()
            assert "secret-4711" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_off_nothing_travels_and_a_firm_that_is_off_ignores_what_does(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    travelled: dict[str, set[int]] = {}

    def look(kind: str, member: str, message: Message) -> None:
        travelled.setdefault(kind, set()).add(len(trace_of(message.content)))

    tracing.use(None)
    built = federation(tmp_path / "f", 3, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before=look))
    assert set.union(*travelled.values()) == {0}
    assert spans.get_finished_spans() == ()


def test_the_first_question_carries_no_trace(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    """What a firm reads is agreed in `query.hello`, so nothing goes beside that."""
    found: dict[str, int] = {}
    built = federation(tmp_path / "f", 3, training(1))

    def look(kind: str, member: str, message: Message) -> None:
        found.setdefault(kind, len(trace_of(message.content)))

    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before=look))
    assert found[HELLO] == 0
    assert found[TRAIN] == tracing.CONTEXT_BYTES


def test_what_is_no_context_makes_no_span(spans: InMemorySpanExporter) -> None:
    with tracing.asked(b"short", TRAIN):
        pass
    assert spans.get_finished_spans() == ()
