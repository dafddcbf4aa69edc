"""`artesian ledger evidence`: what a file proves against a log, and what a member's mirror has kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, answer, answering, make_folder, read, write
from ledger.commands.copying import copy_of, founding_in
from ledger.commands.places import Database, Home, PolicyFile, database, load_policy, policy_file, reading

if TYPE_CHECKING:
    from ledger.evidence import VerifiedEvidence
    from ledger.policy import Policy

File = Annotated[Path | None, typer.Argument(help="An evidence file. Without one: list what the mirror has kept.")]


def evidence(
    file: File = None,
    home: Home = None,
    db: Database = None,
    policy: PolicyFile = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write what the mirror has kept into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check evidence that a log misbehaved, with the policy alone; or list what a mirror has kept.

    Exit code 0: it proves against the log what the words say; 1: it proves nothing. Whether an entry breaks a rule is
    judged by replaying a mirror, so that kind of evidence needs --home or --db as well; so does any of a log that has
    rotated its key meanwhile. The mirror must be one that you trust.
    """
    with answering(as_json):
        if file is None:
            _list_kept(database(home, db), out, as_json)
            return
        trusted = load_policy(policy_file(home, policy))
        proved = _verified(read(file), trusted, home, db)
        facts = {"ok": proved.proves, "kind": proved.kind, "origin": proved.origin, "words": proved.words}
        answer(facts, proved.words, as_json)
    if not proved.proves:
        raise typer.Exit(1)


def _verified(raw: bytes, policy: Policy, home: Path | None, db: str | None) -> VerifiedEvidence:
    from ledger.evidence import verify_evidence
    from ledger.mirror import Mirror

    if home is None and db is None:
        return verify_evidence(raw, policy)
    with copy_of(database(home, db)) as copy:
        found = founding_in(copy)
        with Mirror(None, found.log, found.cid) as mirror:
            mirror.follow(copy)
            return verify_evidence(raw, policy, mirror)


def _list_kept(location: str, out: Path | None, as_json: bool) -> None:
    from ledger.encoding import decode

    with reading(location) as store:
        files = store.evidence_files()
    names = [f"{hashlib.sha256(raw).hexdigest()[:16]}.evidence" for raw in files]
    if out is not None:
        make_folder(out)
        for name, raw in zip(names, files, strict=True):
            write(out / name, raw, replace=True)
    kinds = [str(decode(raw, what="the evidence").get("kind")) for raw in files]
    facts = {"ok": True, "kept": [{"name": name, "kind": kind} for name, kind in zip(names, kinds, strict=True)]}
    words = [f"{name}  {kind}" for name, kind in zip(names, kinds, strict=True)]
    answer(facts, words or ["Nothing has been kept: the log has not contradicted itself before this mirror."], as_json)
