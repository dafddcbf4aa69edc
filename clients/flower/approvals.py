"""Which app bundles a firm takes part in: that of its own installed version, and those that its operator approved.

Where the consortium's policy names bundles, a run has to be of one of those besides: a quorum decides for all what may
run at all, and each firm for itself in what it takes part.

What a firm runs is always its own installed software; a bundle only says for which code a run was meant. So approving
another bundle lets nobody's code in: it says that this firm's own code may answer that run.

Two files: `approved-apps.json` is written by the operator's commands alone, what was refused stands in another, which
tasks' processes write. So no process that notes a refusal can bring back an approval that was withdrawn meanwhile.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from clients.enrolment.consortium import CONSORTIUM, ConsortiumPolicy, policy_of_home
from clients.errors import ClientError
from clients.flower.bundle import Bundle, installed_bundle
from clients.locked_file import changing
from ledger.whole_file import write_whole

FILE, REFUSED_FILE = "approved-apps.json", "refused-apps.json"
MOST_ASKED = 8
"""How many refused bundles are remembered; the one that was asked for longest ago goes first."""

_HASH = re.compile("[0-9a-f]{64}")
_MOST_FILES_KEPT = 2000


class AppNotApproved(ClientError):
    """A run asks for another app bundle than this firm has approved. Nothing was read, run or spent."""

    exit_code = 1


class AppNotInPolicy(AppNotApproved):
    """A run asks for an app bundle that the consortium's policy does not name. Nothing was read, run or spent."""


class ApprovalInvalid(ClientError):
    """An approval that cannot be given or read; the message says what to do."""


@dataclass(frozen=True)
class Asked:
    """A bundle that a run asked for and that was refused.

    Attributes:
        last_s: seconds since 1970.
        files: SHA-256 (hex) by name, of what is in it.
    """

    last_s: float
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Approved:
    approved: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Refused:
    asked: dict[str, Asked] = field(default_factory=dict)


_Kept = TypeVar("_Kept", _Approved, _Refused)


class Approvals:
    """What a firm's home says of bundles.

    Args:
        home: the firm's.
        installed: gives the bundle of the installed version, which is always approved.
        now: seconds since 1970.
    """

    def __init__(
        self,
        home: Path,
        installed: Callable[[], Bundle] = installed_bundle,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._installed, self._now = home, installed, now

    @property
    def installed(self) -> Bundle:
        return self._installed()

    def approved(self) -> dict[str, float]:
        """When each bundle was approved by the operator (seconds since 1970), by its hash."""
        return dict(self._read(FILE, _Approved).approved)

    def asked(self) -> dict[str, Asked]:
        """The bundles that were refused and would be refused now, by their hash."""
        taken, policy = {*self.approved(), self.installed.sha256}, self.policy()
        return {
            one: what
            for one, what in self._read(REFUSED_FILE, _Refused).asked.items()
            if one not in taken or not (policy is None or policy.names_app(one))
        }

    def policy(self) -> ConsortiumPolicy | None:
        """The consortium's policy as this home has it; None for a home that joined no consortium.

        Raises:
            BadConsortium: it cannot be read.
        """
        return policy_of_home(self._home)

    def require(self, sha256: str) -> None:
        """Insist that the consortium's policy allows a bundle, and that this firm has approved it.

        Raises:
            AppNotInPolicy, AppNotApproved: one is not so; the line says how to look at it.
            ApprovalInvalid, BadConsortium: nobody knows.
        """
        policy = self.policy()
        if policy is not None and not policy.names_app(sha256):
            named = ", ".join(f"{one.sha256[:16]} (artesian {one.version or '?'})" for one in policy.app)
            raise AppNotInPolicy(f"the run is of app bundle {sha256[:16]}, {CONSORTIUM} names {named}")
        if sha256 != self.installed.sha256 and sha256 not in self.approved():
            raise AppNotApproved(
                f"the run is of app bundle {sha256[:16]}, this firm takes part with {self.installed.sha256[:16]} "
                f"(artesian {self.installed.version}); its operator sees the difference with: artesian firm apps"
            )

    def note(self, sha256: str, files: Mapping[str, str]) -> None:
        """Remember a bundle that was refused, for `artesian firm apps`."""
        few = dict(list(files.items())[:_MOST_FILES_KEPT])
        with changing(self._home / REFUSED_FILE):
            asked = {**self._read(REFUSED_FILE, _Refused).asked, sha256: Asked(self._now(), few)}
            newest = sorted(asked, key=lambda one: asked[one].last_s)[-MOST_ASKED:]
            self._write(REFUSED_FILE, _Refused({one: asked[one] for one in newest}))

    def approve(self, sha256: str) -> None:
        """Take part in runs of a bundle from the next message on.

        Raises:
            ApprovalInvalid: it is no hash of a bundle.
        """
        if not _HASH.fullmatch(sha256):
            raise ApprovalInvalid(f"{sha256!r}: give the bundle's whole SHA-256, as artesian firm apps prints it")
        with changing(self._home / FILE):
            self._write(FILE, _Approved({**self.approved(), sha256: self._now()}))

    def withdraw(self, sha256: str) -> bool:
        """Take part in no more runs of a bundle; returns whether it was approved."""
        with changing(self._home / FILE):
            approved = self.approved()
            self._write(FILE, _Approved({one: when for one, when in approved.items() if one != sha256}))
        return sha256 in approved

    def _read(self, name: str, kind: type[_Kept]) -> _Kept:
        path = self._home / name
        try:
            return TypeAdapter(kind).validate_json(path.read_bytes())
        except FileNotFoundError:
            return kind()
        except (OSError, ValidationError):
            raise ApprovalInvalid(f"{path}: cannot be read; remove it, and approve again") from None

    def _write(self, name: str, kept: _Approved | _Refused) -> None:
        write_whole(self._home / name, f"{json.dumps(asdict(kept), indent=1, sort_keys=True)}\n")
