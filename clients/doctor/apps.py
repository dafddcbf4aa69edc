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
    approved = approvals.approved()
    refused = {hash_: asked for hash_, asked in approvals.asked().items() if hash_ not in approved}
    lately = {hash_: one for hash_, one in refused.items() if now() - one.last_s < RECENT_S}
    for hash_, asked in lately.items():
        when = datetime.fromtimestamp(asked.last_s, UTC).date()
        what = f"runs ask for app bundle {hash_[:16]}, last on {when}, and this firm has not approved it"
        mend = "install the coordinator's release, or look at the difference and approve it: artesian firm apps"
        yield Finding("warn", what, mend)
    if not lately:
        installed = approvals.installed
        yield ok(f"takes part with app bundle {installed.sha256[:16]} (artesian {installed.version})")
