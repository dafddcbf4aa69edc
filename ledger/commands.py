"""`artesian ledger`: check a receipt, audit a ledger, list its entries."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.errors import LedgerError
from ledger.policy import Policy

LEDGER_FILE = "ledger.db"
MIRROR_FILE = "mirror.db"
POLICY_FILE = "policy.txt"

app = typer.Typer(
    no_args_is_help=True,
    help="Check receipts, audit a ledger, list its entries.",
    epilog="Example: artesian ledger audit --home coordinator",
)

Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="ARTESIAN_HOME", help="Home directory of the organisation."),
]
Database = Annotated[Path | None, typer.Option("--db", help="The ledger's database, instead of a home.")]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="Trust policy (C2SP tlog-policy); default: the home's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class UsageError(LedgerError):
    """The command was given too little, or a file that cannot be read."""

    exit_code = 2


@app.command(epilog="Example: artesian ledger verify receipt.cbor --statement statement.cbor --policy policy.txt")
def verify(
    receipt: Annotated[Path, typer.Argument(help="The receipt's file.")],
    statement: Annotated[Path, typer.Option("--statement", help="The signed statement's file.")],
    policy: Annotated[Path, typer.Option("--policy", help="Trust policy (C2SP tlog-policy).")],
    as_json: AsJson = False,
) -> None:
    """Check offline that a statement is on the ledger and final."""
    from ledger.receipt import verify_receipt

    with _answering(as_json):
        proved = verify_receipt(_read(receipt), _read(statement), _policy(policy))
        facts = {
            "ok": True,
            "index": proved.index,
            "size": proved.size,
            "root": proved.root.hex(),
            "origin": proved.origin,
            "cosigners": list(proved.cosigners),
            "record": _plain(proved.statement.payload),
        }
        _print(facts, ["The receipt holds.", *proved.words], as_json)


@app.command(epilog="Example: artesian ledger audit --db firm-1/mirror.db --policy policy.txt")
def audit(home: Home = None, db: Database = None, policy: PolicyFile = None, as_json: AsJson = False) -> None:
    """Re-check a whole ledger: hashes, signatures, rules, checkpoints, quorum."""
    from ledger.audit import audit as run_audit

    with _answering(as_json):
        report = run_audit(_database(home, db), _policy(_policy_file(home, policy)))
        facts = {"ok": report.ok, **asdict(report)}
        words = [
            f"{report.origin}: {report.entries} entries, {report.checkpoints} checkpoints and "
            f"{report.cosignatures} cosignatures checked; {report.final_size} entries are final.",
            *(f"Problem: {problem}" for problem in report.problems),
            "Nothing is wrong." if report.ok else "The ledger does not hold.",
        ]
        _print(facts, words, as_json)
    if not report.ok:
        raise typer.Exit(1)


@app.command(epilog="Example: artesian ledger show --home coordinator --last 10")
def show(
    home: Home = None,
    db: Database = None,
    last: Annotated[int | None, typer.Option("--last", min=1, help="Only so many of the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the entries of a ledger."""
    from ledger.statement import decode_statement
    from ledger.store import Store

    with _answering(as_json):
        store = Store(_database(home, db), read_only=True)
        try:
            meta, size = store.meta(), store.size()
            start = 0 if last is None else max(0, size - last)
            statements = [decode_statement(raw) for raw in store.entries(start, size)]
        finally:
            store.close()
        entries = [
            {
                "index": index,
                "type": entry.payload.get("t"),
                "issuer": entry.issuer,
                "subject": entry.subject,
                "digest": entry.digest.hex(),
                "record": _plain(entry.payload),
            }
            for index, entry in enumerate(statements, start=start)
        ]
        words = [_entry_line(entry) for entry in entries]
        facts = {"origin": meta["origin"], "cid": meta["cid"], "size": size, "entries": entries}
        _print(facts, words, as_json)


@app.command(epilog="Example: artesian ledger policy --home coordinator")
def policy(home: Home = None, db: Database = None) -> None:
    """Print the trust policy of the present members, for those who verify offline.

    Whoever relies on it must get it from someone they trust, not from the ledger's operator alone.
    """
    from ledger.finality import consortium_policy
    from ledger.note import Vkey
    from ledger.replay import replay
    from ledger.store import Store

    with _answering(False):
        store = Store(_database(home, db), read_only=True)
        try:
            meta = store.meta()
            log = Vkey.parse(meta["vkey"])
            end = replay(store, meta["cid"], log, verify_all=True, at_checkpoint=lambda _: None)
        finally:
            store.close()
        typer.echo(consortium_policy(end.state, log).text(), nl=False)


@contextmanager
def _answering(as_json: bool) -> Iterator[None]:
    """Turn an expected error into one line (or one JSON document) and its exit code."""
    try:
        yield
    except LedgerError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "problem": str(error)}))
        else:
            typer.echo(_printable(str(error)), err=True)
        raise typer.Exit(error.exit_code) from None


def _print(facts: Mapping[str, Any], words: list[str], as_json: bool) -> None:
    typer.echo(json.dumps(facts, indent=2) if as_json else "\n".join(words))


def _entry_line(entry: Mapping[str, Any]) -> str:
    kind, issuer, subject = (_printable(str(entry[name])) for name in ("type", "issuer", "subject"))
    return f"{entry['index']:>6}  {kind:<13} {issuer:<16} {subject}"


def _database(home: Path | None, db: Path | None) -> Path:
    if db is not None:
        return db
    if home is None:
        raise UsageError("give --home (or set ARTESIAN_HOME), or --db with the ledger's database")
    for name in (LEDGER_FILE, MIRROR_FILE):
        if (home / name).is_file():
            return home / name
    raise UsageError(f"{home}: holds neither {LEDGER_FILE} nor {MIRROR_FILE}; give another --home or --db")


def _policy_file(home: Path | None, policy: Path | None) -> Path:
    if policy is not None:
        return policy
    if home is None:
        raise UsageError("give --policy with the trust policy's file")
    return home / POLICY_FILE


def _policy(path: Path) -> Policy:
    try:
        return Policy.parse(_read(path).decode())
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the policy is not text in UTF-8") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None


def _plain(value: Any) -> Any:
    """A record for JSON: bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _printable(text: str) -> str:
    """Text of others for a terminal: control and direction characters are shown, not obeyed."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
