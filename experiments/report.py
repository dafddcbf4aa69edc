"""A run's summary as one page for a researcher or an operator: self-contained, without script, the same every time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments import plots
from experiments.errors import ExperimentError
from experiments.report_audit import audit_part, membership_rows
from experiments.report_tasks import TaskPart, task_part
from experiments.report_words import ABSENT, MEASURES, MINUS, Measure, humanised, limits, number, shown

TEMPLATE = "report.html.j2"
MOST_REFUSALS = 20

_CHECKS = {
    "ledger_ok": "The whole ledger checked again: every hash, signature, rule and cosignature",
    "recomputed": "An aggregate computed again from what is stored, equal bit for bit",
    "recomputed_round": "The round of that aggregate",
    "tamper_detected": "Flipped bytes were caught",
    "store_tampered": "One byte of a copy of the store flipped",
    "ledger_tampered": "One byte of a copy of the ledger flipped",
}
_LEDGER = {
    "entries": "Entries",
    "checkpoints": "Checkpoints",
    "witnesses": "Witnesses",
    "quorum": "Cosignatures that make a checkpoint final",
    "final": "Every entry is final",
    "final_size": "Entries that are final",
}
_STAGES = {
    "prepare": "Read and divide the data",
    "found": "Found the consortium",
    "evaluate": "Evaluate and compare",
    "scores": "Ask for scores",
    "round_median": "One round (median)",
}
_NO_STAGE = ("total", "round_median")


class ReportUnwritable(ExperimentError):
    """The place where the report should go cannot be written."""


def write_report(summary: Mapping[str, Any], path: Path) -> None:
    """Write the page for the summary of a simulation or of the demo; whole or not at all.

    Args:
        summary: what `simulate` returns, or the demo; parts that it lacks are left out of the page.
        path: the HTML file; replaced if it exists.

    Raises:
        ReportUnwritable: the file cannot be written; an older one is left as it was.
    """
    page = render(summary).encode("utf-8")
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(page)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ReportUnwritable(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def render(summary: Mapping[str, Any]) -> str:
    """The page as HTML text; the same summary gives the same text."""
    loader = FileSystemLoader(Path(__file__).parent)
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters.update(shown=shown, humanised=humanised, points=_points)
    return pages.get_template(TEMPLATE).render(_page(summary))


def _page(summary: Mapping[str, Any]) -> dict[str, Any]:
    tasks = [
        task_part(measure, part, _records(summary, measure))
        for measure in MEASURES
        if (part := _mapping(summary.get(measure.key)))
    ]
    parts = [task.part for task in tasks]
    ledger, audit = _mapping(summary.get("ledger")), _mapping(summary.get("audit"))
    audited = audit_part(_mapping(summary.get("privacy_audit")))
    return {
        "name": str(summary["name"]) if summary.get("name") else None,
        "seed": summary.get("seed"),
        "models": [
            *_flat(_mapping(summary.get("models"))),
            *([("", model)] if (model := summary.get("model")) else []),
        ],
        "validation": summary.get("evaluated_on") == "validation",
        "cards": [*_cards(tasks, ledger, audit), *([] if audited is None else [audited.card])],
        "audited": audited,
        "membership": membership_rows(summary.get("membership")),
        "tasks": tasks,
        "limits": limits(summary, parts) if parts else [],
        "scores": [_score(one) for one in summary.get("scores") or () if isinstance(one, Mapping)],
        "ledger": ledger,
        "ledger_rows": [(_LEDGER.get(key, humanised(key)), value) for key, value in _in_order(ledger, _LEDGER)],
        "without_ledger": "ledger" in summary and not ledger,
        "audit": [
            (label, value) for key, content in _in_order(audit, _CHECKS) for label, value in _check(key, content)
        ],
        "seconds": _seconds(_mapping(summary.get("seconds"))),
        "settings_rows": _flat(_mapping(summary.get("config"))),
        "versions": _flat(_mapping(summary.get("versions"))),
        "refusals": _refusals(summary.get("refusals")),
        "everything": json.dumps(_finite(summary), indent=1, sort_keys=True, ensure_ascii=False),
    }


def _cards(
    tasks: Sequence[TaskPart], ledger: Mapping[str, Any], audit: Mapping[str, Any]
) -> list[tuple[str, str, str, str]]:
    """(title, value, note, state) of the figures at the top; state is good, bad or empty."""
    figures, privacy = [], []
    for task in tasks:
        together = number(task.part.get(f"{task.measure.prefix}_federated"))
        if together is not None:
            alone = number(task.part.get(f"{task.measure.prefix}_local_mean"))
            tuned = number(task.part.get(f"{task.measure.prefix}_local_tuned_mean"))
            note = "" if alone is None else f"a firm alone, on average: {alone:.3f}"
            note += "" if alone is None or tuned is None else f", tuned {tuned:.3f}"
            figures.append((f"{task.measure.title}, {task.measure.metric}", f"{together:.3f}", note, ""))
        private = task.epsilon != ABSENT
        value = f"ε {task.epsilon}" if private else "none"
        note = f"for {task.part.get('unit') or 'a unit'}, δ {task.delta}" if private else "no noise was added"
        privacy.append((f"{task.measure.title}, privacy", value, note, ""))
    record = _record_cards(ledger, audit)
    if len(figures) == 2 and len(record) == 2:  # two rows of three, each task's privacy under its figure
        return [*figures, record[0], *privacy, record[1]]
    return [*figures, *privacy, *record]


def _record_cards(ledger: Mapping[str, Any], audit: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    cards = []
    if ledger:
        final = ledger.get("final") is True
        counts = [f"{shown(ledger[key])} {key}" for key in ("entries", "checkpoints") if key in ledger]
        cards.append(("Ledger", "✓ final" if final else "✗ not final", ", ".join(counts), "good" if final else "bad"))
    verdicts = [value for key, content in audit.items() for _, value in _check(key, content) if isinstance(value, bool)]
    if verdicts:
        good = all(verdicts)
        note = f"{sum(verdicts)} of {len(verdicts)} checks as they should be"
        cards.append(("Audit", "✓ passed" if good else "✗ failed", note, "good" if good else "bad"))
    return cards


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _in_order(content: Mapping[str, Any], known: Mapping[str, str]) -> list[tuple[str, Any]]:
    """The known keys in their order, then the others in theirs."""
    keys = [*(key for key in known if key in content), *(key for key in content if key not in known)]
    return [(key, content[key]) for key in keys]


def _records(summary: Mapping[str, Any], measure: Measure) -> list[tuple[str, int]]:
    """(firm, training records): from a list, names with numbers, or either of these for each task."""
    given = summary.get("firm_records")
    if isinstance(given, Mapping) and any(one.key in given for one in MEASURES):
        given = given.get(measure.key)
    elif sum(bool(_mapping(summary.get(one.key))) for one in MEASURES) > 1:
        return []  # one list cannot be told to be of one of two tasks
    if isinstance(given, Mapping):
        pairs = [(str(name), number(size)) for name, size in given.items()]
    else:
        sizes = given if isinstance(given, (list, tuple)) else ()
        named = summary.get("firms")
        known = isinstance(named, (list, tuple)) and len(named) == len(sizes)
        names = [str(name) for name in named] if known and named else [f"firm-{i + 1}" for i in range(len(sizes))]
        pairs = [(name, number(size)) for name, size in zip(names, sizes, strict=True)]
    return [(name, int(size)) for name, size in pairs if size is not None]


def _score(one: Mapping[str, Any]) -> dict[str, Any]:
    pd, latency = number(one.get("pd")), number(one.get("latency_ms"))
    return {
        "score": shown(one.get("score")),
        "pd": ABSENT if pd is None else f"{pd * 100:.2f} %",
        "reasons": [reason for reason in one.get("reasons") or () if isinstance(reason, Mapping)],
        "receipt_ok": one.get("receipt_ok"),
        "latency": ABSENT if latency is None else f"{latency:.1f} ms",
    }


def _check(key: str, value: object) -> list[tuple[str, Any]]:
    label = _CHECKS.get(key, humanised(key))
    if isinstance(value, Mapping):
        return [(f"{label}: {humanised(str(part)).lower()}", content) for part, content in value.items()]
    return [(label, value)]


def _seconds(seconds: Mapping[str, Any]) -> dict[str, Any] | None:
    timed = {str(key): value for key, one in _flat(seconds) if (value := number(one)) is not None}
    if not timed:
        return None
    stages = {key: value for key, value in timed.items() if key.split(".")[-1] not in _NO_STAGE}
    marks = [plots.Mark(_STAGES.get(key, humanised(key)), value, "together") for key, value in stages.items()]
    told = "; ".join(f"{mark.label} {mark.value:.2f} s" for mark in marks)
    words = plots.Words("seconds", "Time for each stage", f"{told}.")
    return {
        "plot": plots.bars(words, marks, "seconds", digits=2) if marks else None,
        "rows": [(_STAGES.get(key, humanised(key)), f"{value:.2f} s") for key, value in timed.items()],
    }


def _refusals(value: object) -> dict[str, Any] | None:
    """Answers that a run did not get; None where the summary does not say."""
    if not isinstance(value, (list, tuple)):
        return None
    return {"count": len(value), "rows": [[shown(part) for part in one] for one in value[:MOST_REFUSALS]]}


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings with dotted keys."""
    rows: list[tuple[str, Any]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


def _finite(value: Any) -> Any:
    """The summary as JSON can hold it: null for what is not a number."""
    if isinstance(value, Mapping):
        return {str(key): _finite(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(content) for content in value]
    if isinstance(value, float):
        return number(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _points(value: object) -> str:
    points = number(value)
    return ABSENT if points is None else f"{points:+,.0f}".replace("-", MINUS)
