"""What an exporter of Prometheus metrics says: named readings that are taken from files and services when it is asked.

Nothing is counted where work is done: a scrape reads what is there anyway. A source that cannot be read leaves its
readings out and stands in `artesian_source_up` with 0. No reading has a label that comes from records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clients.supervision.status import read_status
from clients.versions import SOFTWARE

log = logging.getLogger("artesian.metrics")
PREFIX = "artesian_"


@dataclass(frozen=True)
class Metric:
    """One metric: its name without the prefix, its type, its labels, and its help in one line."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    help: str


@dataclass(frozen=True)
class Reading:
    """One value of a metric, with the values of its labels in order."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where readings come from: `read` raises whatever it likes."""

    name: str
    read: Callable[[], Iterable[Reading]]


BUILD = Metric("build_info", "gauge", ("version",), "1; the release of the program")
SOURCE_UP = Metric("source_up", "gauge", ("source",), "1 if what a metric is read from could be read at this scrape")
PROCESS_UP = Metric("process_up", "gauge", ("process",), "1 if the supervised process is ready")
RESTARTS = Metric("process_restarts_total", "counter", ("process",), "how often it was started again since `up`")
CERTIFICATE = Metric(
    "certificate_expiry_timestamp_seconds", "gauge", ("certificate",), "when it ends, in seconds since 1970"
)
STORE = Metric("store_bytes", "gauge", ("store",), "size of a file or folder of the home")
COMMON = (BUILD, SOURCE_UP, PROCESS_UP, RESTARTS, CERTIFICATE, STORE)
"""What the coordinator's exporter and a firm's both say."""
_CERTIFICATES = ("tls.crt", "ca.crt")


def readings(sources: Iterable[Source]) -> list[Reading]:
    """Ask every source; one that fails is said to be down, and its reason is in the log."""
    found = [Reading(BUILD, 1, (SOFTWARE,))]
    for source in sources:
        try:
            found += list(source.read())
            up = 1
        except Exception as error:  # whatever a file or a service does, the other sources are still read
            log.warning("%s cannot be read: %s", source.name, error)
            up = 0
        found.append(Reading(SOURCE_UP, up, (source.name,)))
    return found


def home_sources(home: Path, stores: Mapping[str, str]) -> list[Source]:
    """What every home has: its processes, certificates, and the sizes of its stores by name."""
    return [
        Source("processes", lambda: _processes(home)),
        Source("certificates", lambda: _certificates(home)),
        Source("stores", lambda: [Reading(STORE, _size(home / path), (name,)) for name, path in stores.items()]),
    ]


@dataclass(frozen=True)
class Table:
    """The metrics of one exporter, for the docs and the tests."""

    title: str
    metrics: tuple[Metric, ...] = field(default_factory=tuple)

    def markdown(self) -> str:
        """A table with a row for each."""
        rows = [
            f"| `{PREFIX}{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |"
            for one in self.metrics
        ]
        return "".join(f"{line}\n" for line in ("| metric | type | labels | what |", "|---|---|---|---|", *rows))


def _processes(home: Path) -> Iterator[Reading]:
    status = read_status(home)
    for one in () if status is None else status.programs:
        ready = status is not None and status.alive and one.state == "ready"
        yield Reading(PROCESS_UP, ready, (one.name,))
        yield Reading(RESTARTS, one.restarts, (one.name,))


def _certificates(home: Path) -> Iterator[Reading]:
    from cryptography.x509 import load_pem_x509_certificate

    for name in _CERTIFICATES:
        if (home / name).is_file():
            ends = load_pem_x509_certificate((home / name).read_bytes()).not_valid_after_utc
            yield Reading(CERTIFICATE, ends.timestamp(), (name,))


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size if path.is_file() else 0
