"""`artesian ledger trace`: the history of one batch, order or document, with proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, make_folder, read, write
from ledger.commands.connecting import Address, Authority, address_of, connected
from ledger.commands.places import Database, Home, PolicyFile, database, load_policy, policy_file, reading
from ledger.commands.progress import progress
from ledger.kept_bodies import BodyState, names_body

if TYPE_CHECKING:
    from ledger.checkpoint import Checkpoint
    from ledger.policy import Policy
    from ledger.statement import Statement
    from ledger.store import Store

_CHUNK = 4096


@dataclass(frozen=True)
class _Ledger:
    """What is traced in.

    Attributes:
        size: number of its entries.
        read: entries from one place up to another.
        final: its largest final checkpoint under a policy.
        places: the entries of the statements with these digests; the service is not asked for them.
        bodies: where the bodies of these statements are, as far as this ledger has them; a mirror has none.
    """

    size: int
    read: Callable[[int, int], list[bytes]]
    final: Callable[[Policy], Checkpoint | None]
    places: Callable[[Sequence[bytes]], dict[bytes, int]]
    bodies: Callable[[Sequence[bytes]], dict[bytes, BodyState]]


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
        Path | None,
        typer.Option("--proofs", help="Write each final entry's statement, receipt and policy into this folder."),
    ] = None,
    upstream: Annotated[
        bool, typer.Option("--upstream", help="Also what went into it, and into that; needs a ledger or mirror here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the history of a subject: who said what about it, when, and whether it is final.

    Read from the home's own ledger or mirror, or from the service with --address. Receipts come from the log.
    """
    with answering(as_json):
        trusted = load_policy(policy_file(home, policy))
        wanted = set() if file is None else _hashes(file)
        if upstream and address:
            raise UsageError("--upstream looks digests up in a ledger or mirror here; leave --address out")
        with _ledger(home, db, address, ca) as ledger:
            final = ledger.final(trusted)
            found, final_size = list(_about(ledger, subject, final)), 0 if final is None else final.size
            if upstream:
                found = _with_upstream(ledger, found)
            places = ledger.places([digest for _, statement in found for digest in _inputs(statement)])
            bodies = ledger.bodies([statement.digest for _, statement in found if names_body(statement)])
        entries = [_facts(index, statement, index < final_size, wanted, bodies) for index, statement in found]
        if proofs is not None:
            _write_proofs(found, entries, proofs, trusted, home, address, ca)
        matches = [entry["index"] for entry in entries if entry["matches"]]
        facts = {"ok": file is None or bool(matches), "subject": subject, "entries": entries, "matches": matches}
        answer(facts, _words(subject, entries, places, file), as_json)
    if file is not None and not matches:
        raise typer.Exit(1)


@contextmanager
def _ledger(home: Path | None, db: str | None, address: str, ca: Path | None) -> Iterator[_Ledger]:
    """The service when an address is given, else a database."""
    from ledger.checkpoint import SignedCheckpoint
    from ledger.commands.finality import if_final, newest_final
    from ledger.commands.speaking import speaker

    if not address:
        with reading(database(home, db)) as store:
            of_mirror = "member" in store.meta()
            looks = partial(newest_final, store), _places_in(store), _no_bodies if of_mirror else _bodies_in(store)
            yield _Ledger(store.size(), store.entries, *looks)
        return
    if home is None:
        raise UsageError("give --home: the service shows entries to members, in whose name you must ask")
    with connected(address, home, ca, speaker(home)) as client:
        final = client.final()
        size = SignedCheckpoint.parse(client.checkpoint()).checkpoint.size
        yield _Ledger(size, client.entries, lambda policy: if_final(final, policy), lambda _: {}, _no_bodies)


def _places_in(store: Store) -> Callable[[Sequence[bytes]], dict[bytes, int]]:
    """Where a database says that statements stand, and they do."""
    from ledger.statement import decode_statement

    def places(digests: Sequence[bytes]) -> dict[bytes, int]:
        told = store.indices(digests)
        return {
            digest: index
            for digest, index in told.items()
            if decode_statement(store.entries(index, index + 1)[0]).digest == digest
        }

    return places


def _no_bodies(_: Sequence[bytes]) -> dict[bytes, BodyState]:
    return {}


def _bodies_in(store: Store) -> Callable[[Sequence[bytes]], dict[bytes, BodyState]]:
    def bodies(digests: Sequence[bytes]) -> dict[bytes, BodyState]:
        kept = store.kept(digests)
        return {digest: kept[digest].state if digest in kept else BodyState.MISSING for digest in digests}

    return bodies


def _about(ledger: _Ledger, subject: str, final: Checkpoint | None) -> Iterator[tuple[int, Statement]]:
    """Every entry about `subject`, with its place.

    Raises:
        Damaged: what was read is not what the final checkpoint is over: a database or a service may lie.
    """
    from ledger.errors import Damaged
    from ledger.merkle import Frontier, leaf_hash
    from ledger.rules.records import problem_with
    from ledger.statement import decode_statement

    needle, tree, final_size = subject.encode(), Frontier(), 0 if final is None else final.size
    with progress("reading") as at:
        for start in range(0, ledger.size, _CHUNK):
            end = min(start + _CHUNK, ledger.size)
            for index, raw in enumerate(ledger.read(start, end), start=start):
                if index < final_size:
                    tree, _ = tree.append(leaf_hash(raw))
                if needle in raw:  # CBOR keeps texts as they are: most entries need no decoding
                    statement = decode_statement(raw)
                    if subject in (statement.subject, statement.payload.get("subject")):
                        if problem_with(statement.payload) is not None:
                            raise Damaged(f"entry {index} is no record; run artesian ledger audit")
                        yield index, statement
            at(end, ledger.size)
    if final is not None and (tree.size, tree.root()) != (final.size, final.root):
        raise Damaged(
            f"the {ledger.size} entries here are not those of the final checkpoint over {final.size}; run "
            "artesian ledger audit, and ask another member"
        )


def _hashes(file: Path) -> set[bytes]:
    """What an entry that attests this file names: its SHA-256, or with the salt that `attest` keeps, its commitment."""
    content, salt = read(file), file.with_name(f"{file.name}.salt")
    salted = [read(salt) + content] if salt.exists() else []
    return {hashlib.sha256(one).digest() for one in (content, *salted)}


def _inputs(statement: Statement) -> list[bytes]:
    """Digests of the statements that an attestation rests on; other records have inputs of another kind."""
    return list(statement.payload.get("inputs", [])) if statement.payload["t"] == "attest" else []


def _with_upstream(ledger: _Ledger, found: Sequence[tuple[int, Statement]]) -> list[tuple[int, Statement]]:
    """The entries found and all that they rest on, however far back, in the order of the ledger."""
    from ledger.statement import decode_statement

    known = dict(found)
    new = [statement for _, statement in found]
    while new:
        places = ledger.places([digest for statement in new for digest in _inputs(statement)])
        fresh = sorted(set(places.values()) - known.keys())
        read = {index: decode_statement(ledger.read(index, index + 1)[0]) for index in fresh}
        known.update(read)
        new = list(read.values())
    return sorted(known.items())


def _facts(
    index: int, statement: Statement, final: bool, wanted: set[bytes], bodies: Mapping[bytes, BodyState]
) -> dict[str, Any]:
    record = statement.payload
    return {
        "index": index,
        "ts": record["ts"],
        "issuer": statement.issuer,
        "subject": record.get("subject", statement.subject),
        "type": record["t"],
        "kind": record.get("kind"),
        "artifact": record.get("artifact"),
        "inputs": _inputs(statement),
        "sealed": names_body(statement),
        "body": bodies.get(statement.digest),
        "digest": statement.digest,
        "final": final,
        "matches": record.get("artifact") in wanted,
        "receipt": None,
    }


def _words(subject: str, entries: Sequence[dict[str, Any]], places: dict[bytes, int], file: Path | None) -> list[str]:
    if not entries:
        return [f"No entry is about {subject}{'' if file is None else f', and none attests {file}'}."]
    words = [f"{subject}: {len(entries)} {'entry' if len(entries) == 1 else 'entries'}"]
    for entry in entries:
        when = _when(entry["ts"])
        what = entry["kind"] or entry["type"]
        artifact = "" if entry["artifact"] is None else f"sha256 {entry['artifact'].hex()[:16]}..."
        standing = "final" if entry["final"] else "not final yet"
        marks = ", sealed" if entry["sealed"] else ""
        marks += f", body {entry['body']}" if entry["body"] in (BodyState.ERASED, BodyState.MISSING) else ""
        marks += ", is this file" if entry["matches"] else ""
        marks += f", about {entry['subject']}" if entry["subject"] != subject else ""
        line = f"{entry['index']:>6}  {when}  {entry['issuer']:<14} {what:<16} {artifact:<26} {standing}{marks}"
        words.append(line)
        if entry["inputs"]:
            known = sorted(places[digest] for digest in entry["inputs"] if digest in places)
            missing = len(entry["inputs"]) - len(known)
            more = f", and {missing} not found here" if missing else ""
            words.append(f"        from entry {', '.join(map(str, known))}{more}")
        if entry["receipt"]:
            words.append(f"        receipt {entry['receipt']}")
    if file is not None and not any(entry["matches"] for entry in entries):
        words.append(f"No entry attests {file}.")
    return words


def _when(ts: int) -> str:
    """A time that a member wrote, for people; no calendar has all of them."""
    try:
        return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{ts} s"


def _write_proofs(
    found: Sequence[tuple[int, Statement]],
    entries: Sequence[dict[str, Any]],
    folder: Path,
    trusted: Policy,
    home: Path | None,
    address: str,
    ca: Path | None,
) -> None:
    """Statement, receipt and policy of each final entry; the entries learn their receipt's file."""
    from ledger.commands.placing import Unproved, receipts_of
    from ledger.receipt import NoReceipt, verify_receipt

    final = [index for index, _ in found if index in {entry["index"] for entry in entries if entry["final"]}]
    make_folder(folder)
    receipts = receipts_of(final, home, address_of(home, address), ca) if final else {}
    for (index, statement), entry in zip(found, entries, strict=True):
        if index in receipts:
            try:
                verify_receipt(receipts[index], statement.raw, trusted)
            except NoReceipt as error:  # the service's word, no input of the user's
                raise Unproved(f"the service gives entry {index} and no receipt of it: {error}") from None
            write(folder / f"{index}.policy", trusted.text().encode(), replace=True)
            write(folder / f"{index}.statement", statement.raw, replace=True)
            write(folder / f"{index}.receipt", receipts[index], replace=True)
            entry["receipt"] = str(folder / f"{index}.receipt")
