"""The catalogue of reasons: a page for each exit code and for each reason with which a part of the system says no.

The pages stand in `docs/reasons/FAMILY/CODE.md`; an installation has them under `share/artesian/reasons`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.errors import ClientError

FAMILIES = {
    "exit": "exit codes of the commands",
    "firm": "refusals of a firm",
    "coordinator": "why a firm is not in a round, as the coordinator notes it",
    "ledger": "rules of the ledger",
    "scores": "what the score service answers",
    "join": "what the join desk answers",
    "flower": "errors of Flower that the coordinator shows",
}
_PLACES = (Path(__file__).resolve().parents[1] / "docs" / "reasons", Path(sys.prefix) / "share/artesian/reasons")


class NoSuchReason(ClientError):
    """No page has this code."""


@dataclass(frozen=True)
class Page:
    """One page: `family` is a key of `FAMILIES`, `code` as it is said, with `-` for a blank."""

    family: str
    code: str
    path: Path

    @property
    def text(self) -> str:
        """The page, in Markdown."""
        return self.path.read_text(encoding="utf-8")


def pages(places: Sequence[Path] = _PLACES) -> list[Page]:
    """All pages, by family and code.

    Raises:
        NoSuchReason: the installation has none.
    """
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise NoSuchReason(f"the catalogue of reasons is missing: {places[-1]}; install artesian again")
    return [Page(family, path.stem, path) for family in FAMILIES for path in sorted((folder / family).glob("*.md"))]


def find(asked: str, places: Sequence[Path] = _PLACES) -> list[Page]:
    """The pages of a code: `cohort`, `firm/cohort`, `PairSecretRefused/firm-3`, or a whole line that begins with one.

    Raises:
        NoSuchReason: there is none; names codes that begin alike.
    """
    known, family = pages(places), ""
    code = asked.split(":")[0].strip()
    first, _, rest = code.partition("/")
    if rest and first in FAMILIES:
        family, code = first, rest
    slug = code.partition("/")[0].strip().replace(" ", "-").lower()
    found = [page for page in known if page.code.lower() == slug and family in ("", page.family)]
    if not found:
        near = sorted({page.code for page in known if slug and page.code.lower().startswith(slug[:3])})
        hint = f"; some begin alike: {', '.join(near)}" if near else ""
        raise NoSuchReason(f"no page has the code {asked!r}{hint}; artesian explain lists all")
    return found
