"""Evidence: files that show a stranger that a log did what no honest log does.

A file is a CBOR map with a `kind`:

- `fork`: two checkpoints signed by one key, and a consistency proof that the tree of the larger one does not begin with
  that of the smaller one. Nothing else is needed to check it.
- `rules`: a checkpoint over an entry that the rules forbid; whoever has the entries before it can replay them.
- `promise`: an inclusion promise that a checkpoint by the same key breaks: another entry stands at the place, or the
  checkpoint ends before it and a quorum cosigned it after the deadline. The latter shows that the log had brought no
  quorum a checkpoint that holds the place. Whether it would not or could not, no signature shows.
- `notes`: two checkpoints that a witness could not accept one after the other. That alone is no proof, and
  `verify_evidence` says so: an old checkpoint shown again is not signed anew.

No two checkpoints of an honest log make a `fork`: that would take a second preimage of SHA-256. Both must be signed by
one key, because a handover gives the log a new key and may leave entries behind that were never final.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ledger.checkpoint import (
    FUTURE_TOLERANCE_S,
    Checkpoint,
    Policy,
    SignedCheckpoint,
    verify_cosignature,
)
from ledger.encoding import EncodingError, decode, encode
from ledger.errors import LedgerError
from ledger.merkle import (
    HASH_BYTES,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import Vkey
from ledger.replay import require_base
from ledger.rules import Refused, State, admit
from ledger.service.promise import BadPromise, Promise, open_promise
from ledger.statement import StatementError, decode_statement
from ledger.subtrees import subtrees_of

EVIDENCE_VERSION = 1
MAX_EVIDENCE_BYTES = 4 << 20
_FIELDS: Mapping[str, frozenset[str]] = {
    "fork": frozenset({"smaller", "larger", "root", "path"}),
    "rules": frozenset({"checkpoint", "index", "entry", "inclusion", "prefix"}),
    "promise": frozenset({"promise", "checkpoint", "entry", "inclusion"}),
    "notes": frozenset({"known", "offered"}),
}

Path: TypeAlias = Sequence[bytes]
"""A Merkle proof: 32-byte hashes, from the leaves up."""


class EvidenceError(LedgerError):
    """The file proves nothing against the log: it is malformed, changed, or fits an honest log."""

    exit_code = 1


class History(Protocol):
    """What judges a broken rule: a `ledger.mirror.Mirror`."""

    def root_at(self, size: int) -> bytes: ...
    def state_at(self, size: int) -> State: ...


@dataclass(frozen=True)
class VerifiedEvidence:
    """What a file has shown.

    Attributes:
        kind: `fork`, `rules`, `promise` or `notes`.
        proves: whether it proves what the words say against the log; False for `notes`.
        origin: the log's name.
        words: what it proves, for people, a sentence a line.
    """

    kind: str
    proves: bool
    origin: str
    words: list[str]


def fork_evidence(one: str, other: str, root: bytes, path: Path) -> bytes:
    """Two notes that one key signed, in any order.

    Args:
        root: the root of the first entries of the larger tree, as many as the smaller one has.
        path: consistency proof from that root to the larger tree's.
    """
    smaller, larger = sorted((one, other), key=lambda note: SignedCheckpoint.parse(note).checkpoint.size)
    return _file("fork", smaller=smaller, larger=larger, root=root, path=list(path))


def rules_evidence(note: str, leaves: Sequence[bytes], index: int, entry: bytes) -> bytes:
    """A checkpoint over `leaves` (the hashes of all its entries), of which `entry` at `index` breaks a rule."""
    fetch = subtrees_of(leaves)
    prefix = consistency_proof(index, len(leaves), fetch) if index else []
    inclusion = inclusion_proof(index, len(leaves), fetch)
    return _file("rules", checkpoint=note, index=index, entry=entry, inclusion=inclusion, prefix=prefix)


def promise_evidence(promise: bytes, note: str, entry: bytes | None = None, inclusion: Path = ()) -> bytes:
    """A broken promise.

    Args:
        note: a final checkpoint that ends before the promised place and was cosigned after the deadline; or, with
            `entry`, any checkpoint of the log.
        entry: what stands at the promised place instead.
        inclusion: proof of it.
    """
    return _file("promise", promise=promise, checkpoint=note, entry=entry, inclusion=list(inclusion))


def notes_evidence(known: str, offered: str) -> bytes:
    """Two checkpoints that a witness could not accept one after the other; kept, though no proof by themselves."""
    return _file("notes", known=known, offered=offered)


def verify_evidence(raw: bytes, policy: Policy, history: History | None = None) -> VerifiedEvidence:
    """Say what an evidence file proves. No server, no clock.

    Args:
        policy: the log's keys and, for a promise, the quorum: those of the time that the evidence is of.
        history: a mirror of the entries before the one accused; asked for only by `rules`.

    Raises:
        EvidenceError: it proves nothing.
    """
    fields = _read(raw)
    kind = fields["kind"]
    try:
        if kind == "fork":
            return _verify_fork(fields, policy)
        if kind == "rules":
            return _verify_rules(fields, policy, history)
        if kind == "promise":
            return _verify_promise(fields, policy)
        return _verify_notes(fields, policy)
    except EvidenceError:
        raise
    except LedgerError as error:
        raise EvidenceError(f"the evidence does not hold: {error}") from None


def _verify_fork(fields: Mapping[str, Any], policy: Policy) -> VerifiedEvidence:
    smaller, larger = SignedCheckpoint.parse(fields["smaller"]), SignedCheckpoint.parse(fields["larger"])
    vkey = _one_signer(policy, smaller, larger)
    left, right = smaller.checkpoint, larger.checkpoint
    verify_consistency(left.size, right.size, fields["path"], fields["root"], right.root)
    if fields["root"] == left.root:
        raise EvidenceError("the two checkpoints are of one history: the larger continues the smaller")
    words = [
        f"The log {left.origin} signed two histories with the key {vkey.id.hex()}.",
        _of(left),
        _of(right),
        f"The first {left.size} entries of the second history have the root {fields['root'].hex()}, which is another.",
        "A log that only appends never signs both.",
    ]
    return VerifiedEvidence("fork", True, left.origin, words)


def _verify_rules(fields: Mapping[str, Any], policy: Policy, history: History | None) -> VerifiedEvidence:
    signed = SignedCheckpoint.parse(fields["checkpoint"])
    point, index, entry = signed.checkpoint, fields["index"], fields["entry"]
    _one_signer(policy, signed)
    verify_inclusion(leaf_hash(entry), index, point.size, fields["inclusion"], point.root)
    if history is None:
        raise EvidenceError(f"whether entry {index} breaks a rule depends on those before it; give a mirror to replay")
    try:
        verify_consistency(index, point.size, fields["prefix"], history.root_at(index), point.root)
    except ProofError:
        raise EvidenceError(f"the mirror's first {index} entries are not those before the entry accused") from None
    try:
        statement = decode_statement(entry)
        admit(history.state_at(index), statement, index)
        if statement.payload["t"] == "handover":
            require_base(statement, index, history.root_at(index))
    except (Refused, StatementError) as error:
        words = [f"The log {point.origin} signed a checkpoint over an entry that no log may take.", _of(point)]
        words += [f"Entry {index} stands in it, and the mirror has the same entries before it.", f"{error}."]
        return VerifiedEvidence("rules", True, point.origin, words)
    raise EvidenceError(f"the rules allow entry {index}; the log did nothing wrong in taking it")


def _verify_promise(fields: Mapping[str, Any], policy: Policy) -> VerifiedEvidence:
    signed = SignedCheckpoint.parse(fields["checkpoint"])
    vkey = _one_signer(policy, signed)
    try:
        promise = open_promise(fields["promise"], vkey.key)
    except BadPromise as error:
        raise EvidenceError(f"the promise is not by the key that signed the checkpoint: {error}") from None
    if promise.origin != signed.checkpoint.origin:
        raise EvidenceError("the promise is of another log than the checkpoint")
    entry = fields["entry"]
    words = [
        f"The log {promise.origin} promised the place {promise.index} to the statement {promise.digest.hex()},",
        f"in a checkpoint by {promise.deadline_s} s (since 1970).",
        _of(signed.checkpoint),
    ]
    words += _other_entry(promise, signed, entry, fields) if entry is not None else _too_late(promise, signed, policy)
    return VerifiedEvidence("promise", True, promise.origin, words)


def _other_entry(promise: Promise, signed: SignedCheckpoint, entry: bytes, fields: Mapping[str, Any]) -> list[str]:
    point = signed.checkpoint
    verify_inclusion(leaf_hash(entry), promise.index, point.size, fields["inclusion"], point.root)
    if _digest(entry) == promise.digest:
        raise EvidenceError("the promised statement stands at its place; the promise is kept")
    return ["In it another entry stands at that place."]


def _too_late(promise: Promise, signed: SignedCheckpoint, policy: Policy) -> list[str]:
    point = signed.checkpoint
    if point.size > promise.index:
        raise EvidenceError(f"the checkpoint covers the place {promise.index}; show which entry stands there")
    late = [
        name for name, time_s in _cosignature_times(signed, policy) if time_s > promise.deadline_s + FUTURE_TOLERANCE_S
    ]
    if not policy.is_met_by(late):
        raise EvidenceError(
            f"{len(late)} witnesses cosigned more than {FUTURE_TOLERANCE_S} s after the deadline, fewer than a quorum"
        )
    return [
        f"It does not reach that place, and after the deadline {len(late)} witnesses knew none that does: "
        f"{', '.join(sorted(late))}.",
        "No quorum had cosigned a checkpoint that holds it by then: the log had lost it, withheld it, or could not "
        "reach its members.",
    ]


def _verify_notes(fields: Mapping[str, Any], policy: Policy) -> VerifiedEvidence:
    known, offered = SignedCheckpoint.parse(fields["known"]), SignedCheckpoint.parse(fields["offered"])
    _one_signer(policy, known, offered)
    words = [
        f"The log {known.checkpoint.origin} signed both of these checkpoints.",
        _of(known.checkpoint),
        _of(offered.checkpoint),
        "A witness could not accept the second after the first.",
        "That alone proves nothing: an old checkpoint may be shown again, and without a proof between the two trees a "
        "fork is not shown. Ask the other members which of the two they have.",
    ]
    return VerifiedEvidence("notes", False, known.checkpoint.origin, words)


def _one_signer(policy: Policy, *notes: SignedCheckpoint) -> Vkey:
    """The trusted key of the log that signed every one of `notes`."""
    origins = {note.checkpoint.origin for note in notes}
    if len(origins) != 1:
        raise EvidenceError("the checkpoints are of two logs; two logs may say different things")
    trusted = policy.logs_named(origins.pop())
    for vkey in trusted:
        if all(any(line.is_by(vkey) for line in note.lines) for note in notes):
            for note in notes:
                note.verify_log(vkey)
            return vkey
    raise EvidenceError("no single log key of the policy signed this; use the policy of the evidence's time")


def _cosignature_times(signed: SignedCheckpoint, policy: Policy) -> Iterable[tuple[str, int]]:
    for name, vkey in policy.witnesses.items():
        times = [verify_cosignature(signed.body, line, vkey) for line in signed.lines if line.is_by(vkey)]
        if times:
            yield name, min(times)


def _digest(entry: bytes) -> bytes | None:
    try:
        return decode_statement(entry).digest
    except StatementError:
        return None


def _of(point: Checkpoint) -> str:
    return f"A checkpoint of {point.size} entries has the root {point.root.hex()}."


def _file(kind: str, **fields: Any) -> bytes:
    return encode({"v": EVIDENCE_VERSION, "kind": kind, **fields})


def _read(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > MAX_EVIDENCE_BYTES:
        raise EvidenceError(f"the file has {len(raw)} bytes, more than {MAX_EVIDENCE_BYTES}; it is no evidence")
    try:
        fields = decode(raw, what="the evidence")
    except EncodingError as error:
        raise EvidenceError(str(error)) from None
    if not isinstance(fields, dict) or fields.get("v") != EVIDENCE_VERSION or isinstance(fields["v"], bool):
        raise EvidenceError(f"this is not evidence of version {EVIDENCE_VERSION}, which this program reads")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS or fields.keys() != {"v", "kind", *_FIELDS[kind]}:
        raise EvidenceError("the evidence is of an unknown kind, or does not have the fields of its kind")
    for name, value in fields.items():
        if name not in ("v", "kind") and not _fits(kind, name, value):
            raise EvidenceError(f"the evidence's field {name!r} is of the wrong type or size")
    return fields


def _fits(kind: str, name: str, value: Any) -> bool:
    if name in ("smaller", "larger", "checkpoint", "known", "offered"):
        return isinstance(value, str)
    if name in ("path", "inclusion", "prefix"):
        return isinstance(value, list) and all(isinstance(item, bytes) and len(item) == HASH_BYTES for item in value)
    if name == "index":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "entry" and value is None:
        return kind == "promise"
    return isinstance(value, bytes) and (name != "root" or len(value) == HASH_BYTES)
