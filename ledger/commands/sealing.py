"""`artesian ledger open`, `erase`, and what `attest` seals: bodies for the parties only, kept beside the ledger."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, read, write
from ledger.commands.connecting import Address, Authority, address_of, connected
from ledger.commands.places import OwnHome, database, mirrored, reading, standing
from ledger.commands.placing import own_log, sequences
from ledger.commands.speaking import Member, speaker
from ledger.kept_bodies import BodyState

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from ledger.service.bodies import About
    from ledger.statement import Statement

_ERASED = {
    BodyState.KEPT: "The body of {} is erased. The entry, its commitment and its receipts stay valid; what a party has "
    "opened, it has.",
    BodyState.ERASED: "The body of {} was erased before.",
    BodyState.MISSING: "No body of {} was kept. From now on none is taken.",
}


@dataclass(frozen=True)
class Sealing:
    """What is sealed to whom, for one statement.

    Attributes:
        source: the file whose content is sealed; its salt is kept beside it.
        parties: who can open it; empty when nothing is sealed.
        envelope: the file that keeps it as it was sealed: sealing again gives other bytes.
        home: the issuer's.
    """

    source: Path
    parties: tuple[str, ...]
    envelope: Path
    home: Path

    def commitment(self) -> dict[str, Any]:
        """The fields of a statement for parties: what is sealed shows on the ledger only together with its salt.

        The salt stays beside the sealed file: with both, the issuer can show later what was committed to.
        """
        from ledger.service.bodies import SALT_BYTES, commit_to_body

        if not self._salt.exists():
            write(self._salt, os.urandom(SALT_BYTES), mode=0o600)
        _, commitment = commit_to_body(read(self.source), lambda _: read(self._salt))
        return {"acl": "parties", "body_sha256": commitment}

    def seal(self, raw: bytes) -> bytes:
        """The content sealed to the parties for the statement that commits to it, and kept.

        Their keys are those of the member's own mirror: a service could slip in one of its own.

        Raises:
            UsageError: a party has no key there, or the content is too large.
        """
        from ledger.service.bodies import seal_body
        from ledger.service.client import MAX_SUBMIT_BYTES

        content, state = read(self.source), standing(self.home).state
        if len(content) > MAX_SUBMIT_BYTES:
            raise UsageError(
                f"{self.source}: has {len(content)} bytes, more than a body can have; seal less with --body, such as "
                "the key to a file that you hand over yourself"
            )
        keys = {party: state.encryption_keys.get(party) for party in self.parties if state.is_enrolled(party)}
        for party in self.parties:
            if keys.get(party) is None:
                raise UsageError(
                    f"{party!r} is no active member with an encryption key in this mirror; "
                    "it runs: artesian ledger members encryption"
                )
        known = {party: key for party, key in keys.items() if key is not None}
        sealed = seal_body(content, read(self._salt), _about(raw), known)
        write(self.envelope, sealed, replace=True, mode=0o600)
        return sealed

    def kept(self) -> bytes | None:
        """What an earlier run sealed to the same parties, if it is there.

        Raises:
            UsageError: it is for others, or no envelope.
        """
        from ledger.service.bodies import BadBody, Envelope

        if not self.parties or not self.envelope.exists():
            return None
        sealed = read(self.envelope)
        try:
            others = Envelope.from_bytes(sealed).parties
        except BadBody:
            raise UsageError(f"{self.envelope}: is no sealed body; move it away, and the file is sealed anew") from None
        if set(others) != set(self.parties):
            raise UsageError(
                f"{self.envelope}: is sealed to {', '.join(others)}; name the same --parties, or move it and the "
                "statement away to make another"
            )
        return sealed

    @property
    def _salt(self) -> Path:
        return self.source.with_name(f"{self.source.name}.salt")


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
    from ledger.kept_bodies import names_body
    from ledger.service.errors import NoBody
    from ledger.statement import decode_statement

    with answering(as_json):
        name, key = speaker(home, member)
        statement = decode_statement(mirrored(home, entry))
        if not names_body(statement):
            raise UsageError(f"entry {entry} has no sealed body")
        with connected(address_of(home, address), home, ca, (name, key)) as client:
            try:
                envelope = client.body(statement.digest)
            except NoBody as error:
                raise NoBody(f"entry {entry}: {error}") from None
        content = _unseal(envelope, _about(statement.raw), name, home)
        write(out, content, mode=0o600)
        facts = {"ok": True, "index": entry, "issuer": statement.issuer, "bytes": len(content), "file": str(out)}
        line = f"{out}: {len(content)} bytes that {statement.issuer} sealed, as entry {entry} commits to them."
        answer(facts, [line], as_json)


def erase(
    entry: Annotated[str, typer.Argument(help="The entry, as `trace` or `show` lists it, or its statement's digest.")],
    home: OwnHome,
    address: Address = "",
    ca: Authority = None,
    member: Member = "",
    as_json: AsJson = False,
) -> None:
    """Erase the sealed body of an entry at the service, for good. Only its issuer and the coordinator may.

    The entry itself, its commitment and its receipts stay and hold. The body is not taken again.
    """
    with answering(as_json):
        own = speaker(home, member)
        digest, index, statement = _named(entry, home)
        before = _erase(digest, home, address_of(home, address), ca, own)
        issuer = None if statement is None else statement.issuer
        facts = {"ok": True, "index": index, "digest": digest, "issuer": issuer, "before": before}
        words = [_ERASED[before].format(f"statement {digest.hex()}" if index is None else f"entry {index}")]
        if issuer == own[0]:
            words.append("Your own .sealed and .salt, beside the file, are yours to delete.")
        answer(facts, words, as_json)


def _erase(digest: bytes, home: Path, address: str, ca: Path | None, own: tuple[str, SigningKey]) -> BodyState:
    from ledger.service.keeping import erase as erase_in

    if not address and sequences(home):
        with own_log(home) as log:
            return erase_in(log, digest, own[0])
    with connected(address, home, ca, own) as client:
        return client.delete_body(digest) or BodyState.KEPT


def _named(text: str, home: Path) -> tuple[bytes, int | None, Statement | None]:
    """The digest that `text` is or whose entry it names, with entry and statement where the home's database has them.

    Raises:
        UsageError: it is neither, or an entry that is not there, or one without a body.
    """
    from ledger.kept_bodies import names_body
    from ledger.service.promise import DIGEST_BYTES
    from ledger.statement import decode_statement

    is_digest = len(text) == 2 * DIGEST_BYTES
    try:
        wanted = bytes.fromhex(text) if is_digest else int(text)
    except ValueError:
        raise UsageError(f"{text!r}: give an entry's number, or a digest of {2 * DIGEST_BYTES} digits") from None
    with reading(database(home, None)) as store:
        index = store.indices([wanted]).get(wanted) if isinstance(wanted, bytes) else wanted
        if index is None or not 0 <= index < store.size():
            if isinstance(wanted, bytes):
                return wanted, None, None
            raise UsageError(f"{home}: entry {text} is not here yet; let the witness catch up")
        statement = decode_statement(store.entries(index, index + 1)[0])
    if not names_body(statement):
        raise UsageError(f"entry {index} has no sealed body")
    return statement.digest, index, statement


def _about(raw: bytes) -> About:
    from ledger.service.bodies import About
    from ledger.statement import decode_statement

    record = decode_statement(raw).payload
    return About(record["cid"], record["id"], record["body_sha256"])


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
