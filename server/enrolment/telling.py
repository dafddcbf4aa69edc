"""What a caller of the join desk is told of an error, and what only its operator."""

from __future__ import annotations

import logging

import grpc

from clients.enrolment.errors import NotAdmitted
from clients.errors import ClientError
from clients.masking.errors import MalformedMessage
from ledger.errors import LedgerError
from server.enrolment.issuing import KeyRevoked
from server.enrolment.proposing import CannotAdmit
from server.errors import ServerError
from server.scoring.quota import OverQuota

_FOR_CALLERS = (NotAdmitted, KeyRevoked, CannotAdmit, MalformedMessage)
"""Whose words are written for who calls, and name nothing of this machine."""

log = logging.getLogger("artesian.desk")


def told(error: Exception) -> tuple[grpc.StatusCode, str]:
    """How a call ends for `error`: its words go to the caller only where they were made for the caller."""
    if isinstance(error, OverQuota):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
    if isinstance(error, _FOR_CALLERS):
        no = error.exit_code == 1
        return grpc.StatusCode.PERMISSION_DENIED if no else grpc.StatusCode.INVALID_ARGUMENT, str(error)
    if isinstance(error, ClientError | ServerError | LedgerError):
        log.error("%s", error)
    else:
        log.error("%s", error, exc_info=error)
    away = getattr(error, "exit_code", 2) == 3
    fault = "cannot reach what it needs" if away else "has a fault"
    status = grpc.StatusCode.UNAVAILABLE if away else grpc.StatusCode.INTERNAL
    return status, f"the desk {fault}; its operator finds it in the log"
