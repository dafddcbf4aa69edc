"""Whether this one is among the members, by the join desk's word: who was shut out has nothing else to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from clients.connection import NODE_KEY
from clients.doctor.check import Check, Finding, ok
from clients.enrolment.desk_client import Standing
from clients.enrolment.errors import SUSPENDED, DeskUnreachable, NotAdmitted


class Membership:
    """How a member stands; the desk is asked once, by the first check that has to know.

    Args:
        role: `firm` or `bank`.
        standing: asks the join desk.
    """

    def __init__(self, home: Path, member: str, role: str, standing: Callable[[], Standing]) -> None:
        self._home, self._member, self._role, self._standing = home, member, role, standing

    @property
    def check(self) -> Check:
        """Of the membership itself."""
        return Check("membership", lambda: self._found)

    def unless_suspended(self, checks: Sequence[Check]) -> list[Check]:
        """The same checks, which find nothing where a suspension is the cause of all that they would find."""

        def of(check: Check) -> Check:
            return Check(check.name, lambda: () if self._is_suspended else check.run())

        return [of(one) for one in checks]

    @property
    def _is_suspended(self) -> bool:
        return any(one.level == "fail" for one in self._found)

    @cached_property
    def _found(self) -> tuple[Finding, ...]:
        return tuple(self._ask())

    def _ask(self) -> Iterator[Finding]:
        try:
            at = self._standing()
        except DeskUnreachable:
            return  # the check of the service says so
        except NotAdmitted as error:
            if SUSPENDED in str(error):
                what = f"{self._member} is suspended: a quorum of the members has shut it out"
                yield Finding("fail", what, self._way_back)
                return
            yield Finding("warn", str(error), f"join by an invite: artesian {self._role} join FILE --home {self._home}")
            return
        if at.phase == "enrolled":
            yield ok(f"{self._member} is an active member")
        else:
            mend = f"wait; `artesian {self._role} join --home {self._home}` goes on where it is"
            yield Finding("warn", f"{self._member} is no member yet: {at.detail}", mend)

    @property
    def _way_back(self) -> str:
        keys = "tls.key and node.key" if (self._home / NODE_KEY).exists() else "tls.key"
        again = f"artesian {self._role} join INVITE --again --home {self._home}"
        return f"ask the coordinator for a new invite, which a quorum approves; move {keys} away, then: {again}"
