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
one key, or by two of which the log's own rotation names one after the other in a mirror that the verifier has. A key
that a handover names is another's, who may leave entries behind that were never final.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.checkpoint import (
    FUTURE_TOLERANCE_S,
    Checkpoint,
    Policy,
    SignedCheckpoint,
    verify_cosignature,
)
from ledger.errors import LedgerError
from ledger.evidence_file import EvidenceError as EvidenceError
from ledger.evidence_file import fork_evidence as fork_evidence
from ledger.evidence_file import notes_evidence as notes_evidence
from ledger.evidence_file import promise_evidence as promise_evidence
from ledger.evidence_file import read_evidence
from ledger.evidence_file import rules_evidence as rules_evidence
from ledger.merkle import ProofError, leaf_hash, root_of, verify_consistency, verify_inclusion
from ledger.note import Vkey
from ledger.replay import require_base
from ledger.rules import Refused, State, admit
from ledger.service.promise import BadPromise, Promise, open_promise
from ledger.statement import NewerRecord, StatementError, decode_statement
from ledger.succession import key_lines

_CHUNK = 1024


class History(Protocol):
    """What judges a broken rule and knows the log's later keys: a `ledger.mirror.Mirror` that the verifier trusts."""

    @property
    def size(self) -> int: ...
    def entries(self, start: int, end: int) -> list[bytes]: ...
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


def verify_evidence(raw: bytes, policy: Policy, history: History | None = None) -> VerifiedEvidence:
    """Say what an evidence file proves. No server, no clock.

    Args:
        policy: the log's keys and, for a promise, the quorum: those of the time that the evidence is of.
        history: a mirror of the entries before the one accused, asked for only by `rules`; it also tells which keys the
            log has rotated to since those of the policy.

    Raises:
        EvidenceError: it proves nothing.
    """
    fields = read_evidence(raw)
    kind = fields["kind"]
    try:
        if kind == "fork":
            return _verify_fork(fields, policy, history)
        if kind == "rules":
            return _verify_rules(fields, policy, history)
        if kind == "promise":
            return _verify_promise(fields, policy, history)
        return _verify_notes(fields, policy, history)
    except EvidenceError:
        raise
    except LedgerError as error:
        raise EvidenceError(f"the evidence does not hold: {error}") from None


def _verify_fork(fields: Mapping[str, Any], policy: Policy, history: History | None) -> VerifiedEvidence:
    smaller, larger = SignedCheckpoint.parse(fields["smaller"]), SignedCheckpoint.parse(fields["larger"])
    line = _signers(policy, _all(history), smaller, larger)
    keys = [key.id.hex() for key in line if any(mark.is_by(key) for mark in (*smaller.lines, *larger.lines))]
    left, right = smaller.checkpoint, larger.checkpoint
    verify_consistency(left.size, right.size, fields["path"], fields["root"], right.root)
    if fields["root"] == left.root:
        raise EvidenceError("the two checkpoints are of one history: the larger continues the smaller")
    words = [
        f"The log {left.origin} signed two histories with the key {' and, after rotating, with '.join(keys)}.",
        _of(left),
        _of(right),
        f"The first {left.size} entries of the second history have the root {fields['root'].hex()}, which is another.",
        "A log that only appends never signs both.",
    ]
    return VerifiedEvidence("fork", True, left.origin, words)


def _verify_rules(fields: Mapping[str, Any], policy: Policy, history: History | None) -> VerifiedEvidence:
    signed = SignedCheckpoint.parse(fields["checkpoint"])
    point, index, entry = signed.checkpoint, fields["index"], fields["entry"]
    before = fields["before"]
    verify_inclusion(leaf_hash(entry), index, point.size, fields["inclusion"], point.root)
    if history is None:
        _signers(policy, (), signed)
        raise EvidenceError(f"whether entry {index} breaks a rule depends on those before it; give a mirror to replay")
    if len(before) > index:
        raise EvidenceError(f"{len(before)} entries are said to stand before entry {index}")
    try:
        verify_consistency(index, point.size, fields["prefix"], _root_at(history, before, index), point.root)
    except ProofError:
        raise EvidenceError(f"the mirror's first {index} entries are not those before the entry accused") from None
    state = history.state_at(index - len(before))
    for number, raw in enumerate(before):
        state = _admitted(history, state, before[:number], raw)
    _signers(policy, _all(history, before, index), signed)  # by now the rules have allowed all of these
    try:
        _admitted(history, state, before, entry)
    except NewerRecord as error:
        raise EvidenceError(f"whether entry {index} breaks a rule cannot be said here: {error}") from None
    except (Refused, StatementError) as error:
        words = [f"The log {point.origin} signed a checkpoint over an entry that no log may take.", _of(point)]
        words += [f"Entry {index} stands in it, and the mirror has the same entries before it.", f"{error}."]
        return VerifiedEvidence("rules", True, point.origin, words)
    raise EvidenceError(f"the rules allow entry {index}; the log did nothing wrong in taking it")


def _root_at(history: History, before: Sequence[bytes], index: int) -> bytes:
    """Root of the first `index` entries, the last of which are `before` and the others the mirror's."""
    if not before:
        return history.root_at(index)
    return root_of([leaf_hash(raw) for raw in _all(history, before, index)])


def _admitted(history: History, state: State, before: Sequence[bytes], raw: bytes) -> State:
    """The state after one more entry; raises `Refused` or `StatementError` where the rules forbid it."""
    statement, index = decode_statement(raw), state.size
    after = admit(state, statement, index)
    if statement.payload["t"] == "handover":
        require_base(statement, index, _root_at(history, before, index))
    return after


def _verify_promise(fields: Mapping[str, Any], policy: Policy, history: History | None) -> VerifiedEvidence:
    signed = SignedCheckpoint.parse(fields["checkpoint"])
    promise = _promised(fields["promise"], _signers(policy, _all(history), signed))
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


def _promised(raw: bytes, line: Sequence[Vkey]) -> Promise:
    refusal = ""
    for vkey in line:
        try:
            return open_promise(raw, vkey.key)
        except BadPromise as error:
            refusal = str(error)
    raise EvidenceError(f"the promise is not by the key that signed the checkpoint: {refusal}")


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


def _verify_notes(fields: Mapping[str, Any], policy: Policy, history: History | None) -> VerifiedEvidence:
    known, offered = SignedCheckpoint.parse(fields["known"]), SignedCheckpoint.parse(fields["offered"])
    _signers(policy, _all(history), known, offered)
    words = [
        f"The log {known.checkpoint.origin} signed both of these checkpoints.",
        _of(known.checkpoint),
        _of(offered.checkpoint),
        "A witness could not accept the second after the first.",
        "That alone proves nothing: an old checkpoint may be shown again, and without a proof between the two trees a "
        "fork is not shown. Ask the other members which of the two they have.",
    ]
    return VerifiedEvidence("notes", False, known.checkpoint.origin, words)


def _signers(policy: Policy, entries: Iterable[bytes], *notes: SignedCheckpoint) -> list[Vkey]:
    """Keys of the log that signed every one of `notes`: a trusted one and those that it has rotated to in `entries`."""
    origins = {note.checkpoint.origin for note in notes}
    if len(origins) != 1:
        raise EvidenceError("the checkpoints are of two logs; two logs may say different things")
    origin = origins.pop()
    trusted = policy.logs_named(origin)
    later = [[Vkey.of_log(origin, key) for key in line] for line in key_lines(entries)]
    lines = [line[line.index(vkey) :] for line in later for vkey in line if vkey in trusted]
    for line in [*lines, *([vkey] for vkey in trusted)]:
        signers = [[vkey for vkey in line if any(mark.is_by(vkey) for mark in note.lines)] for note in notes]
        if all(signers):
            for note, (signer, *_) in zip(notes, signers, strict=True):
                note.verify_log(signer)
            return line
    raise EvidenceError(
        "no single log key of the policy signed this, nor one that it has rotated to; use the policy of the evidence's "
        "time, and a mirror that has the rotation"
    )


def _all(history: History | None, before: Sequence[bytes] = (), end: int | None = None) -> Iterator[bytes]:
    """The entries of a mirror; with `before`, those up to place `end`, of which these are the last."""
    if history is None:
        return
    size = history.size if end is None else max(min(end - len(before), history.size), 0)
    for first in range(0, size, _CHUNK):
        yield from history.entries(first, min(first + _CHUNK, size))
    yield from before


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
