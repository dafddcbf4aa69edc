"""An auditor reads what a firm opened to it, and holds it against the ledger and the store: what was in that update?

Everything comes from copies that are checked, as in an audit; the firm's word is only good for seeds that hash to what
it committed to when it contributed. What is proved is about the numbers, not about the records behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.opening import NotForThisKey, Opening, open_opening
from clients.plan import Plan
from ledger.keys import PublicKey
from ledger.service.encryption_key import EncryptionKey
from ledger.statement import Statement, decode_statement
from server.aggregation.masked import recompute
from server.aggregation.opened_update import open_update
from server.artifacts import ArtifactMissing, ArtifactStore
from server.errors import ServerError
from server.ledger_copy import LedgerCopy, RecordedRound
from server.stored_round import AuditMismatch, stored_round


class NotAnAuditor(ServerError):
    """The encryption key at hand is not one that the ledger knows."""


@dataclass(frozen=True)
class OpenedUpdate:
    """A firm's update that is proved to be the one of its contribution.

    Attributes:
        member, auditor: who opened it, and to whom.
        round_id: 16 bytes.
        task: the task's name.
        number: the round's number in its run.
        entry: the contribution's entry on the ledger.
        firms: how many contributions the sum holds that it went into: that of the round, or of one of its groups.
        update: float64[dimension], in the unit of the update: the firm's clipped sum with its noise.
        noise_std: standard deviation of the firm's noise a coordinate, in that unit; 0 without privacy.
        others: float64[dimension], the sum of all others' updates.
        units: what the firm's weight counts, with noise of the deviation `units_std`; None where weights are declared.
    """

    member: str
    auditor: str
    round_id: bytes
    task: str
    number: int
    entry: int
    firms: int
    update: NDArray[np.float64]
    noise_std: float
    others: NDArray[np.float64]
    units: float | None = None
    units_std: float = 0.0

    @property
    def norm(self) -> float:
        """Euclidean norm."""
        return float(np.linalg.norm(self.update))

    @property
    def largest(self) -> float:
        """Largest magnitude of a value."""
        return float(np.abs(self.update).max())

    @property
    def noise_norm(self) -> float:
        """The norm that the firm's noise alone is expected to have."""
        return self.noise_std * float(np.sqrt(self.update.size))

    @property
    def share_of_sum(self) -> float | None:
        """Its norm over that of the sum; None where that is zero."""
        whole = float(np.linalg.norm(self.update + self.others))
        return self.norm / whole if whole else None

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle to the others' sum, -1 to 1; None where one of the two is zero."""
        both = self.norm * float(np.linalg.norm(self.others))
        return float(self.update @ self.others) / both if both else None


def examine(file: bytes, copy: LedgerCopy, store: ArtifactStore, keys: Iterable[EncryptionKey]) -> OpenedUpdate:
    """Read an opening and prove whose update it gives.

    Args:
        copy: a ledger that was replayed.
        keys: the auditor's encryption keys, the present one first.

    Raises:
        NoOpening, NotForThisKey: it is none, or not for this auditor in this consortium.
        NotAnAuditor: none of the keys is on the ledger.
        AuditMismatch, BadSignature, AggregationError, ArtifactMissing, ArtifactDamaged: naming the first thing that
            does not match.
    """
    if copy.problem is not None:
        raise AuditMismatch(copy.problem)
    statements = [decode_statement(raw) for raw in copy.entries]
    opening, signed = _open(file, statements, keys)
    recorded = copy.rounds.get(opening.round_id)
    if recorded is None or recorded.aggregate is None:
        raise AuditMismatch(f"round {opening.round_id.hex()}: the ledger has no aggregate of it")
    _check_signature(signed, statements, recorded.entry)
    return _prove(opening, recorded, store)


def _open(file: bytes, statements: Sequence[Statement], keys: Iterable[EncryptionKey]) -> tuple[Opening, Statement]:
    cid = statements[0].payload["cid"]
    # Anybody can register a key that is another's: what it opens says for whom it was made, so all are tried.
    named = [one for one in statements if one.payload["t"] == "encryption_key"]
    owners = dict.fromkeys((one.payload["key"], one.issuer) for one in named)
    own = [(key, owner) for key in keys for registered, owner in owners if registered == key.public]
    if not own:
        raise NotAnAuditor("the encryption key is not one that the ledger knows; give --encryption-key or a newer copy")
    problem: NotForThisKey | None = None
    for key, owner in own:
        try:
            return open_opening(file, key, cid, owner)
        except NotForThisKey as error:
            problem = problem or error
    assert problem is not None, "a key was tried"
    raise problem


def _check_signature(signed: Statement, statements: Sequence[Statement], since: int) -> None:
    """The firm signs with a key that it has had since the round was opened.

    With an older one too: that of a firm that has been suspended since, or of a file that was kept. What counts is in
    the seeds, which nobody else has, not even with the key.
    """
    known: dict[bytes, PublicKey] = {}
    for index, one in enumerate(statements):
        if one.payload["t"] in ("enrol", "rotate") and one.payload["member"] == signed.issuer:
            key = PublicKey(one.payload["key"])
            known = {key.kid: key} if index <= since else {**known, key.kid: key}
    if signed.kid not in known:
        raise AuditMismatch(f"opening: it is not signed with a key that {signed.issuer} has had since the round")
    signed.verify(known[signed.kid])


def _prove(opening: Opening, recorded: RecordedRound, store: ArtifactStore) -> OpenedUpdate:
    member, name = opening.member, f"round {opening.round_id.hex()}"
    contribution = recorded.contributions.get(member)
    if contribution is None or contribution.commit != opening.commit:
        raise AuditMismatch(f"{name}: the contribution that {member} opens is not one that the ledger has")
    plan = Plan.from_map(recorded.payload["plan"])
    try:
        kept = stored_round(recorded, plan, store).sum_of(member)
    except ArtifactMissing as missing:
        if recorded.deletion is None:
            raise
        why = f"deleted, as entry {recorded.deletion.entry} says; a copy of the store from before is needed"
        raise ArtifactMissing(f"{missing} ({why})", missing.artifact) from None
    session = kept.session
    if session.protection != "masked" or session.sid != opening.sid:
        raise AuditMismatch(f"{name}: {member} opens another session than it contributed to")
    total = recompute(session, kept.artifacts, kept.commits)
    values = open_update(session, member, kept.artifacts, kept.commits, opening.seeds)
    update, others = session.quantiser.dequantise(values), session.quantiser.dequantise(total - values)
    noise_std = plan.noise_std(len(session.roster))
    # A weight is no direction: beside the gradients it would make any two updates look alike.
    summed = plan.weighting == "summed"
    return OpenedUpdate(
        member=member,
        auditor=opening.auditor,
        round_id=opening.round_id,
        task=recorded.payload["task"],
        number=plan.number,
        entry=contribution.index,
        firms=len(kept.commits),
        update=update[: plan.dimension],
        noise_std=noise_std,
        others=others[: plan.dimension],
        units=float(update[-1]) / plan.weight if summed else None,
        units_std=noise_std / plan.weight if summed else 0.0,
    )
