"""`artesian ledger submit`, `attest`: what members put on the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, read, write
from ledger.commands.connecting import Address, Authority
from ledger.commands.places import OwnHome, cid_of, mirrored
from ledger.commands.placing import Place, put
from ledger.commands.sealing import Sealing
from ledger.commands.speaking import Member, fresh_record, speaker
from ledger.kept_bodies import BodyState, names_body

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from ledger.rules import Refused
    from ledger.statement import Statement

Wait = Annotated[float, typer.Option("--wait", min=0, max=60, help="Wait so many seconds for finality.")]
_ABOUT_BODIES = ("body", "quota")
"""The rules by which the service refuses a body, and not its statement."""
_BODIES = {
    BodyState.ERASED: "Its body was erased, and is not taken again.",
    BodyState.MISSING: "Its body is not at the service: hand it in with --sealed, or by the same attest again.",
}


def submit(
    statement: Annotated[Path, typer.Argument(help="A signed statement's file.")],
    home: OwnHome,
    sealed: Annotated[
        Path | None,
        typer.Option("--sealed", help="Its sealed body; default: what `attest` keeps beside it, if this member did."),
    ] = None,
    address: Address = "",
    ca: Authority = None,
    wait: Wait = 10.0,
    member: Member = "",
    as_json: AsJson = False,
) -> None:
    """Put a signed statement on the ledger. Again: it keeps its place. The receipt is written beside it."""
    from ledger.statement import decode_statement

    with answering(as_json):
        decoded, own = decode_statement(read(statement)), speaker(home, member)
        beside = statement.with_suffix(".sealed")
        if sealed is None and names_body(decoded) and decoded.issuer == own[0] and beside != statement:
            sealed = beside if beside.exists() else None
        bodies = {} if sealed is None else {0: read(sealed)}
        (place,) = put([decoded.raw], home, address, ca, own, wait_s=wait, bodies=bodies)
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

    Run again, it asks for the receipt of the same statement, and hands the sealed body in anew if it was lost.
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
        _require_attestable(fields, home)
        kept, envelope = (file.with_name(f"{file.name}.{what}") for what in ("statement", "sealed"))
        sealing = Sealing(body or file, tuple(parties.split(",")) if parties else (), envelope, home)
        fields |= _for_parties(sealing, whole=body is None) if parties else {}
        known = kept.exists()
        raw = _same(kept, fields, own[0]) if known else _sign(fields, cid_of(home), *own)
        sealed = sealing.kept() if known else sealing.seal(raw) if parties else None
        write(kept, raw, replace=True)  # before it is sent: whatever happens, the next run sends the same one

        def send(raw: bytes, sealed: bytes | None) -> Place:
            return put([raw], home, address, ca, own, wait_s=wait, bodies={} if sealed is None else {0: sealed})[0]

        try:
            place = send(raw, sealed)
        except Refused as refused:
            again = _signed_again(raw, refused, *own) if known else None
            if again is None:
                if not known or refused.rule not in _ABOUT_BODIES:
                    kept.unlink()
                    if parties:
                        envelope.unlink(missing_ok=True)
                raise
            raw = again
            write(kept, raw, replace=True)
            place = send(raw, sealed)
        if place.body is BodyState.MISSING and parties:
            place = send(raw, sealing.seal(raw))
        back = known and place.body is BodyState.TAKEN
        facts = {
            "artifact": fields["artifact"],
            "statement": str(kept),
            "sealed": str(envelope) if envelope.exists() else None,
        }
        _report(decode_statement(raw), place, file.with_name(f"{file.name}.receipt"), facts, as_json, back=back)


def _require_attestable(fields: Mapping[str, Any], home: Path) -> None:
    """Raise `UsageError` where the ledger's rules will refuse a field as it was given: before anything is written."""
    from ledger.rules.records import problem_with

    problem = problem_with(fresh_record("attest", cid_of(home), **fields))
    if problem is not None:
        raise UsageError(f"this cannot be attested: {problem}")


def _sign(fields: Mapping[str, Any], cid: str, issuer: str, key: SigningKey) -> bytes:
    from ledger.statement import sign_statement

    return sign_statement(fresh_record("attest", cid, **fields), issuer=issuer, subject=fields["subject"], key=key)


def _signed_again(raw: bytes, refused: Refused, issuer: str, key: SigningKey) -> bytes | None:
    """The same record under the issuer's present key, if the statement was refused for bearing the one before.

    The record keeps its id, so that the ledger never takes both, and what was sealed for it stays good.
    """
    from ledger.statement import decode_statement, sign_statement

    old = decode_statement(raw)
    if refused.rule != "signature" or old.kid == key.public.kid:
        return None
    return sign_statement(old.payload, issuer=issuer, subject=old.subject, key=key)


def _for_parties(sealing: Sealing, *, whole: bool) -> dict[str, Any]:
    """The fields of a statement for parties; `whole`: the artifact itself is what is sealed."""
    fields = sealing.commitment()
    # The plain hash of a short text, such as a price, could be guessed.
    return {**fields, "artifact": fields["body_sha256"]} if whole else fields


def _links(inputs: list[int], follows: int | None, home: Path) -> dict[str, Any]:
    """The fields that name other statements, by their digests."""
    from ledger.statement import decode_statement

    wanted = {*inputs, *([] if follows is None else [follows])}
    digests = {index: decode_statement(mirrored(home, index)).digest for index in wanted}
    links: dict[str, Any] = {"inputs": [digests[index] for index in inputs]} if inputs else {}
    return links if follows is None else {**links, "parent": digests[follows]}


def _same(kept: Path, fields: dict[str, Any], issuer: str) -> bytes:
    """The statement that an earlier run left, if it says the same, and the same member says it."""
    from ledger.statement import decode_statement

    raw = read(kept)
    statement = decode_statement(raw)
    if statement.issuer != issuer:
        raise UsageError(f"{kept}: is a statement by {statement.issuer}; move it away to make another")
    if any(statement.payload.get(name) != value for name, value in fields.items()):
        raise UsageError(f"{kept}: is a statement about something else; move it away to make another")
    return raw


def _report(
    statement: Statement, place: Place, receipt: Path, facts: dict[str, Any], as_json: bool, *, back: bool = False
) -> None:
    beside = _keep_receipt(place, receipt)
    facts = {
        "ok": True,
        "index": place.index,
        "digest": statement.digest,
        "final": place.receipt is not None,
        **beside,
        "promise": place.promise,
        "body": place.body,
        **facts,
    }
    words = [f"{statement.issuer} on {statement.subject}: {place.words}."]
    if place.receipt is not None:
        words += [f"{name.capitalize()}: {file}" for name, file in beside.items() if file is not None]
    else:
        words.append("Run the same again for the receipt, when the members' witnesses have cosigned.")
    if back:
        words.append("Its body was not at the service, and is now.")
    elif place.body in _BODIES:
        words.append(_BODIES[place.body])
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
