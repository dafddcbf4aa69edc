"""`artesian ledger verify`, `audit`, `show`, `policy`: check and look, change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, read, tell
from ledger.commands.places import Database, Home, PolicyFile, database, load_policy, policy_file, reading, standing
from ledger.commands.policies import is_behind, load_policies, policies_until, write_policies
from ledger.commands.progress import progress

if TYPE_CHECKING:
    from ledger.audit import AuditReport


def verify(
    receipt: Annotated[Path, typer.Argument(help="The receipt's file.")],
    statement: Annotated[Path, typer.Option("--statement", help="The signed statement's file.")],
    policy: Annotated[
        Path, typer.Option("--policy", help="Trust policy (C2SP tlog-policy), or a folder or home with those it had.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check offline that a statement is on the ledger and final."""
    with answering(as_json):
        used, proved = load_policies(policy).verify(read(receipt), read(statement))
        facts = {
            "ok": True,
            "index": proved.index,
            "size": proved.size,
            "root": proved.root,
            "origin": proved.origin,
            "cosigners": proved.cosigners,
            "record": proved.statement.payload,
            "policy": used,
        }
        held = "The receipt holds." if policy.is_file() else f"The receipt holds by the policy {used}."
        answer(facts, [held, *proved.words], as_json)


def audit(home: Home = None, db: Database = None, policy: PolicyFile = None, as_json: AsJson = False) -> None:
    """Re-check a whole ledger: hashes, signatures, rules, checkpoints, quorum.

    Exit code 0: it holds; 1: something is wrong, or nothing is final yet, as before the witnesses are started.
    """
    from ledger.audit import audit as run_audit

    with answering(as_json):
        trusted = load_policy(policy_file(home, policy))
        with progress("auditing", silent=as_json) as at:
            report = run_audit(database(home, db), trusted, at)
        words = [
            f"{report.origin}: {report.entries} entries, {report.checkpoints} checkpoints and "
            f"{report.cosignatures} cosignatures checked; {report.final_size} entries are final.",
            *(report.bodies.words if report.bodies is not None else []),
            *_judgement(report),
        ]
        mend = _renewal(home, db, policy) if report.change_pending or not report.policy_is_present else None
        if not report.policy_is_present:
            words.append(f"The policy is not that of the members and the log's key of now. Next: {mend}")
        elif report.change_pending:
            words.append(f"Members or keys have changed. Let the members' witnesses cosign that; then: {mend}")
        answer({"ok": report.ok, **asdict(report), "next": mend}, words, as_json)
    if not report.ok:
        raise typer.Exit(1)


def show(
    home: Home = None,
    db: Database = None,
    start: Annotated[int | None, typer.Option("--from", min=0, help="Begin with this entry.")] = None,
    last: Annotated[int | None, typer.Option("--last", min=1, help="Only so many of the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the entries of a ledger. Each is held against the digest under which it is kept."""
    from ledger.errors import Damaged
    from ledger.statement import decode_statement

    with answering(as_json), reading(database(home, db)) as store:
        meta, size = store.meta(), store.size()
        first = max(start or 0, 0 if last is None else size - last)
        entries = []
        for row in store.entry_rows(min(first, size), size):
            entry = decode_statement(row.raw)
            if entry.digest != row.digest:
                raise Damaged(f"{store.name}: entry {row.idx} stands under a digest that is not its own; run: audit")
            entries.append(
                {
                    "index": row.idx,
                    "type": entry.payload.get("t"),
                    "issuer": entry.issuer,
                    "subject": entry.subject,
                    "digest": entry.digest,
                    "record": entry.payload,
                }
            )
        facts = {"ok": True, "origin": meta["origin"], "cid": meta["cid"], "size": size, "entries": entries}
        nothing = [f"There is no entry {first}: {meta['origin']} has {size} entries here."]
        answer(facts, [_entry_line(entry) for entry in entries] or nothing, as_json)


def policy(
    home: Home = None,
    db: Database = None,
    at: Annotated[
        int | None, typer.Option("--at", min=1, help="The one in force at so many entries; default: the present one.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Keep it in the home, too: policy.txt, and all before it in policies/.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it into this file, which must not exist yet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the trust policy of the members whose membership is final, for those who verify offline.

    An old receipt is held to the policy of its time: `verify` says which --at that is. Whoever relies on a policy must
    get it from someone they trust, not from the ledger's operator alone.
    """
    from ledger.commands.answering import write as write_file

    with answering(as_json):
        here = standing(home, db)
        with reading(database(home, db)) as store:
            known = policies_until(here.settled, here.origin, here.state.cid, store.entries)
        since = here.settled.since if at is None else _since(at, known, here.final_size)
        text = known[since].text()
        if write:
            if home is None:
                raise UsageError("--write keeps the policies in a home; give --home")
            write_policies(home, known)
        if out is not None:
            write_file(out, text.encode())
        behind = at is None and is_behind(here.settled.policy(here.origin), here.state, here.origin)
        if behind and not as_json:
            tell("newer members or keys are on the ledger and not final yet: this is the policy before them")
        facts = {"ok": True, "origin": here.origin, "final_size": here.final_size, "since": since, "behind": behind}
        answer({**facts, "policy": text}, text.splitlines(), as_json)


def _since(at: int, known: Iterable[int], final_size: int) -> int:
    """From which size on the policy holds that is in force at `at` entries.

    Raises:
        UsageError: so many are not final, or the founding was not complete then.
    """
    held = [since for since in known if since <= at]
    if not held:
        raise UsageError(f"--at {at}: the founding was complete with {min(known)} entries; nothing was final before")
    if at > max(final_size, *known):
        raise UsageError(
            f"--at {at}: {final_size} entries are final here; a receipt over more is not of this ledger yet"
        )
    return max(held)


def _renewal(home: Path | None, db: str | None, policy: Path | None) -> str:
    """The command that brings the policy up to the members of now."""
    where = f"--db {db}" if db is not None else f"--home {home}"
    kept = db is None and policy is None
    return f"artesian ledger policy {where} {'--write' if kept else '--out FILE'}"


def _judgement(report: AuditReport) -> list[str]:
    if report.awaits_witnesses:
        return [
            "Nothing is final yet, and nothing else is wrong: fewer than a quorum have cosigned the founding.",
            "Start the members' witnesses, each with its own home: artesian ledger witness --home HOME --address "
            "HOST:PORT --founding FINGERPRINT",
        ]
    problems = [f"Problem: {problem}" for problem in report.problems]
    return [*problems, "Nothing is wrong." if report.ok else "The ledger does not hold."]


def _entry_line(entry: Mapping[str, Any]) -> str:
    return f"{entry['index']:>6}  {entry['type']!s:<15} {entry['issuer']:<16} {entry['subject']}"
