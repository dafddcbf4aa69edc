"""`artesian ledger members`: who belongs, and whose keys hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ledger.commands.answering import AsJson, answer, answering
from ledger.commands.places import Database, Home, standing

if TYPE_CHECKING:
    from ledger.commands.places import Standing


def listing(context: typer.Context, home: Home = None, db: Database = None, as_json: AsJson = False) -> None:
    """Who belongs, whose keys hold, and changes that a quorum approves. Alone: list the members."""
    if context.invoked_subcommand is not None:
        return
    with answering(as_json):
        at = standing(home, db)
        answer(_facts(at), _words(at), as_json)


def _facts(at: Standing) -> dict[str, Any]:
    from ledger.policy import quorum_size

    state = at.state
    coordinator, log = state.coordinator, state.log
    return {
        "ok": True,
        "origin": at.origin,
        "cid": state.cid,
        "founding": at.founding,
        "size": state.size,
        "final_size": at.final_size,
        "signatures": state.terms.signatures,
        "min_cohort": state.terms.min_cohort,
        "quorum": quorum_size(state.voters),
        "coordinator": None if coordinator is None else coordinator.fingerprint,
        "log": None if log is None else {"fingerprint": log.key.fingerprint, "since": log.since, "next": log.next},
        "members": [
            {
                "member": member.member,
                "kind": member.kind,
                "name": member.name,
                "active": member.active,
                "since": member.since,
                "key": member.key.raw,
                "fingerprint": member.key.fingerprint,
                "hybrid": member.key.is_hybrid,
            }
            for _, member in sorted(state.members.items())
        ],
    }


def _words(at: Standing) -> list[str]:
    facts = _facts(at)
    log = facts["log"]
    words = [
        f"{at.origin} after {at.state.size} entries, {at.final_size} final: {at.state.voters} voting members, "
        f"quorum {facts['quorum']}, "
        f"signatures {facts['signatures']}, next log key {'committed' if log['next'] else 'not committed'}",
        f"  {'founding':<16} {'':<5} {facts['founding']}",
        f"  {'coordinator':<16} {'':<5} {facts['coordinator']}",
        f"  {'log':<16} {'':<5} {log['fingerprint']}  since entry {log['since']}",
    ]
    return words + [
        f"  {m['member']:<16} {m['kind']:<5} {m['fingerprint']}  {'' if m['active'] else 'suspended '}"
        f"since entry {m['since']}  {m['name']}"
        for m in facts["members"]
    ]
