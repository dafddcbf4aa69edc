"""`artesian ledger trace`: the history of one batch, order or document, with proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, read, write
from ledger.commands.connecting import Address, Authority, address_of, connected
from ledger.commands.places import Database, Home, PolicyFile, database, load_policy, policy_file, reading
from ledger.commands.progress import progress

if TYPE_CHECKING:
    from ledger.policy import Policy
    from ledger.statement import Statement

_CHUNK = 4096


@dataclass(frozen=True)
class _Ledger:
    """What is traced in.

    Attributes:
        size: number of its entries.
        read: entries from one place up to another.
        final: its largest final checkpoint under a policy, as a number of entries.
    """

    size: int
    read: Callable[[int, int], list[bytes]]
    final: Callable[[Policy], int]


def trace(
    subject: Annotated[str, typer.Argument(help="The subject, as it was attested.")],
    home: Home = None,
    db: Database = None,
    address: Address = "",
    ca: Authority = None,
    policy: PolicyFile = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Say which entries attest exactly this file; exit 1 if none does.")
    ] = None,
    proofs: Annotated[
        Path | None, typer.Option("--proofs", help="Write each final entry's statement and receipt into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the history of a subject: who said what about it, when, and whether it is final.

    Read from the home's own ledger or mirror, or from the service with --address. Receipts come from the log.
    """
    with answering(as_json):
        trusted = load_policy(policy_file(home, policy))
        wanted = None if file is None else hashlib.sha256(read(file)).digest()
        with _ledger(home, db, address, ca) as ledger:
            found, final_size = list(_about(ledger, subject)), ledger.final(trusted)
        entries = [_facts(index, statement, index < final_size, wanted) for index, statement in found]
        if proofs is not None:
            _write_proofs(found, entries, proofs, home, address, ca)
        matches = [entry["index"] for entry in entries if entry["matches"]]
        facts = {"ok": file is None or bool(matches), "subject": subject, "entries": entries, "matches": matches}
        answer(facts, _words(subject, entries, file), as_json)
    if file is not None and not matches:
        raise typer.Exit(1)


@contextmanager
def _ledger(home: Path | None, db: str | None, address: str, ca: Path | None) -> Iterator[_Ledger]:
    """The service when an address is given, else a database."""
    from ledger.checkpoint import SignedCheckpoint
    from ledger.commands.finality import final_size, size_if_final
    from ledger.commands.speaking import speaker

    if not address:
        with reading(database(home, db)) as store:
            yield _Ledger(store.size(), store.entries, lambda policy: final_size(store, policy))
        return
    if home is None:
        raise UsageError("give --home: the service shows entries to members, in whose name you must ask")
    with connected(address, home, ca, speaker(home)) as client:
        final = client.final()
        size = SignedCheckpoint.parse(client.checkpoint()).checkpoint.size
        yield _Ledger(size, client.entries, lambda policy: size_if_final(final, policy))


def _about(ledger: _Ledger, subject: str) -> Iterator[tuple[int, Statement]]:
    """Every entry about `subject`, with its place."""
    from ledger.statement import decode_statement

    needle = subject.encode()
    with progress("reading") as at:
        for start in range(0, ledger.size, _CHUNK):
            end = min(start + _CHUNK, ledger.size)
            for index, raw in enumerate(ledger.read(start, end), start=start):
                if needle in raw:  # CBOR keeps texts as they are: most entries need no decoding
                    statement = decode_statement(raw)
                    if subject in (statement.subject, statement.payload.get("subject")):
                        yield index, statement
            at(end, ledger.size)


def _facts(index: int, statement: Statement, final: bool, wanted: bytes | None) -> dict[str, Any]:
    record = statement.payload
    return {
        "index": index,
        "ts": record["ts"],
        "issuer": statement.issuer,
        "type": record["t"],
        "kind": record.get("kind"),
        "artifact": record.get("artifact"),
        "inputs": record.get("inputs", []),
        "sealed": "body_sha256" in record,
        "digest": statement.digest,
        "final": final,
        "matches": wanted is not None and record.get("artifact") == wanted,
        "receipt": None,
    }


def _words(subject: str, entries: Sequence[dict[str, Any]], file: Path | None) -> list[str]:
    words = [f"{subject}: {len(entries)} entries"]
    for entry in entries:
        when = datetime.fromtimestamp(entry["ts"], UTC).strftime("%Y-%m-%d %H:%M")
        what = entry["kind"] or entry["type"]
        artifact = "" if entry["artifact"] is None else f"sha256 {entry['artifact'].hex()[:16]}..."
        standing = "final" if entry["final"] else "not final yet"
        marks = f"{', sealed' if entry['sealed'] else ''}{', is this file' if entry['matches'] else ''}"
        line = f"{entry['index']:>6}  {when}  {entry['issuer']:<14} {what:<16} {artifact:<26} {standing}{marks}"
        words.append(line)
        if entry["receipt"]:
            words.append(f"        receipt {entry['receipt']}")
    if file is not None and not any(entry["matches"] for entry in entries):
        words.append(f"No entry attests {file}.")
    return words


def _write_proofs(
    found: Sequence[tuple[int, Statement]],
    entries: Sequence[dict[str, Any]],
    folder: Path,
    home: Path | None,
    address: str,
    ca: Path | None,
) -> None:
    """Statement and receipt of each final entry; the entries learn their receipt's file."""
    from ledger.commands.placing import receipts_of

    final = [index for index, _ in found if index in {entry["index"] for entry in entries if entry["final"]}]
    folder.mkdir(parents=True, exist_ok=True)
    receipts = receipts_of(final, home, address_of(home, address), ca) if final else {}
    for (index, statement), entry in zip(found, entries, strict=True):
        if index in receipts:
            write(folder / f"{index}.statement", statement.raw, replace=True)
            write(folder / f"{index}.receipt", receipts[index], replace=True)
            entry["receipt"] = str(folder / f"{index}.receipt")
