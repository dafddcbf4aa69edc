"""Receipts: proof, checkable offline, that a statement is on the ledger and final.

A receipt is a COSE receipt (RFC 9942) together with the cosigned checkpoint of the same tree. The COSE
receipt alone signs a root but no size, and one path can fit several sizes: the checkpoint pins the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ledger.checkpoint import Checkpoint, NotFinal, SignedCheckpoint, UnknownLogKey, verify_final
from ledger.cose import ALG, ALG_EDDSA, KID, CoseError, Sign1, read_sign1, signature_input
from ledger.encoding import EncodingError, Value, decode, encode, encode_item, shown
from ledger.errors import LedgerError
from ledger.keys import BadSignature, SigningKey
from ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.statement import Statement, decode_statement

RECEIPT_VERSION = 1
MAX_RECEIPT_BYTES = 1 << 20

VDS, VDP = 395, 396
"""Header labels of RFC 9942, section 4: which verifiable data structure, and its proofs."""
RFC9162_SHA256 = 1
INCLUSION_PROOFS = -1


class ReceiptError(LedgerError):
    """A receipt does not prove what it should."""

    exit_code = 1


class NoReceipt(ReceiptError):
    """The bytes are not a receipt that this program reads: nothing is said about what it would prove."""

    exit_code = 2


@dataclass(frozen=True)
class VerifiedReceipt:
    """What a receipt has proved.

    Attributes:
        index: the entry's place on the ledger, from 0.
        size: number of entries that the final checkpoint covers.
        root: 32 bytes, the checkpoint's root.
        origin: the log's name.
        cosigners: policy names of the witnesses that cosigned.
        statement: the decoded statement. Its own signature was not checked here: whose key its issuer has is
            for the ledger's rules to say, and a quorum of witnesses replayed them before cosigning.
        words: the same for people, a sentence a line.
    """

    index: int
    size: int
    root: bytes
    origin: str
    cosigners: tuple[str, ...]
    statement: Statement
    words: list[str]


@dataclass(frozen=True)
class Receipt:
    """The bundle that travels.

    Attributes:
        index: the entry's place on the ledger.
        cose: COSE receipt with one inclusion proof, the root detached.
        checkpoint: the cosigned checkpoint note of the same tree.
    """

    index: int
    cose: bytes
    checkpoint: str

    def to_bytes(self) -> bytes:
        """Deterministic CBOR."""
        return encode({"v": RECEIPT_VERSION, "index": self.index, "cose": self.cose, "checkpoint": self.checkpoint})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raise `NoReceipt` unless `raw` is exactly a receipt of this version."""
        if len(raw) > MAX_RECEIPT_BYTES:
            raise NoReceipt(f"the receipt has {len(raw)} bytes, more than {MAX_RECEIPT_BYTES}; fetch it again")
        try:
            fields = decode(raw, what="the receipt")
        except EncodingError:  # what is wrong with it as a record misleads: mostly it is another file
            raise NoReceipt("this is not a receipt, or not a whole one; give its file, or fetch it again") from None
        match fields:
            case {"v": int() as version} if version != RECEIPT_VERSION or isinstance(version, bool):
                raise NoReceipt(f"receipt version {version} is unknown; this program reads {RECEIPT_VERSION}")
            case {"v": int(), "index": int() as index, "cose": bytes() as cose, "checkpoint": str() as note}:
                if len(fields) == 4 and not isinstance(index, bool):
                    return cls(index, cose, note)
        raise NoReceipt("this is not a receipt: version, index, cose and checkpoint are expected, no more")

    @property
    def size(self) -> int:
        """How many entries its checkpoint says that it is over.

        Raises:
            ReceiptError: it is no checkpoint.
        """
        try:
            return SignedCheckpoint.parse(self.checkpoint).checkpoint.size
        except LedgerError as error:
            raise ReceiptError(f"the receipt's checkpoint does not hold: {error}") from None


def of_its_time(size: int) -> str:
    """What to do about a receipt over `size` entries whose keys a policy does not know."""
    return f"take the policy of the receipt's time: artesian ledger policy --at {size} --home HOME"


def make_receipt(index: int, path: Sequence[bytes], note: str, key: SigningKey) -> bytes:
    """The receipt of entry `index` in the tree of the cosigned checkpoint `note`, signed by the log's key."""
    checkpoint = SignedCheckpoint.parse(note).checkpoint
    protected = _header(key.public.kid)
    signature = key.sign(signature_input(protected, checkpoint.root))
    cose = Sign1(protected, _proofs(checkpoint.size, index, path), None, signature).to_bytes()
    return Receipt(index, cose, note).to_bytes()


def verify_receipt(receipt: bytes, statement: bytes, policy: Policy) -> VerifiedReceipt:
    """Check that `statement` is on the ledger and final under `policy`. No server, no database, no clock.

    Args:
        receipt: as `Log.receipt` made it.
        statement: the COSE_Sign1 bytes of the entry.
        policy: which log and which quorum to trust.

    Raises:
        LedgerError: not proved; says what failed. `exit_code` is 1 for a receipt that does not hold, 2 for a
            statement or a receipt that cannot be read.
    """
    decoded = decode_statement(statement)
    bundle = Receipt.from_bytes(receipt)
    try:
        checkpoint, cosigners = verify_final(bundle.checkpoint, policy)
    except NotFinal as error:
        raise NotFinal(f"{error}, or {of_its_time(bundle.size)}") from None
    except UnknownLogKey as error:
        raise ReceiptError(f"the receipt's checkpoint does not hold: {error}; {of_its_time(bundle.size)}") from None
    except LedgerError as error:
        raise ReceiptError(f"the receipt's checkpoint does not hold: {error}") from None
    logs = policy.logs_named(checkpoint.origin)
    _refuse_strangers(bundle.checkpoint, [*logs, *policy.witnesses.values()])
    size, index, path = _verify_cose(bundle.cose, checkpoint.root, logs)
    if size != checkpoint.size or index != bundle.index:
        raise ReceiptError(
            f"the proof is for entry {index} of {size}, the receipt for entry {bundle.index} of {checkpoint.size}"
        )
    verify_inclusion(leaf_hash(statement), index, size, path, checkpoint.root)
    words = _in_words(decoded, checkpoint, index, cosigners, len(policy.witnesses))
    return VerifiedReceipt(index, size, checkpoint.root, checkpoint.origin, tuple(cosigners), decoded, words)


def _refuse_strangers(note: str, known: Sequence[Vkey]) -> None:
    """A signed note may carry signatures by unknown keys (C2SP); nothing vouches for those, so a receipt may not."""
    signed = SignedCheckpoint.parse(note)
    for line in signed.lines:
        if not any(line.is_by(vkey) for vkey in known):
            raise ReceiptError(
                f"the receipt's checkpoint has a signature by an unknown key, {line.name!r} with id "
                f"{line.key_id.hex()}; ask for a new receipt, or {of_its_time(signed.checkpoint.size)}"
            )


def _verify_cose(cose: bytes, root: bytes, logs: Sequence[Vkey]) -> tuple[int, int, list[bytes]]:
    """Check a log's signature over the detached root; return (size, index, path) of the inclusion proof."""
    try:
        message = read_sign1(cose, what="the COSE receipt")
    except CoseError as error:
        raise ReceiptError(str(error)) from None
    if message.payload is not None:
        raise ReceiptError("the COSE receipt's payload is attached; it must be the tree's root, detached")
    signer = next((log.key for log in logs if message.protected == _header(log.key.kid)), None)
    if signer is None:
        raise ReceiptError("the COSE receipt is not of the trusted log's key and an RFC 9162 tree")
    try:
        signer.verify(message.signature, signature_input(message.protected, root))
    except BadSignature:
        raise ReceiptError("the log's signature on the receipt does not fit the checkpoint's root") from None
    return _only_proof(message)


def _header(kid: bytes) -> bytes:
    return encode_item({ALG: ALG_EDDSA, KID: kid, VDS: RFC9162_SHA256})


def _proofs(size: int, index: int, path: Sequence[bytes]) -> dict[int, dict[int, list[bytes]]]:
    """The unprotected header: one inclusion proof (RFC 9942, section 5.2)."""
    return {VDP: {INCLUSION_PROOFS: [encode([size, index, list(path)])]}}


def _only_proof(message: Sign1) -> tuple[int, int, list[bytes]]:
    match message.unprotected:
        case {396: {-1: [bytes() as proof]}}:
            size, index, path = _proof_fields(proof)
        case _:
            raise ReceiptError("the COSE receipt must carry one inclusion proof")
    expected = Sign1(message.protected, _proofs(size, index, path), None, message.signature)
    if expected.to_bytes() != message.to_bytes():
        raise ReceiptError("the COSE receipt must carry one inclusion proof, and nothing else that is unsigned")
    return size, index, path


def _proof_fields(proof: bytes) -> tuple[int, int, list[bytes]]:
    try:
        fields: Value = decode(proof, what="the inclusion proof")
    except EncodingError as error:
        raise ReceiptError(str(error)) from None
    match fields:
        case [int() as size, int() as index, list() as path] if all(
            isinstance(item, bytes) and len(item) == HASH_BYTES for item in path
        ):
            return int(size), int(index), path
    raise ReceiptError("the inclusion proof is not size, index and a list of 32-byte hashes")


def _in_words(
    statement: Statement, checkpoint: Checkpoint, index: int, cosigners: Sequence[str], witnesses: int
) -> list[str]:
    kind = statement.payload.get("t")
    return [
        f"The statement is of the type {shown(kind)!r}, by {shown(statement.issuer)} about {shown(statement.subject)}.",
        f"It is entry {index} of the log {checkpoint.origin}, which had {checkpoint.size} entries.",
        f"{len(cosigners)} of {witnesses} witnesses cosigned that history: {', '.join(cosigners)}.",
        f"The history's root is {checkpoint.root.hex()}.",
    ]
