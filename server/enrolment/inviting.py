"""Making invites, and what has become of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from clients.certificates import AUTHORITY_CERTIFICATE, read_pem
from clients.enrolment.consortium import CONSORTIUM, policy_hash, read_policy
from clients.enrolment.invite import TOKEN_BYTES, Invite
from ledger.rules.records import MAX_TEXT, is_slug
from ledger.rules.state import RESERVED
from ledger.whole_file import write_whole
from server.enrolment.agreed import INVITES, require_on_ledger
from server.enrolment.book import EnrolmentBook, Invited
from server.enrolment.ledger_access import LedgerAccess
from server.errors import ServerError
from server.initialising import require_home
from server.network import load_network


class CannotInvite(ServerError):
    """Nobody can be invited like this."""


@dataclass(frozen=True)
class Invitation:
    """An invite that was made, and its file, relative to the home."""

    invite: Invite
    file: Path


def parse_members(given: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str]]:
    """Id, kind and name of each member, from `ID` or `ID=NAME` by kind.

    Raises:
        CannotInvite: a kind or an id is none, or one is given twice.
    """
    found = []
    for kind, texts in given.items():
        if kind not in ("firm", "bank"):
            raise CannotInvite(f"--kind {kind!r}: choose firm or bank")
        for text in texts:
            member, _, name = text.partition("=")
            if not is_slug(member) or member in RESERVED:
                raise CannotInvite(f"{member!r} cannot be a member's id: use lower-case letters, digits and hyphens")
            if len(name) > MAX_TEXT:
                raise CannotInvite(f"{member}: a name has at most {MAX_TEXT} characters")
            found.append((member, kind, name or member))
    ids = [member for member, _, _ in found]
    twice = [member for member in ids if ids.count(member) > 1]
    if twice:
        raise CannotInvite(f"{twice[0]!r} is given twice; each member has one id and one kind")
    return found


def invite_members(
    home: Path,
    members: Sequence[tuple[str, str, str]],
    life_s: float,
    now: Callable[[], float],
    entropy: Callable[[int], bytes] = os.urandom,
) -> list[Invitation]:
    """Make an invite for each, and keep its token's hash and its file.

    Args:
        members: id, kind and name.
        life_s: how long it can be used.

    Raises:
        CannotInvite: one is a member already.
        NotInitialised: the home is none.
        NotAgreed: its policy is not the one on the ledger.
    """
    require_home(home)
    policy_file = (home / CONSORTIUM).read_bytes()
    policy, state = read_policy(policy_file), LedgerAccess(home).state()
    require_on_ledger(home, policy_file, state)
    network = load_network(home)
    authority = x509.load_pem_x509_certificate(read_pem(home / AUTHORITY_CERTIFICATE)).public_bytes(Encoding.DER)
    made = []
    (home / INVITES).mkdir(mode=0o700, exist_ok=True)
    with EnrolmentBook(home) as book:
        for member, kind, name in members:
            if state is not None and state.is_enrolled(member):
                raise CannotInvite(f"{member!r} is a member already; its certificate it renews itself")
            sort: Literal["firm", "bank"] = "firm" if kind == "firm" else "bank"
            invite = Invite(
                cid=policy.cid,
                title=policy.name,
                member=member,
                kind=sort,
                name=name,
                desk=network.address(network.enrolment_port),
                authority=authority,
                policy=policy_hash(policy_file),
                token=entropy(TOKEN_BYTES),
                until_s=int(now() + life_s),
            )
            book.invite(Invited(invite.token_sha256, member, kind, name, invite.until_s, None, withdrawn=False))
            file = Path(INVITES) / f"{member}.txt"
            write_whole(home / file, f"{invite.line()}\n".encode())
            made.append(Invitation(invite, file))
    return made


def state_of(invited: Invited, now_s: float) -> str:
    """open, used, withdrawn or expired."""
    if invited.used_by is not None:
        return "used"
    if invited.withdrawn:
        return "withdrawn"
    return "expired" if invited.until_s < now_s else "open"
