"""The key of a round's encrypted sum: made by its holder, vouched for on the ledger, and handed to the firms."""

from __future__ import annotations

import hashlib

from clients.encryption.contexts import public_context
from clients.encryption.policy import PURPOSE
from clients.errors import ClientError
from clients.messages import HOLD, KEY
from clients.plan import Plan
from ledger.errors import LedgerError
from ledger.statement import decode_statement
from server.artifacts import ArtifactStore
from server.cohort import Cohort, RunFailed
from server.recording import Record
from server.witnessing import bring_up_to_date


def set_up_key(cohort: Cohort, record: Record | None, artifacts: ArtifactStore, plan: Plan, epoch: int) -> bytes:
    """Have a key made and recorded, and give its public half to the firms; who does not take it cannot take part.

    Args:
        plan: of the round, which names the key holder.
        epoch: the key's number, never used before.

    Returns:
        SHA-256 of the public context, 32 bytes, which is in the store.

    Raises:
        RunFailed: the holder is not there, takes part itself, or gave no fit key.
        NotWitnessed: its record did not become final.
    """
    holder, number = plan.key_holder, plan.number
    if holder not in cohort.witnesses:
        raise RunFailed(f"key holder: {holder!r} is not connected; {cohort.why(0)}")
    if holder in cohort.members:
        raise RunFailed(f"key holder: {holder!r} takes part in the task; name a firm that does not")
    context, statement = b"", b""
    for _, reply in cohort.ask(HOLD, {holder: {"cid": cohort.cid, "epoch": epoch}}, number):
        context, statement = bytes(reply["context"]), bytes(reply["statement"])
    if not context:
        raise RunFailed(f"key holder: {holder!r} made no key; {cohort.why(number)}")
    try:
        public_context(context)
        if record is not None:
            _require_vouched(statement, holder, epoch, hashlib.sha256(context).digest())
            record.append([statement])
    except (ClientError, LedgerError) as error:
        raise RunFailed(f"key holder: {holder!r} gave no fit key: {error}") from error
    if record is not None:
        bring_up_to_date(cohort, record, number)
        record.require_final()
    request = {"holder": holder, "context": context}
    for _ in cohort.ask(KEY, dict.fromkeys(cohort.members, request), number):
        pass
    return artifacts.put(context)


def _require_vouched(statement: bytes, holder: str, epoch: int, digest: bytes) -> None:
    read = decode_statement(statement)
    expected = {"t": "epoch_key", "purpose": PURPOSE, "epoch": epoch, "key": digest}
    if read.issuer != holder or any(read.payload.get(name) != value for name, value in expected.items()):
        raise RunFailed(f"key holder: {holder!r} signed another record than that of its key")
