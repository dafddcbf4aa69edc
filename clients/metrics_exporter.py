"""The exporter: serves the readings of some sources on loopback, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from clients.errors import ClientError
from clients.metrics import PREFIX, Metric, Source, readings

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

LOOPBACK = "127.0.0.1"


class CannotExport(ClientError):
    """The exporter's port is taken, or may not be used."""


class _Readings(Collector):
    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Family]:
        """Every reading, by metric; sources are asked now."""
        families: dict[Metric, CounterMetricFamily | GaugeMetricFamily] = {}
        for one in readings(self._sources):
            metric = one.metric
            if metric not in families:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                families[metric] = kind(PREFIX + metric.name, metric.help, labels=metric.labels)
            families[metric].add_metric(one.labels, one.value)
        return families.values()

    def describe(self) -> Iterable[Family]:
        """Nothing: to be registered must not read the sources."""
        return ()


def registry_of(sources: Sequence[Source]) -> CollectorRegistry:
    """A registry that asks these sources at each scrape; it says nothing of the process itself."""
    registry = CollectorRegistry()
    registry.register(_Readings(sources))
    return registry


def exposition(sources: Sequence[Source]) -> str:
    """The text that a scrape gets now."""
    return generate_latest(registry_of(sources)).decode()


def serve(sources: Sequence[Source], port: int, until: threading.Event) -> None:
    """Answer scrapes on loopback until the event is set.

    Raises:
        CannotExport: the port cannot be had.
    """
    try:
        server, thread = start_http_server(port, LOOPBACK, registry_of(sources))
    except OSError as error:
        raise CannotExport(f"{LOOPBACK}:{port}: {error.strerror}; give another port") from None
    until.wait()
    server.shutdown()
    thread.join()
