"""Whether the consortium is founded, and who holds that up: before it there is no ledger, and nobody to train with."""

from __future__ import annotations

from pathlib import Path

from ledger.homes import POLICY
from server.enrolment.book import ENROLMENT, EnrolmentBook
from server.errors import ServerError


class NotFounded(ServerError):
    """There is no ledger yet."""

    exit_code = 1


def awaited(home: Path) -> tuple[str, ...] | None:
    """Before the founding, who is still to join and be admitted; None after it, and where no founding is prepared."""
    if (home / POLICY).exists() or not (home / ENROLMENT).exists():
        return None
    with EnrolmentBook(home) as book:
        return tuple(book.awaited())


def require_founded(home: Path) -> None:
    """Insist that there is a ledger.

    Raises:
        NotFounded: there is none yet; says who is missing.
    """
    missing = awaited(home)
    if missing is None:
        return
    who = f"still to join and be admitted: {', '.join(missing)}; " if missing else ""
    raise NotFounded(
        f"there is no ledger yet: the consortium is founded when its founders are admitted; {who}see: "
        f"artesian coordinator admit --home {home}"
    )
