"""A summary with everything in it, and a reader of pages that is as strict as a page before a bank must be."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

CREDIT_FIGURES: dict[str, Any] = {
    "auc_federated": 0.82811,
    "brier": 0.15077,
    "ece": 0.04184,
    "auc_local_mean": 0.76316,
    "auc_local_worst": 0.69043,
    "auc_local": [0.69043, 0.77733, 0.83512],
    "auc_local_tuned_mean": 0.78596,
    "auc_central": 0.83745,
    "auc_central_tuned": 0.84181,
    "brier_central": 0.14696,
    "gini_federated": 0.65612,
    "epsilon": 2.9999986,
    "delta": 1e-5,
    "unit": "one row",
    "mode": "distributed",
    "colluders": 2,
    "rounds": 21,
    "firms": 3,
    "held_out_records": 1337,
    "curve": [0.5012, 0.7034, 0.82811],
    "calibration": [[0.1123, 0.1034, 601], [0.4456, 0.4789, 736]],
    "roc": [[0, 0], [0.2, 0.7], [1, 1]],
}
DEMAND_FIGURES: dict[str, Any] = {
    "wape_federated": 0.08064,
    "wape_seasonal_naive": 0.19229,
    "wape_local_mean": 0.08836,
    "wape_local": [0.09021, 0.08438, 0.08976],
    "wape_central": 0.08571,
    "coverage_80": 0.88036,
    "epsilon": None,
    "delta": 1e-5,
    "unit": "56 days of one store",
    "mode": "none",
    "colluders": 0,
    "rounds": 60,
    "firms": 3,
    "horizon_days": 14,
    "held_out_records": 7168,
}
REASON = {"code": "R07", "text": "Few months in the present job", "points": -41}
SUMMARY: dict[str, Any] = {
    "name": "demo",
    "seed": 7,
    "credit": CREDIT_FIGURES,
    "demand": DEMAND_FIGURES,
    "ledger": {"entries": 8311, "checkpoints": 168, "quorum": 6, "witnesses": 8, "final": True},
    "scores": [{"score": 641, "pd": 0.0712, "reasons": [REASON], "receipt_ok": True, "latency_ms": 4.25}],
    "audit": {"recomputed": True, "tamper_detected": True, "store_tampered": {"found": "firm-2 is not as recorded"}},
    "firm_records": {"credit": [83, 5301, 231], "demand": {"nord": 4290, "south": 10296, "east": 5148}},
    "refusals": [[3, "firm-2", "too few in the cohort"]],
    "models": {"credit": "26208e4c72154a04"},
    "versions": {"artesian": "0.1.0", "torch": "2.13.0"},
    "seconds": {"train": 9.1388, "round_median": 0.4178, "total": 16.25},
}
VOID = {"meta", "link", "img", "br", "hr", "input", "base", "source"}


class Page(HTMLParser):
    """Checks nesting, and keeps what a browser would show, run or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def assert_self_contained(self) -> None:
        assert not self.tags.keys() & {"script", "link", "img", "iframe", "object", "embed", "image", "base", "form"}
        for tag, name, value in self.attributes:
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "srcset", "href", "xlink:href", "data", "action"}:
                assert value.startswith("#"), (tag, name, value)
            assert "url(" not in value or "url(#" in value, (tag, name, value)
            assert "://" not in value, (tag, name, value)

    def assert_identified(self) -> None:
        ids = Counter(value for _, name, value in self.attributes if name == "id")
        assert [one for one, times in ids.items() if times > 1] == []
        for _, name, value in self.attributes:
            if name in {"href", "xlink:href"}:
                assert value[1:] in ids, value
            if name == "aria-labelledby":
                assert set(value.split()) <= ids.keys()
            for target in re.findall(r"url\(#([^)]*)\)", value):
                assert target in ids, target


def without_json(text: str) -> str:
    """The page without its last part, which repeats the whole summary."""
    head, rest = text.split("<pre>")
    return head + rest.split("</pre>")[1]
