"""Every type of record: who may issue it, the rule that it must keep, and the names under which it is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ledger.rules import epochs, membership, privacy, sequencing, training, usage
from ledger.rules.state import COORDINATOR, State
from ledger.statement import Statement

Rule: TypeAlias = Callable[[State, Statement, int], State]


@dataclass(frozen=True)
class Issuer:
    """Who may issue a record: in words, and as a test."""

    words: str
    may_speak: Callable[[State, Statement], bool]


@dataclass(frozen=True)
class Kind:
    """A type of record.

    Attributes:
        issuer: who may issue it.
        rule: checks it and returns the next state; its docstring says in a sentence what it does.
        refusals: names of the rules by which it is refused, besides those that all records share.
    """

    issuer: Issuer
    rule: Rule
    refusals: tuple[str, ...] = ()


_COORDINATOR = Issuer("the coordinator", lambda state, statement: statement.issuer == COORDINATOR)
_FIRM = Issuer("an active firm", lambda state, statement: state.is_enrolled(statement.issuer, "firm"))
_MEMBER = Issuer("an active member", lambda state, statement: state.is_enrolled(statement.issuer))
_ANYONE = Issuer(
    "the coordinator or an active member",
    lambda state, statement: statement.issuer == COORDINATOR or state.is_enrolled(statement.issuer),
)
_COORDINATOR_OR_BANK = Issuer(
    "the coordinator, or the active bank that it names",
    lambda state, statement: (
        statement.issuer == COORDINATOR
        or (statement.issuer == statement.payload["bank"] and state.is_enrolled(statement.issuer, "bank"))
    ),
)

DELETION = "deletion"
"""The kind of attestation by which the coordinator says that it deletes artifacts of rounds."""
_ATTESTER = Issuer(
    f"an active member; of the kind `{DELETION}` the coordinator",
    lambda state, statement: (
        state.is_enrolled(statement.issuer)
        or (statement.issuer == COORDINATOR and statement.payload.get("kind") == DELETION)
    ),
)

KINDS: Mapping[str, Kind] = {
    "policy": Kind(_ANYONE, membership.apply_policy, ("approvals", "key", "policy", "signatures")),
    "enrol": Kind(_ANYONE, membership.apply_enrol, ("approvals", "key", "member", "signatures")),
    "rotate": Kind(_ANYONE, membership.apply_rotate, ("approvals", "key", "log", "member", "signatures")),
    "suspend": Kind(_ANYONE, membership.apply_suspend, ("approvals", "member")),
    "handover": Kind(_ANYONE, sequencing.apply_handover, ("approvals", "base", "key")),
    "encryption_key": Kind(_MEMBER, membership.apply_encryption_key, ("key",)),
    "epoch_key": Kind(_MEMBER, epochs.apply_epoch_key, ("epoch",)),
    "task": Kind(_COORDINATOR, training.apply_task, ("task",)),
    "round": Kind(_COORDINATOR, training.apply_round, ("cohort", "parent", "phase", "task")),
    "contribution": Kind(
        _FIRM, training.apply_contribution, ("cap", "cohort", "grid", "once", "parent", "phase", "round")
    ),
    "aggregate": Kind(_COORDINATOR, training.apply_aggregate, ("cohort", "inputs", "phase", "round")),
    "publish": Kind(_COORDINATOR, training.apply_publish, ("model", "phase", "round")),
    "revoke": Kind(_COORDINATOR, training.apply_revoke, ("model",)),
    "abort": Kind(_COORDINATOR, training.apply_abort, ("phase",)),
    "cap": Kind(_FIRM, privacy.apply_cap, ("cap", "grid", "issuer", "task")),
    "consent": Kind(_FIRM, usage.apply_consent, ("issuer", "member")),
    "query": Kind(_COORDINATOR_OR_BANK, usage.apply_query, ("member", "model")),
    "attest": Kind(_ATTESTER, usage.apply_attest, ("inputs",)),
}
SHARED = ("acl", "cid", "genesis", "id", "issuer", "order", "parent", "schema", "signature")
"""Names of the rules that every record keeps."""
