"""Who may read what: an entry's level is the `acl` of its record, and without one its readers are the members."""

from collections.abc import Mapping
from typing import Any

from ledger.errors import LedgerError
from ledger.merkle import leaf_hash
from ledger.service import ledger_pb2 as pb
from ledger.statement import StatementError, decode_statement

SERVICE = pb.DESCRIPTOR.services_by_name["Ledger"].full_name
PUBLIC, MEMBERS, PARTIES = "public", "members", "parties"


class NotAllowed(LedgerError):
    """The caller may not do this; the message says who may."""

    exit_code = 1


def method_name(rpc: str) -> str:
    """gRPC's full name of a method of ledger.proto."""
    return f"/{SERVICE}/{rpc}"


def level_of(payload: Mapping[str, Any]) -> str:
    """Who may read a record: `public` anyone, `members` the members, `parties` them too, but its body only the parties.

    Anything else than these words, which the rules let on no ledger, counts as `parties`.
    """
    level = payload.get("acl", MEMBERS)
    return level if level in (PUBLIC, MEMBERS) else PARTIES


def entry_for(raw: bytes, caller: str | None) -> pb.Entry:
    """Entry `raw` as `caller` (a member, or None for an outsider) may see it.

    An outsider gets of anything but a public record the leaf hash: with the others' it makes up the tree.
    """
    if caller is not None or _is_public(raw):
        return pb.Entry(statement=raw)
    return pb.Entry(leaf_hash=leaf_hash(raw))


def require_member(caller: str | None, what: str) -> str:
    """The caller, if it has said who it is.

    Raises:
        NotAllowed: it has not; `what` says what it wanted.
    """
    if caller is None:
        raise NotAllowed(f"{what} is for members; call with a token by a member's signing key")
    return caller


def _is_public(raw: bytes) -> bool:
    try:
        return level_of(decode_statement(raw).payload) == PUBLIC
    except StatementError:
        return False
