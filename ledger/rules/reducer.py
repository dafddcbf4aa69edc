"""Dispatch of a statement to the rule of its record type, after the checks that all records share."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ledger.encoding import shown
from ledger.keys import BadSignature, KeyFileError, PublicKey
from ledger.rules.approvals import Assumed
from ledger.rules.ids import Ids
from ledger.rules.kinds import KINDS
from ledger.rules.records import problem_with
from ledger.rules.state import COORDINATOR, Refused, State
from ledger.statement import Statement

MEMBERSHIP = frozenset({"policy", "enrol", "rotate", "suspend", "handover"})
"""Records that change members, keys or terms, each upon the last: its `parent` is that one's digest."""


def initial(cid: str) -> State:
    """The state of the consortium `cid` before its first entry."""
    return State(cid)


def apply(state: State, statement: Statement, index: int) -> State:
    """Return the state after `statement` as entry `index`. The signature is not checked here: see `admit`.

    Raises:
        Refused: a rule forbids it; `state` is unchanged.
    """
    payload = statement.payload
    if index != state.size:
        raise Refused("order", index, f"the next entry is {state.size}")
    problem = problem_with(payload)
    if problem is not None:
        raise Refused("schema", index, problem)
    ids = _require_common(state, payload, index)
    kind = KINDS[payload["t"]]
    _require_stage(state, payload, index)
    if not kind.issuer.may_speak(state, statement):
        raise Refused("issuer", index, f"'{shown(statement.issuer)}' may not issue a {payload['t']} record")
    changed = kind.rule(state, statement, index)
    digest = statement.digest if payload["t"] in MEMBERSHIP else state.membership_digest
    return changed.having(size=index + 1, membership_digest=digest, ids=ids)


def admit(state: State, statement: Statement, index: int) -> State:
    """`apply`, after checking that the issuer's key of this moment signed the statement.

    Raises:
        Refused: wrong signature, unknown issuer, or a rule forbids it.
    """
    try:
        statement.verify(signing_key(state, statement, index))
    except BadSignature as error:
        raise Refused("signature", index, str(error)) from None
    return apply(state, statement, index)


def rehearse(state: State, statement: Statement) -> None:
    """`admit` of a record as the next entry, as if a quorum had approved it; the approvals in it are not looked at.

    Raises:
        Refused: the ledger would not take it, whoever approves.
    """
    approved = replace(statement, payload={**statement.payload, "approvals": Assumed()})
    admit(state, approved, state.size)


def signing_key(state: State, statement: Statement, index: int) -> PublicKey:
    """The key that the issuer of `statement` has in `state`.

    Entry 0 names the coordinator's key itself: trust in it comes from the checkpoint's witnesses.

    Raises:
        Refused: the issuer is unknown or suspended.
    """
    if statement.issuer == COORDINATOR:
        if state.coordinator is not None:
            return state.coordinator
        try:
            return PublicKey(statement.payload.get("coordinator", b""))
        except (KeyFileError, TypeError):
            raise Refused("genesis", index, "entry 0 is a policy record that names the coordinator's key") from None
    member = state.members.get(statement.issuer)
    if member is None or not member.active:
        raise Refused("issuer", index, f"'{shown(statement.issuer)}' is not an active member of the consortium")
    return member.key


def _require_common(state: State, payload: Mapping[str, Any], index: int) -> Ids:
    """The ids of the records, this one's included."""
    if payload["cid"] != state.cid:
        raise Refused("cid", index, f"the record is for consortium {payload['cid']!r}, this is {state.cid!r}")
    ids = state.ids.add(payload["id"])
    if ids is state.ids:
        raise Refused("id", index, f"the record id {payload['id'].hex()} stands in an earlier entry; make a new one")
    acl = payload.get("acl", "members")
    if (acl == "parties") != ("body_sha256" in payload):
        raise Refused("acl", index, f"a record for {acl} has {_BODY_OF[acl == 'parties']}")
    return ids


_BODY_OF = {
    True: "a body apart from the ledger; name its salted hash in body_sha256",
    False: "no body apart from the ledger; leave body_sha256 out, or set acl to parties",
}


def _require_stage(state: State, payload: Mapping[str, Any], index: int) -> None:
    """Entry 0 founds, the next entries enrol the founding members; later changes follow one upon the other."""
    if index == 0 and payload["t"] != "policy":
        raise Refused("genesis", index, "the first entry is the coordinator's policy record")
    if index > 0 and state.founders and payload["t"] != "enrol":
        raise Refused("genesis", index, f"enrol the other {state.founders} founding members before anything else")
    if payload["t"] in MEMBERSHIP and not state.founding and payload["parent"] != state.membership_digest:
        raise Refused(
            "parent",
            index,
            "a change of members, keys or terms names as its parent the digest of the last such record; "
            "ask for approvals of a new one",
        )
