"""Whether a firm takes part with the app that the coordinator asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from clients.doctor.check import Check, Finding, ok
from clients.flower.approvals import Approvals

RECENT_S = 7 * 86_400
"""A bundle that was asked for longer ago says nothing about the runs of now."""


def app_checks(home: Path, now: Callable[[], float], approvals: Approvals | None = None) -> list[Check]:
    """The app bundles of the latest runs, against the installed one and those that the operator approved."""
    return [Check("app", lambda: _app(approvals or Approvals(home), now))]


def _app(approvals: Approvals, now: Callable[[], float]) -> Iterator[Finding]:
    policy, installed, well = approvals.policy(), approvals.installed, True
    if policy is not None and not policy.names_app(installed.sha256):
        well = False
        what = f"the consortium's policy does not name app bundle {installed.sha256[:16]}, which is installed here"
        yield Finding(
            "warn", what, "install a release that it names, or have the members change it: artesian firm apps"
        )
    for hash_, asked in approvals.asked().items():
        if now() - asked.last_s >= RECENT_S:
            continue
        well, when = False, datetime.fromtimestamp(asked.last_s, UTC).date()
        if policy is None or policy.names_app(hash_):
            what = f"runs ask for app bundle {hash_[:16]}, last on {when}, and this firm has not approved it"
            mend = "install the coordinator's release, or look at the difference and approve it: artesian firm apps"
        else:
            what = f"runs ask for app bundle {hash_[:16]}, last on {when}, which the consortium's policy does not name"
            mend = "ask the coordinator's operator why; what it is: artesian firm apps"
        yield Finding("warn", what, mend)
    if well:
        yield ok(f"takes part with app bundle {installed.sha256[:16]} (artesian {installed.version})")
