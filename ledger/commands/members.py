"""`artesian ledger members`: who belongs, whose keys hold, and how a member's own keys are made and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, write
from ledger.commands.places import Database, Home, OwnHome, database, standing

if TYPE_CHECKING:
    from ledger.rules import State

Member = Annotated[str, typer.Option("--member", help="The member's id, a short lower-case name.")]


def listing(context: typer.Context, home: Home = None, db: Database = None, as_json: AsJson = False) -> None:
    """Who belongs, whose keys hold, and changes that a quorum approves. Alone: list the members."""
    if context.invoked_subcommand is not None:
        return
    with answering(as_json):
        at = standing(database(home, db))
        answer(_facts(at.origin, at.state), _words(at.origin, at.state), as_json)


def key(
    home: OwnHome,
    member: Member,
    kind: Annotated[str, typer.Option(help="firm or bank.")] = "firm",
    name: Annotated[str, typer.Option(help="The organisation's name, for people. Default: the id.")] = "",
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Ed25519 and ML-DSA-65 together.")] = False,
    coming: Annotated[bool, typer.Option("--next", help="The key that is to replace the present one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a member's signing key where it stays, and print the block with which it asks to be enrolled."""
    from ledger.genesis import Founder
    from ledger.homes import COMING_KEY, MEMBER, SIGNING_KEY
    from ledger.keys import SigningKey
    from ledger.member_file import KINDS, member_block
    from ledger.rules.records import is_slug

    with answering(as_json):
        if kind not in KINDS:
            raise UsageError(f"--kind {kind!r}: choose {' or '.join(KINDS)}")
        if not is_slug(member):
            raise UsageError(f"--member {member!r}: use lower-case letters, digits and hyphens")
        secret, block_file = (COMING_KEY, f"next-{MEMBER}") if coming else (SIGNING_KEY, MEMBER)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = SigningKey.generate(hybrid=hybrid)
        made.save(home / secret)
        block = member_block(Founder(member, kind, made.public, name or member))
        write(home / block_file, block.encode(), replace=True)
        facts = {
            "ok": True,
            "member": member,
            "kind": kind,
            "key": made.public.raw,
            "fingerprint": made.public.fingerprint,
            "file": str(home / block_file),
        }
        answer(facts, block.splitlines(), as_json)


def switch(home: OwnHome, as_json: AsJson = False) -> None:
    """Put the next signing key in place of the present one, once the mirror says that the ledger names it.

    The old key is kept beside it as `signing.old-....pem`: nothing is signed with it any more.
    """
    from ledger.homes import COMING_KEY, MEMBER, SIGNING_KEY
    from ledger.keys import SigningKey

    with answering(as_json):
        coming, present = SigningKey.load(home / COMING_KEY).public, SigningKey.load(home / SIGNING_KEY).public
        state = standing(database(home, None)).state
        known = {m.key.raw: m.member for m in state.members.values()}
        if state.coordinator is not None:
            known[state.coordinator.raw] = "coordinator"
        if coming.raw not in known:
            raise UsageError(f"{home / COMING_KEY}: the ledger does not name this key yet; let the witness catch up")
        old = home / f"signing.old-{present.kid.hex()[:8]}.pem"
        if old.exists():
            raise UsageError(f"{old}: is there already; move it away")
        (home / SIGNING_KEY).rename(old)
        (home / COMING_KEY).rename(home / SIGNING_KEY)
        if (home / f"next-{MEMBER}").exists():
            (home / f"next-{MEMBER}").replace(home / MEMBER)
        facts = {"ok": True, "member": known[coming.raw], "fingerprint": coming.fingerprint, "old": str(old)}
        answer(facts, [f"{known[coming.raw]} signs with {coming.fingerprint} now. The old key is {old}."], as_json)


def _facts(origin: str, state: State) -> dict[str, Any]:
    from ledger.policy import quorum_size

    coordinator, log = state.coordinator, state.log
    return {
        "origin": origin,
        "cid": state.cid,
        "size": state.size,
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
                "key": member.key.raw,
                "fingerprint": member.key.fingerprint,
                "hybrid": member.key.is_hybrid,
            }
            for _, member in sorted(state.members.items())
        ],
    }


def _words(origin: str, state: State) -> list[str]:
    facts = _facts(origin, state)
    log = facts["log"]
    words = [
        f"{origin} after {state.size} entries: {state.voters} voting members, quorum {facts['quorum']}, "
        f"signatures {facts['signatures']}",
        f"  {'coordinator':<16} {'':<5} {facts['coordinator']}",
        f"  {'log':<16} {'':<5} {log['fingerprint']} since entry {log['since']}, "
        f"next key {'committed' if log['next'] else 'not committed'}",
    ]
    return words + [
        f"  {m['member']:<16} {m['kind']:<5} {m['fingerprint']}  {m['name']}{'' if m['active'] else '  (suspended)'}"
        for m in facts["members"]
    ]
