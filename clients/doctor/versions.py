"""Whether this member's program and the coordinator's work together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clients.doctor.check import Check, Finding, ok
from clients.enrolment.errors import NotAdmitted, OlderDesk
from clients.enrolment.state import CoordinatorState
from clients.versions import MESSAGE_VERSIONS, SOFTWARE, Span, misfit


def version_checks(
    member: str, state: Callable[[], CoordinatorState], ours: str = SOFTWARE, spoken: Span = MESSAGE_VERSIONS
) -> list[Check]:
    """The coordinator's release and versions of the messages, against this member's.

    Args:
        state: asks the join desk.
    """
    return [Check("versions", lambda: _versions(member, state, ours, spoken))]


def _versions(member: str, state: Callable[[], CoordinatorState], ours: str, spoken: Span) -> Iterator[Finding]:
    try:
        at = state()
    except OlderDesk:
        what = f"the coordinator's program is older than this one (artesian {ours}) and does not say its release"
        yield Finding("warn", what, "members one release apart work together; ask the operator which one it is")
        return
    except NotAdmitted as error:
        yield Finding("warn", str(error), "the coordinator tells its release to active members: wait to be admitted")
        return
    apart = misfit(member, ours, "the coordinator", at.release)
    if apart:
        what, _, mend = apart.partition("; ")
        yield Finding("fail", what, f"{mend}; releases one minor version apart work together")
    elif at.messages is not None and at.messages.common(spoken) is None:
        what = f"{member} speaks messages {spoken}, the coordinator (artesian {at.release}) speaks {at.messages}"
        older = member if spoken.highest < at.messages.lowest else "the coordinator"
        yield Finding("fail", what, f"upgrade {older}")
    else:
        yield ok(f"artesian {ours} here, {at.release} at the coordinator: they work together")
