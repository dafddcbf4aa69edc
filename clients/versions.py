"""Which versions this program is of and speaks: its software, its messages, its homes; and which of others it fits.

A release speaks its own version of the messages and the one before it (`clients.dialect`), so members that are one
release apart work together. What a home's files look like has a version of its own (`clients.migration`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clients.errors import ClientError
from ledger.release import this_release
from ledger.statement import PAYLOAD_VERSION

SOFTWARE: str = this_release()
"""The version of the installed program; `unknown` where it runs without being installed."""


@dataclass(frozen=True)
class Span:
    """The versions from `lowest` to `highest`, both of them included."""

    lowest: int
    highest: int

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest:
            raise ValueError(f"versions {self.lowest} to {self.highest}: they begin at 1 and go upwards")

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.lowest <= version <= self.highest

    def __str__(self) -> str:
        return str(self.lowest) if self.lowest == self.highest else f"{self.lowest} to {self.highest}"

    def common(self, other: Span) -> int | None:
        """The highest version that both have; None if there is none."""
        highest = min(self.highest, other.highest)
        return highest if highest >= max(self.lowest, other.lowest) else None


MESSAGE_VERSIONS = Span(1, 1)
"""The versions of the message schema that this release speaks."""
STATE_VERSION = 1
"""The version of a home's files that this release reads and writes."""


class VersionMismatch(ClientError):
    """Two programs have no version in common; the line names both and which of them to upgrade."""

    exit_code = 1


def agreed(ours: Span, theirs: Span, us: str, them: str) -> int:
    """The version to speak with another program: the highest that both have.

    Args:
        us, them: how each side is called in the line that refuses, with its release, e.g. `firm-1 (artesian 0.2.0)`.

    Raises:
        VersionMismatch: there is none.
    """
    version = ours.common(theirs)
    if version is not None:
        return version
    older = us if ours.highest < theirs.lowest else them
    raise VersionMismatch(f"{us} speaks messages {ours}, {them} speaks {theirs}: upgrade {older}")


def compatible(a: str, b: str) -> bool:
    """Whether programs of these releases work together: of the same major version and at most one minor apart.

    A release that does not say what it is (`unknown`) fits none but itself.
    """
    first, second = _numbers(a), _numbers(b)
    if first is None or second is None:
        return a == b
    return first[0] == second[0] and abs(first[1] - second[1]) <= 1


def misfit(us: str, ours: str, them: str, theirs: str) -> str:
    """Why two programs do not work together, and, after a semicolon, which to upgrade.

    Empty where they do, or where one does not say its release.

    Args:
        us, them: how each side is called.
        ours, theirs: their releases.
    """
    first, second = _numbers(ours), _numbers(theirs)
    if first is None or second is None or compatible(ours, theirs):
        return ""
    return f"{us} runs artesian {ours}, {them} artesian {theirs}; upgrade {us if first < second else them}"


def facts() -> dict[str, str | int | list[int]]:
    """What a process says of its versions, as a JSON object."""
    return {
        "software": SOFTWARE,
        "messages": [MESSAGE_VERSIONS.lowest, MESSAGE_VERSIONS.highest],
        "records": PAYLOAD_VERSION,
        "state": STATE_VERSION,
    }


def _numbers(release: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)(?![\d])", release)
    return None if found is None else (int(found[1]), int(found[2]))
