"""Whether `consortium.toml` in the coordinator's home is the policy that the members have agreed on."""

from __future__ import annotations

from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, policy_hash, policy_of_home
from clients.enrolment.errors import BadInvite
from clients.enrolment.invite import Invite
from clients.flower.bundle import installed_bundle
from ledger.rules import State
from server.errors import ServerError

INVITES = "invites"
"""The folder of invites in the coordinator's home, `MEMBER.txt` each. Whoever has read one can use it."""


class NotAgreed(ServerError):
    """The file is not the one that the members know: it was changed, or has not been put in place yet."""


class NotNamed(ServerError):
    """The members have not agreed on the task, or on the app bundle of the software that is installed here."""

    exit_code = 1


def require_app_named(home: Path) -> str:
    """Insist that the policy allows runs of what is installed here; returns in words what that is.

    Raises:
        NotNamed: firms would refuse them.
        BadConsortium: the policy cannot be read.
    """
    policy, installed = policy_of_home(home), installed_bundle()
    what = f"app bundle {installed.sha256[:16]} (artesian {installed.version})"
    if policy is not None and not policy.names_app(installed.sha256):
        raise NotNamed(
            f"the consortium's policy does not name {what}, so firms refuse its runs; install a release that it names, "
            f"or propose this one: artesian coordinator apps --home {home}"
        )
    return what


def require_task_named(home: Path, task: str) -> None:
    """Insist that the policy names a task, where the home has one.

    Raises:
        NotNamed: firms would refuse it.
        BadConsortium: the policy cannot be read.
    """
    policy = policy_of_home(home)
    if policy is not None and task not in {one.name for one in policy.task}:
        raise NotNamed(
            f"the consortium's policy does not name the task {task!r}, so firms refuse it; propose a copy that does: "
            f"artesian coordinator propose-policy COPY --home {home}"
        )


def require_on_ledger(home: Path, raw: bytes, state: State | None) -> None:
    """Insist that these bytes of `consortium.toml` are what the ledger's terms name; before a founding nothing does.

    Raises:
        NotAgreed: they are not; says how the policy is changed.
    """
    found, named = policy_hash(raw), None if state is None else state.terms.config
    if named is None or named == found:
        return
    raise NotAgreed(
        f"{home / CONSORTIUM}: its hash is {found.hex()[:16]}…, the ledger's policy names {named.hex()[:16]}…, so "
        "nobody could join; put the file back that the members agreed on. To change the policy, propose a copy: "
        f"artesian coordinator propose-policy COPY --home {home}"
    )


def require_as_invited(home: Path, raw: bytes, members: list[str]) -> None:
    """Insist that these founders were invited to the policy of these bytes, as far as their invites are still here.

    Raises:
        NotAgreed: one has joined under another, and would refuse the ledger.
    """
    for member in members:
        path = home / INVITES / f"{member}.txt"
        try:
            invite = Invite.parse(path.read_text(encoding="utf-8"))
        except (OSError, BadInvite):
            continue
        if invite.policy != policy_hash(raw):
            raise NotAgreed(
                f"{home / CONSORTIUM} was changed after {member} was invited, who would refuse a ledger under it: put "
                "it back as it was, or withdraw and invite all founders again"
            )
