"""`artesian ledger submit`, `attest`, `open`: what members put on the ledger, and read of each other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, read, write
from ledger.commands.connecting import Address, Authority, address_of, connected
from ledger.commands.places import OwnHome, cid_of, reading, standing
from ledger.commands.placing import Place, put
from ledger.commands.speaking import fresh_record, speaker

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from ledger.service.bodies import About
    from ledger.statement import Statement

Wait = Annotated[float, typer.Option("--wait", min=0, max=60, help="Wait so many seconds for finality.")]
Member = Annotated[str, typer.Option("--member", help="The member's id; default: as the home says.")]


def submit(
    statement: Annotated[Path, typer.Argument(help="A signed statement's file.")],
    home: OwnHome,
    address: Address = "",
    ca: Authority = None,
    wait: Wait = 10.0,
    member: Member = "",
    as_json: AsJson = False,
) -> None:
    """Put a signed statement on the ledger. Again: it keeps its place. The receipt is written beside it."""
    from ledger.statement import decode_statement

    with answering(as_json):
        raw = read(statement)
        decoded = decode_statement(raw)
        (place,) = put([raw], home, address, ca, speaker(home, member), wait_s=wait)
        _report(decoded, place, statement.with_name(f"{statement.name}.receipt"), {}, as_json)


def attest(
    home: OwnHome,
    subject: Annotated[str, typer.Option(help="What the artifact is about: a batch, an order. It is on the ledger.")],
    file: Annotated[Path, typer.Option("--file", help="The artifact. Only its SHA-256 leaves.")],
    kind: Annotated[str, typer.Option(help="What it is, such as bill-of-lading or invoice.")] = "",
    parties: Annotated[
        str, typer.Option(help="Members who may read the file, with commas: it is sealed to them.")
    ] = "",
    body: Annotated[Path | None, typer.Option("--body", help="With --parties: seal this in place of the file.")] = None,
    inputs: Annotated[
        list[int] | None, typer.Option("--input", min=0, help="Entry about something that went into this; repeatable.")
    ] = None,
    follows: Annotated[
        int | None, typer.Option("--follows", min=0, help="Entry about the same subject that this one follows.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let anyone read the record, not only members.")] = False,
    address: Address = "",
    ca: Authority = None,
    wait: Wait = 10.0,
    member: Member = "",
    as_json: AsJson = False,
) -> None:
    """Put a signed statement about a file on the ledger, and keep statement and receipt beside the file.

    Run again, it asks for the receipt of the same statement.
    """
    from ledger.rules import Refused
    from ledger.statement import decode_statement

    with answering(as_json):
        if body is not None and not parties:
            raise UsageError("--body goes with --parties: nobody else could read it")
        if parties and public:
            raise UsageError("give --parties or --public, not both")
        own = speaker(home, member)
        fields = {"subject": subject, "artifact": hashlib.sha256(read(file)).digest()}
        fields |= {"kind": kind} if kind else {}
        fields |= _links(inputs or [], follows, home)
        fields |= {"acl": "public"} if public else {}
        fields |= _commitment(file, body) if parties else {}
        kept, sealed = (file.with_name(f"{file.name}.{what}") for what in ("statement", "sealed"))
        if kept.exists():
            raw = _same(kept, fields)
        else:
            raw = _sign(fields, cid_of(home), *own)
            if parties:
                envelope = _sealed(raw, body or file, parties.split(","), home)
                write(sealed, envelope, replace=True, mode=0o600)
        write(kept, raw, replace=True)  # before it is sent: whatever happens, the next run sends the same one
        decoded = decode_statement(raw)
        bodies = {0: read(sealed)} if sealed.exists() else {}
        try:
            (place,) = put([raw], home, address, ca, own, wait_s=wait, bodies=bodies)
        except Refused:
            kept.unlink()
            sealed.unlink(missing_ok=True)
            raise
        sealed.unlink(missing_ok=True)
        facts = {"artifact": fields["artifact"], "statement": str(kept)}
        _report(decoded, place, file.with_name(f"{file.name}.receipt"), facts, as_json)


def open_entry(
    entry: Annotated[int, typer.Argument(min=0, help="The entry, as `trace` or `show` lists it.")],
    home: OwnHome,
    out: Annotated[Path, typer.Option("--out", help="Write what was sealed into this file, which must not exist yet.")],
    address: Address = "",
    ca: Authority = None,
    member: Member = "",
    as_json: AsJson = False,
) -> None:
    """Fetch what was sealed to this member with an entry, open it, and hold it against the ledger's commitment."""
    from ledger.service.bodies import About
    from ledger.statement import decode_statement

    with answering(as_json):
        name, key = speaker(home, member)
        statement = decode_statement(_mirrored(home, entry))
        record = statement.payload
        if "body_sha256" not in record:
            raise UsageError(f"entry {entry} has no sealed body")
        with connected(address_of(home, address), home, ca, (name, key)) as client:
            envelope = client.body(statement.digest)
        about = About(record["cid"], record["id"], record["body_sha256"])
        content = _unseal(envelope, about, name, home)
        write(out, content, mode=0o600)
        facts = {"ok": True, "index": entry, "issuer": statement.issuer, "bytes": len(content), "file": str(out)}
        line = f"{out}: {len(content)} bytes that {statement.issuer} sealed, as entry {entry} commits to them."
        answer(facts, [line], as_json)


def _unseal(envelope: bytes, about: About, name: str, home: Path) -> bytes:
    """Open an envelope with the member's encryption key, or with one that it had before."""
    from ledger.homes import ENCRYPTION_KEY
    from ledger.service.bodies import BadBody, open_body
    from ledger.service.encryption_key import EncryptionKey

    problem: BadBody | None = None
    for path in (home / ENCRYPTION_KEY, *sorted(home.glob("encryption.old-*.pem"))):
        try:
            return open_body(envelope, about, name, EncryptionKey.load(path))
        except BadBody as error:
            problem = problem or error
    assert problem is not None, "the first key was tried"
    raise problem


def _sign(fields: Mapping[str, Any], cid: str, issuer: str, key: SigningKey) -> bytes:
    from ledger.statement import sign_statement

    return sign_statement(fresh_record("attest", cid, **fields), issuer=issuer, subject=fields["subject"], key=key)


def _mirrored(home: Path, entry: int) -> bytes:
    """An entry of the member's own mirror: what the service says of one is not to be signed or believed.

    Raises:
        UsageError: the mirror does not reach it.
    """
    from ledger.homes import MIRROR

    if (home / MIRROR).is_file():
        with reading(str(home / MIRROR)) as store:
            if entry < store.size():
                return store.entries(entry, entry + 1)[0]
    raise UsageError(f"{home}: entry {entry} is not in the mirror yet; let the witness catch up")


def _links(inputs: list[int], follows: int | None, home: Path) -> dict[str, Any]:
    """The fields that name other statements, by their digests."""
    from ledger.statement import decode_statement

    wanted = {*inputs, *([] if follows is None else [follows])}
    digests = {index: decode_statement(_mirrored(home, index)).digest for index in wanted}
    links: dict[str, Any] = {"inputs": [digests[index] for index in inputs]} if inputs else {}
    return links if follows is None else {**links, "parent": digests[follows]}


def _same(kept: Path, fields: dict[str, Any]) -> bytes:
    """The statement that an earlier run left, if it says the same."""
    from ledger.statement import decode_statement

    raw = read(kept)
    payload = decode_statement(raw).payload
    if any(payload.get(name) != value for name, value in fields.items()):
        raise UsageError(f"{kept}: is a statement about something else; move it away to make another")
    return raw


def _commitment(file: Path, body: Path | None) -> dict[str, Any]:
    """The fields of a statement for parties: what is sealed shows on the ledger only together with its salt.

    The salt stays beside the sealed file: with both, the issuer can show later what was committed to.
    """
    from ledger.service.bodies import SALT_BYTES, commit_to_body

    source = body or file
    salt_file = _salt_of(source)
    if not salt_file.exists():
        write(salt_file, os.urandom(SALT_BYTES), mode=0o600)
    _, commitment = commit_to_body(read(source), lambda _: read(salt_file))
    fields = {"acl": "parties", "body_sha256": commitment}
    # The plain hash of a short text, such as a price, could be guessed.
    return fields if body is not None else {**fields, "artifact": commitment}


def _salt_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.salt")


def _sealed(raw: bytes, file: Path, parties: list[str], home: Path) -> bytes:
    """The file's content sealed to the parties, for the statement that commits to it.

    Their keys are those of the member's own mirror: a service could slip in one of its own.
    """
    from ledger.service.bodies import About, seal_body
    from ledger.statement import decode_statement

    state = standing(home).state
    known = {party: state.encryption_keys.get(party) for party in parties if state.is_enrolled(party)}
    for party in parties:
        if known.get(party) is None:
            raise UsageError(
                f"{party!r} is no active member with an encryption key in this mirror; "
                "it runs: artesian ledger members encryption"
            )
    record = decode_statement(raw).payload
    about = About(record["cid"], record["id"], record["body_sha256"])
    return seal_body(
        read(file), read(_salt_of(file)), about, {party: key for party, key in known.items() if key is not None}
    )


def _report(statement: Statement, place: Place, receipt: Path, facts: dict[str, Any], as_json: bool) -> None:
    beside = _keep_receipt(place, receipt)
    facts = {
        "ok": True,
        "index": place.index,
        "digest": statement.digest,
        "final": place.receipt is not None,
        **beside,
        "promise": place.promise,
        **facts,
    }
    words = [f"{statement.issuer} on {statement.subject}: {place.words}."]
    if place.receipt is not None:
        words += [f"{name.capitalize()}: {file}" for name, file in beside.items() if file is not None]
    else:
        words.append("Run the same again for the receipt, when the members' witnesses have cosigned.")
    answer(facts, words, as_json)


def _keep_receipt(place: Place, receipt: Path) -> dict[str, str | None]:
    """Write a receipt, and beside it the policy by which it holds: members and keys will be others some day.

    Returns:
        Their files, by `receipt` and `policy`.
    """
    policy = receipt.with_suffix(".policy")
    if place.policy is not None:
        write(policy, place.policy.text().encode(), replace=True)
    if place.receipt is not None:
        write(receipt, place.receipt, replace=True)
    return {
        "receipt": None if place.receipt is None else str(receipt),
        "policy": None if place.policy is None else str(policy),
    }
