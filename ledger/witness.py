"""A member's witness: mirrors the ledger, replays its rules, and cosigns only what it has checked itself.

The witness keeps every entry it has seen. It cosigns a checkpoint when the log's signature is right, the new
tree extends the one it cosigned last, the entries it was given make up that tree, and every one of them is
signed by its issuer and allowed by the rules. It never cosigns two histories: the comparison with what it
cosigned last and the record of what it cosigns now are one transaction.
"""

import os
import time
from collections.abc import Sequence
from typing import NoReturn, Protocol, Self

from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.errors import LedgerError
from ledger.finality import witness_vkey
from ledger.keys import SigningKey
from ledger.log import Clock
from ledger.merkle import Frontier, Node, ProofError, leaf_hash, verify_consistency
from ledger.note import Vkey
from ledger.replay import Replayed, replay, step
from ledger.rules import Refused, State, initial
from ledger.statement import StatementError, decode_statement
from ledger.store import Store


class WitnessRefusal(LedgerError):
    """The witness will not cosign; nothing in its mirror has changed."""

    exit_code = 1


class Misbehaviour(WitnessRefusal):
    """The log signed what an honest log cannot sign. Both checkpoints are kept as evidence.

    Attributes:
        kind: `rollback`, `fork`, or `rules`.
        known: the checkpoint cosigned last (empty before the first).
        offered: the checkpoint that contradicts it.
    """

    def __init__(self, kind: str, known: str, offered: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}; both checkpoints are kept, show them to the other members")
        self.kind = kind
        self.known = known
        self.offered = offered


class Source(Protocol):
    """Where a witness reads a log: a `ledger.log.Log`, or a client of one."""

    def checkpoint(self) -> str: ...
    def entries(self, start: int, end: int) -> list[bytes]: ...
    def consistency(self, old: int, new: int) -> list[bytes]: ...


class Witness:
    """One member's witness of one log.

    Attributes:
        member: the member's id.
        name: the key name of its cosignatures, `<origin>/<member>`.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None,
        key: SigningKey,
        member: str,
        log: Vkey,
        cid: str,
        clock: Clock = time.time,
    ) -> None:
        """Open the mirror, or start an empty one; an existing one is recomputed from its first byte.

        Args:
            location: path of the witness's own SQLite file, or None for memory.
            key: the member's signing key.
            log: the key of the log to witness; no other log is ever cosigned.
            cid: the consortium's id.

        Raises:
            StoreError: the file cannot be used, or is in use by another process.
            Damaged: the mirror is not what was written.
            WitnessRefusal: the file is the mirror of another log or of another member.
        """
        self.member = member
        self.name = witness_name(log.name, member)
        self._key = key
        self._log = log
        self._cid = cid
        self._clock = clock
        self._store = Store(location)
        self._at = Replayed(initial(cid), Frontier())
        self._note = ""
        try:
            self._open()
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """Give the mirror's file back."""
        self._store.close()

    def rest(self) -> None:
        """Let another process of this member use the mirror until `wake`; in memory nothing changes."""
        self._store.unlock()

    def wake(self) -> None:
        """Take the mirror back after `rest`, with what another process has mirrored in between.

        Raises:
            StoreError: another process is using it.
            Damaged: it is not what was written.
        """
        self._store.lock()
        if self._store.size() != self.size:
            self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Number of entries mirrored and cosigned."""
        return self._at.state.size

    @property
    def root(self) -> bytes:
        """Root over them, 32 bytes."""
        return self._at.frontier.root()

    @property
    def state(self) -> State:
        """What the rules make of them. Immutable."""
        return self._at.state

    @property
    def note(self) -> str:
        """The checkpoint cosigned last, as the log signed it; empty before the first."""
        return self._note

    def entry(self, index: int) -> bytes:
        """Entry `index` of the mirror.

        Raises:
            WitnessRefusal: the mirror does not reach it.
        """
        if not 0 <= index < self.size:
            raise WitnessRefusal(f"{self.member} has mirrored {self.size} entries, not entry {index}; advance first")
        return self._store.entries(index, index + 1)[0]

    def index_of(self, digest: bytes) -> int | None:
        """The place of the statement with this digest in the mirror, or None."""
        return self._store.indices([digest]).get(digest)

    def evidence(self) -> list[tuple[str, str, str]]:
        """Kept proofs of the log's misbehaviour: `(kind, known note, offered note)`, oldest first."""
        return self._store.evidence()

    def follow(self, source: Source) -> str:
        """Fetch what is new from `source` and `advance` over it; return the cosignature line."""
        note = source.checkpoint()
        size = SignedCheckpoint.parse(note).checkpoint.size
        start = min(self.size, size)
        return self.advance(source.entries(start, size), note, source.consistency(start, size))

    def advance(self, entries: Sequence[bytes], checkpoint_note: str, consistency_proof: Sequence[bytes]) -> str:
        """Check the new entries and the checkpoint over them, and cosign it.

        Args:
            entries: those from the mirror's size up to the checkpoint's.
            checkpoint_note: signed by the log.
            consistency_proof: from the mirror's size to the checkpoint's; empty when either is the start.

        Returns:
            The cosignature line to give to the log. Made again with the present time when nothing is new.

        Raises:
            Misbehaviour: rollback, fork, or a checkpoint over entries that break the rules.
            WitnessRefusal: not signed by the log, or the entries are not those of the checkpoint.
        """
        signed = self._signed(checkpoint_note)
        size = signed.checkpoint.size
        # News made for a mirror of another size has a proof that does not fit either: that is a slip, no fork.
        if size >= self.size and len(entries) != size - self.size:
            raise WitnessRefusal(
                f"{len(entries)} entries were given for entries {self.size} to {size - 1}; send exactly those"
            )
        self._compare(signed, checkpoint_note, consistency_proof)
        at, rows, nodes = self._replay(entries, signed, checkpoint_note)
        if at.frontier.root() != signed.checkpoint.root:
            raise WitnessRefusal(f"the entries given are not those of checkpoint {size}; fetch them again")
        self._require_own_key(at.state)
        line = cosign(signed.body, name=self.name, key=self._key, timestamp_s=int(self._clock()))
        if rows:
            with self._store.write() as transaction:
                if transaction.size() != self.size:
                    raise WitnessRefusal("another process has advanced this mirror; open it again")
                transaction.put_entries(rows, nodes)
                transaction.put_checkpoint(size, checkpoint_note)
                transaction.put_cosignatures(size, {self.name: line})
            self._at, self._note = at, checkpoint_note
        return line

    def _open(self) -> None:
        self._store.lock()
        identity = {"origin": self._log.name, "cid": self._cid, "vkey": str(self._log), "member": self.member}
        if self._store.is_empty():
            self._store.create(identity)
            return
        meta = self._store.meta()
        for fact, value in identity.items():
            if meta.get(fact) != value:
                raise WitnessRefusal(f"{self._store.name}: this mirror's {fact} is {meta.get(fact)!r}, not {value!r}")
        self._read()

    def _read(self) -> None:
        self._at = replay(self._store, self._cid, self._log, verify_all=False, at_checkpoint=lambda _: None)
        notes = self._store.checkpoints()
        self._note = notes[max(notes)] if notes else ""

    def _signed(self, note: str) -> SignedCheckpoint:
        try:
            signed = SignedCheckpoint.parse(note)
            signed.verify_log(self._log)
        except LedgerError as error:
            raise WitnessRefusal(f"{self.member} does not cosign: {error}") from None
        return signed

    def _compare(self, signed: SignedCheckpoint, note: str, proof: Sequence[bytes]) -> None:
        """Refuse a history that does not extend the one cosigned last."""
        size = signed.checkpoint.size
        if size < self.size:
            self._accuse("rollback", note, f"the log went back from {self.size} entries to {size}")
        try:
            verify_consistency(self.size, size, proof, self.root, signed.checkpoint.root)
        except ProofError as error:
            self._accuse("fork", note, str(error))

    def _is_committed(self, entries: Sequence[bytes], signed: SignedCheckpoint) -> bool:
        """Whether these bytes are what the checkpoint commits to, whatever they say."""
        frontier = self._at.frontier
        for raw in entries:
            frontier, _ = frontier.append(leaf_hash(raw))
        return frontier.root() == signed.checkpoint.root

    def _replay(
        self, entries: Sequence[bytes], signed: SignedCheckpoint, note: str
    ) -> tuple[Replayed, list[tuple[int, bytes, bytes]], list[tuple[Node, bytes]]]:
        at, rows, nodes = self._at, [], []
        for raw in entries:
            index = at.state.size
            try:
                statement = decode_statement(raw)
                at, complete = step(at, statement, verify=True)
            except (Refused, StatementError) as error:
                if self._is_committed(entries, signed):
                    self._accuse("rules", note, f"the log signed an entry that no log may take: {error}")
                raise WitnessRefusal(f"{self.member} does not cosign: {error}") from None
            rows.append((index, statement.digest, raw))
            nodes += complete
        return at, rows, nodes

    def _require_own_key(self, state: State) -> None:
        vkey = witness_vkey(self._log.name, self.member, state)
        if vkey is None or vkey.key != self._key.public:
            raise WitnessRefusal(f"{self.member} is not an active member with this key; nothing to cosign with")

    def _accuse(self, kind: str, offered: str, detail: str) -> NoReturn:
        with self._store.write() as transaction:
            transaction.put_evidence(kind, self._note, offered)
        raise Misbehaviour(kind, self._note, offered, detail)
