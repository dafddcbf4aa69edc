"""Bodies at the service: which it takes, keeps, hands out and erases. What takes a log is one question to it."""

from collections.abc import Mapping, Sequence

from ledger.errors import NoSuchEntry
from ledger.kept_bodies import BodyState, names_body
from ledger.log import Log
from ledger.rules import COORDINATOR
from ledger.service import ledger_pb2 as pb
from ledger.service.access import PARTIES, NotAllowed, level_of
from ledger.service.bodies import BadBody, Envelope
from ledger.service.errors import BadRequest, NoBody
from ledger.service.limits import Settings
from ledger.statement import Statement, decode_statement

ON_THE_WIRE: Mapping[BodyState, pb.BodyState] = {
    BodyState.TAKEN: pb.BODY_TAKEN,
    BodyState.KEPT: pb.BODY_KEPT,
    BodyState.ERASED: pb.BODY_ERASED,
    BodyState.MISSING: pb.BODY_MISSING,
}
_READ: Mapping[int, BodyState] = {number: state for state, number in ON_THE_WIRE.items()}


def state_of(number: int) -> BodyState | None:
    """The state that a reply names; None when the statement names no body."""
    return _READ.get(number)


def require_acceptable(
    body: bytes, statement: Statement, caller: str, most_bytes: int = Settings.max_body_bytes
) -> None:
    """Raise `BadBody` unless `caller` may hand in `body` with `statement`.

    The commitment is not checked: it is in the envelope, which only the parties open.
    """
    if level_of(statement.payload) != PARTIES or not names_body(statement):
        raise BadBody("only a record with acl 'parties' and a body_sha256 has a body")
    if statement.issuer != caller:
        raise BadBody(f"the body of a statement by {statement.issuer!r} is taken from nobody else")
    if len(body) > most_bytes:
        raise BadBody(
            f"the body has {len(body)} bytes, the limit is {most_bytes}; seal less, such as the key to a file that "
            "you hand over yourself"
        )
    Envelope.from_bytes(body)


def keep(log: Log, member: str, bodies: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
    """Keep bodies that `member` hands in, each with its statement's digest; say of which statements they are new."""
    return {digest for digest, body in bodies if log.put_body(digest, body, member)}


def states(log: Log, digests: Sequence[bytes], taken: set[bytes]) -> dict[bytes, BodyState]:
    """Where the bodies of these statements are, those just `taken` among them."""
    kept = log.kept(digests)
    known = {digest: kept[digest].state if digest in kept else BodyState.MISSING for digest in digests}
    return {**known, **dict.fromkeys(taken, BodyState.TAKEN)}


def hand_out(log: Log, digest: bytes) -> bytes:
    """The envelope that is kept for a statement.

    Raises:
        NoBody: it was erased or is missing; says how to come by the body.
        NoSuchEntry: no such statement.
    """
    raw = log.body(digest)
    if raw is not None:
        return raw
    issuer, kept = _statement(log, digest).issuer, log.kept([digest]).get(digest)
    if kept is not None:
        by = f" by {kept.owner!r}" if kept.owner else ""
        raise NoBody(f"its body was erased here{by}, for good; ask {issuer!r}, who issued it, for the content itself")
    raise NoBody(
        "its body is not here: it was never handed in, or lost when the ledger was rebuilt from a copy; ask "
        f"{issuer!r}, who issued it, to run the same artesian ledger attest again"
    )


def erase(log: Log, digest: bytes, member: str) -> BodyState:
    """Erase the body of a statement for good, and say where it was before. Entry, commitment and receipts stay.

    A missing one is not taken any more. Again: what somebody who was reading kept in the files is
    overwritten now.

    Raises:
        NotAllowed: only the issuer and the coordinator may.
        NoSuchEntry: no such statement.
        BadRequest: it names no body.
    """
    statement = _statement(log, digest)
    issuer, kept = statement.issuer, log.kept([digest]).get(digest)
    if member not in (issuer, COORDINATOR):
        raise NotAllowed(f"only {issuer!r}, who issued the statement, and the coordinator may erase its body")
    if not names_body(statement):
        raise BadRequest("this statement names no body; there is nothing to erase")
    state = BodyState.MISSING if kept is None else kept.state
    # Also when it was erased before: whoever was reading then has kept it from being overwritten in the files.
    log.delete_body(digest, kept.owner if kept is not None and state is BodyState.ERASED else member)
    return state


def _statement(log: Log, digest: bytes) -> Statement:
    index = log.index_of(digest)
    if index is None:
        raise NoSuchEntry("no statement with this digest is on the ledger")
    return decode_statement(log.entries(index, index + 1)[0])
