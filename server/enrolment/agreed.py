"""Whether `consortium.toml` in the coordinator's home is the policy that the members have agreed on."""

from __future__ import annotations

from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, policy_hash
from clients.enrolment.errors import BadInvite
from clients.enrolment.invite import Invite
from ledger.rules import State
from server.errors import ServerError

INVITES = "invites"
"""The folder of invites in the coordinator's home, `MEMBER.txt` each. Whoever has read one can use it."""


class NotAgreed(ServerError):
    """The file is not the one that the members know: it was changed, or has not been put in place yet."""


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
        f"artesian ledger members propose policy --config COPY --out FILE --home {home}; when it is on the ledger, "
        "put the copy in its place"
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
