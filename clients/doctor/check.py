"""Checks and what they find: run one after the other, whatever one of them raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "warn", "fail", "unreachable"]
_UNREACHABLE = 3


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found.

    Attributes:
        level: `fail` stops the member's part; `unreachable` is for something that did not answer; `warn` can wait.
        what: what is so, and where.
        mend: what to do; empty where nothing is wrong.
    """

    level: Level
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    """One concern.

    Attributes:
        name: of the concern, one word or two.
        run: finds; an error of ours that it raises is a finding, too.
    """

    name: str
    run: Callable[[], Iterable[Finding]]


@dataclass(frozen=True)
class Report:
    """What every check has found, in order, with the checks' names."""

    found: tuple[tuple[str, Finding], ...]

    @property
    def exit_code(self) -> int:
        """1 if something fails, 3 if only something could not be reached, else 0."""
        levels = {finding.level for _, finding in self.found}
        return 1 if "fail" in levels else _UNREACHABLE if "unreachable" in levels else 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        checks = [{"check": name, **vars(finding)} for name, finding in self.found]
        return {"ok": self.exit_code == 0, "checks": checks}

    def lines(self) -> list[str]:
        """As text: what is so, and below it how to mend it."""
        out = []
        for name, finding in self.found:
            out.append(f"{finding.level:<11} {name}: {finding.what}")
            out += [f"{'':<11} mend: {finding.mend}"] if finding.mend else []
        return out


def ok(what: str) -> Finding:
    """As it should be."""
    return Finding("ok", what)


def run_checks(checks: Sequence[Check]) -> Report:
    """Carry out every check, in order."""
    return Report(tuple((check.name, finding) for check in checks for finding in _findings(check)))


def _findings(check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.run())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        found.append(Finding("fail", f"{where}{error.strerror or error}", "check the path and its rights"))
    except Exception as error:
        code = getattr(error, "exit_code", None)  # of ours, whichever package it is from
        if code is None:
            raise
        what, _, mend = str(error).partition("; ")
        level: Level = "unreachable" if code == _UNREACHABLE else "fail"
        found.append(Finding(level, what, mend or "mend what this line names, and ask the doctor again"))
    return found
