"""What an attack measures of claimed privacy: the epsilon that canaries show, as the code is and with faults."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS
from experiments.privacy_audit.audit import audit
from experiments.privacy_audit.config import PrivacyAuditConfig, load_audit_config
from experiments.privacy_audit.tables import run_name

COMMAND = "artesian bench privacy_audit"
CONFIG = CONFIGS / "privacy-audit.toml"
EPSILON = 8.0  # where one missing share can be told with the canaries that there are


def run(runs: int = 5, *, canaries: int | None = None) -> list[Figure]:
    """One figure for each task and kind of noise or algorithm: medians over seeds of division, coins and noise."""
    base = load_audit_config(CONFIG).model_dump() | {"membership": None}
    base["canaries"]["count"] = canaries or base["canaries"]["count"]
    for subject in base["subject"]:
        subject |= {"epsilons": (EPSILON,), "fault_epsilons": (EPSILON,)}
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(1, runs + 1):
        config = PrivacyAuditConfig.model_validate(base | {"seed": seed})
        for one in audit(config, CONFIG.parent, lambda _: None)["privacy_audit"]["runs"]:
            seen = found.setdefault(run_name(one), {})
            for what, value in _measured(one).items():
                seen.setdefault(what, []).append(value)
    return [_figure(name, seen, runs) for name, seen in found.items()]


def _measured(one: Mapping[str, Any]) -> dict[str, float]:
    if one["fault"] != "none":
        return {f"{one['words']}, at least": one["epsilon_lower"]}
    return {
        "fit": one["epsilon"],
        "claimed": one["claimed_epsilon"],
        "at least, 95 %": one["epsilon_lower"],
        "at least, Steinke et al.": one["epsilon_steinke"],
    }


def _figure(name: str, seen: Mapping[str, list[float]], runs: int) -> Figure:
    medians = {what: round(median(values), 2) for what, values in seen.items()}
    fit = medians.pop("fit")
    return Figure(f"{name}: epsilon that canaries show", fit, "epsilon", medians, runs, COMMAND)
