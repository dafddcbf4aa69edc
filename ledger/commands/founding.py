"""`artesian ledger init`: found a consortium's ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering

SIGNATURES = ("ed25519", "ed25519+ml-dsa-65")


def init(
    home: Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="Home to make for the coordinator; empty or new.")],
    cid: Annotated[str, typer.Option(help="The consortium's id, a short lower-case name.")],
    members: Annotated[Path, typer.Option(help="TOML file of the founding members' blocks, from `members key`.")],
    min_cohort: Annotated[int, typer.Option(min=1, help="Fewest firms in a training cohort.")] = 2,
    signatures: Annotated[str, typer.Option(help="ed25519, or ed25519+ml-dsa-65 against quantum computers.")] = (
        "ed25519"
    ),
    origin: Annotated[str | None, typer.Option(help="The log's name; default: artesian/CID.")] = None,
    db: Annotated[str, typer.Option("--db", help="SQLAlchemy URL of a PostgreSQL database; default: a file.")] = "",
    as_json: AsJson = False,
) -> None:
    """Found a consortium: the coordinator's keys, the log's keys, and the ledger with its founding members."""
    from ledger.founding import found
    from ledger.homes import NEXT_LOG_KEY
    from ledger.keys import SigningKey
    from ledger.member_file import read_members

    with answering(as_json):
        if signatures not in SIGNATURES:
            raise UsageError(f"--signatures {signatures!r}: choose {' or '.join(SIGNATURES)}")
        if db and "://" not in db:
            raise UsageError(f"--db {db!r}: give an SQLAlchemy URL, such as postgresql+psycopg://user@host/name")
        founders = read_members(members)
        made = found(home, cid, founders, min_cohort=min_cohort, signatures=signatures, origin=origin, database=db)
        quorum = made.policy.groups[made.policy.quorum].threshold
        key = SigningKey.load(home / "signing.pem").public
        facts = {
            "ok": True,
            "cid": cid,
            "origin": made.origin,
            "founding": made.fingerprint,
            "coordinator": key.fingerprint,
            "members": [{"member": f.member, "kind": f.kind, "fingerprint": f.key.fingerprint} for f in founders],
            "quorum": quorum,
        }
        words = [
            f"Founded {cid} with {len(founders)} members, of whom {quorum} make a quorum. Its log is {made.origin}.",
            *(f"  {f.member:<16} {f.kind:<5} {f.key.fingerprint}" for f in founders),
            f"Founding fingerprint: {made.fingerprint}",
            "Tell it to every member by another way than this machine's (by telephone, on paper): whoever starts a",
            "witness gives it. Each member also finds its own key's fingerprint above.",
            f"Take {home / NEXT_LOG_KEY} to another, safe place now: with it the log can change its key when",
            f"{home / 'log.pem'} is lost or stolen, without asking the members.",
        ]
        answer(facts, words, as_json)
