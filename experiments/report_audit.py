"""What a report says of a privacy audit: each claim and each fault, with what canaries showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from experiments import plots
from experiments.report_words import ABSENT, delta_words, number


@dataclass(frozen=True)
class AuditPart:
    """A privacy audit in a report.

    `rows` are (task and noise, what is wrong, claimed, fit, lower bound, the same of Steinke et al., above the claim,
    whether that is as it should be).
    """

    words: list[str]
    rows: list[tuple[str, str, str, str, str, str, bool, bool]]
    plot: tuple[Markup, str]
    card: tuple[str, str, str, str]


def audit_part(audited: Mapping[str, Any]) -> AuditPart | None:
    """Put together what the page says of an audit; None where there is no run in it."""
    runs = [one for one in audited.get("runs") or () if isinstance(one, Mapping)]
    if not runs:
        return None
    holds, wrong = audited.get("holds") is True, [one for one in runs if one["fault"] != "none"]
    found = sum(bool(one["above"]) for one in wrong)
    sure = f"{audited['confidence']:.0%}"
    note = f"{audited['claims']} claims; {found} of {len(wrong)} runs with a fault are above theirs"
    return AuditPart(
        words=[
            f"In each run a federation was trained with {audited['canaries']:,} canaries, units of the auditor's own, "
            "each included or not by the toss of a coin. From what the coordinator and its allies see, the audit "
            f"tells which were. Epsilon is at delta {delta_words(audited['delta'])}.",
            f"The fit takes the noise for Gaussian; its lower bound holds at {sure}. The bound of Steinke et al. "
            f"assumes nothing about the noise. Whether a run is above is judged at {sure} for all claims together.",
        ],
        rows=[_row(one) for one in runs],
        plot=_plot(runs),
        card=("Claims under attack", "✓ hold" if holds else "✗ broken", note, "good" if holds else "bad"),
    )


def membership_rows(attacks: object) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """(what is attacked with what, AUC, most that the claim allows, [(found, allowed) at each false positive rate])."""
    rows = []
    for one in attacks if isinstance(attacks, (list, tuple)) else ():
        private = one["epsilon"] is not None
        name = f"{one['task']}, {one['view']}, " + (f"epsilon {one['epsilon']:.2f}" if private else "without privacy")
        bounds = one["tpr_bound"] or [None] * len(one["tpr"])
        found = [
            (_with_error(tpr, error), _share(bound))
            for tpr, error, bound in zip(one["tpr"], one["tpr_error"], bounds, strict=True)
        ]
        auc = f"{one['auc']:.3f} ± {one['auc_error']:.3f}"
        rows.append((name, auc, f"{one['auc_bound']:.3f}" if private else ABSENT, found))
    return rows


def _with_error(share: float, error: float) -> str:
    return f"{share * 100:.2f} ± {error * 100:.2f} %"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{value * 100:.2f} %"


def _name(run: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (run["task"], run["mode"], run.get("algorithm"))))


def _row(run: Mapping[str, Any]) -> tuple[str, str, str, str, str, str, bool, bool]:
    keys = ("claimed_epsilon", "epsilon", "epsilon_lower", "epsilon_steinke")
    claimed, fit, lower, steinke = (_figure(run.get(key)) for key in keys)
    above, faulty = bool(run["above"]), run["fault"] != "none"
    return _name(run), str(run["words"]), claimed, fit, lower, steinke, above, above == faulty


def _figure(value: object) -> str:
    known = number(value)
    return ABSENT if known is None else f"{known:,.2f}"


def _plot(runs: list[Mapping[str, Any]]) -> tuple[Markup, str]:
    marks = []
    for run in runs:
        label = f"{_name(run)}, {run['claimed_epsilon']:.2g}: {run['words']}"
        role: plots.Role = "together" if run["fault"] == "none" else "central"
        mu, low, high = (run[key] / run["claimed_mu"] for key in ("mu", "mu_lower", "mu_upper"))
        marks.append((plots.Mark(label, mu, role), max(low, 1e-3), high))
    told = "; ".join(f"{mark.label} {mark.value:.2f}" for mark, _, _ in marks)
    words = plots.Words("audit", "What canaries show over what is claimed", f"{told}.")
    axis = "distance of included from other canaries, over what is claimed"
    caption = (
        "How far apart the scores of included and other canaries lie, in deviations of the noise, over what the plan "
        "claims: 1 is exact, above it the claim is broken. Bars are one-sided bounds to both sides. Runs with a fault "
        "are of another colour."
    )
    return plots.intervals(words, marks, axis, "claimed"), caption
