"""Errors that cross the wire: which status carries which, and back."""

import logging

import grpc

from ledger.checkpoint import CheckpointError, NotFinal
from ledger.errors import Damaged, LedgerError, NoSuchEntry, StoreError, StoreFull
from ledger.note import NoteError
from ledger.service.access import NotAllowed
from ledger.service.errors import BadRequest, Unreachable
from ledger.service.tokens import BadToken

_STATUS: tuple[tuple[type[LedgerError], grpc.StatusCode], ...] = (
    (BadToken, grpc.StatusCode.UNAUTHENTICATED),
    (NotAllowed, grpc.StatusCode.PERMISSION_DENIED),
    (NoSuchEntry, grpc.StatusCode.NOT_FOUND),
    (NotFinal, grpc.StatusCode.FAILED_PRECONDITION),
    (CheckpointError, grpc.StatusCode.ABORTED),
    (NoteError, grpc.StatusCode.INVALID_ARGUMENT),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (StoreFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
)

log = logging.getLogger("artesian.ledger")


def status_of(error: LedgerError) -> grpc.StatusCode:
    """The status with which a call ends for `error`; UNAVAILABLE unless the caller can do something about it."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), grpc.StatusCode.UNAVAILABLE)


def told(error: LedgerError) -> str:
    """What a caller is told of `error`: of the service's own troubles not where its files are; that goes to the log."""
    if not isinstance(error, StoreError | Damaged):
        return str(error)
    log.error("%s", error)
    what = "has no room left" if isinstance(error, StoreFull) else "cannot use its store"
    return f"the ledger {what}; its operator finds more in the log"


def connection_detail(detail: str) -> str:
    """What kept gRPC from connecting, of all that it says: `Connection refused`."""
    return detail.rpartition("Failed to connect to remote host: ")[2]


def error_of(status: grpc.StatusCode, detail: str, where: str) -> LedgerError:
    """The error that a call's status means to its caller; `where` names the service."""
    match status:
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return NotAllowed(detail)
        case grpc.StatusCode.NOT_FOUND:
            return NoSuchEntry(detail)
        case grpc.StatusCode.FAILED_PRECONDITION:
            return NotFinal(detail)
        case grpc.StatusCode.ABORTED:
            return CheckpointError(detail)
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.UNIMPLEMENTED | grpc.StatusCode.OUT_OF_RANGE:
            return BadRequest(detail)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unreachable(f"the ledger at {where} did not answer in time; try again")
    why = connection_detail(detail)
    return Unreachable(f"the ledger at {where} cannot answer: {why}; check the address, the network and TLS")
