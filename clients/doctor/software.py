"""Whether the program runs on what it was made for: Python, and the versions of what it imports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

from clients.doctor.check import Check, Finding, ok
from clients.versions import SOFTWARE, STATE_VERSION

DISTRIBUTION = "artesian"
_INSTALL = "install it as docs/operations.md says: pip install -c constraints.txt artesian"


def software_checks(
    python: tuple[int, int] = sys.version_info[:2],
    requirements: Callable[[], Iterable[str]] = lambda: metadata.requires(DISTRIBUTION) or (),
    version_of: Callable[[str], str] = metadata.version,
) -> list[Check]:
    """Python and dependencies, against what the installed program says that it needs."""
    return [Check("software", lambda: _software(python, requirements, version_of))]


def _software(
    python: tuple[int, int], requirements: Callable[[], Iterable[str]], version_of: Callable[[str], str]
) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    said = ".".join(map(str, python))
    if not (3, 11) <= python < (3, 14):
        yield Finding("fail", f"Python {said}; this program is for 3.11 to 3.13", "make an environment with one")
    try:
        needed = [Requirement(one) for one in requirements()]
    except metadata.PackageNotFoundError:
        yield Finding("warn", "the program is not installed, so what it needs is unknown", _INSTALL)
        return
    wrong = []
    for one in needed:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version_of(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(found, prereleases=True):
            wrong.append(f"{one.name} {found} is not {one.specifier}")
    if wrong:
        yield Finding("fail", "; ".join(wrong), _INSTALL)
    else:
        yield ok(f"artesian {SOFTWARE}, Python {said}, homes of version {STATE_VERSION}; dependencies fit")
