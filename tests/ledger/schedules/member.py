"""A member and its witness: honest and mortal, or a liar that cosigns whatever it is shown."""

from collections.abc import Callable, Sequence

from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.errors import LedgerError
from ledger.note import Vkey
from ledger.proposal import Proposal
from ledger.witness import Misbehaviour, Source, Witness

from .cast import CID, ORIGIN, key_of, log_generation
from .clock import Clock
from .disk import Crash, Disk
from .observer import Commitment, Observer, body_of, require


class Member:
    """An honest member: one mirror on one disk, and at most two processes on it at a time.

    Attributes:
        generation: of the key that its processes use.
        twin: a second process of the member, started by mistake on the same mirror, with what it read then.
        asked: the checkpoint that it was shown last.
        distracted: whether it was shown another one, said to be final, before that.
    """

    def __init__(
        self,
        name: str,
        log: Vkey,
        clock: Clock,
        observer: Observer,
        kind: type[Witness],
        disk: Disk,
        founding: str | None,
    ) -> None:
        self.name = name
        self.generation = 0
        self.clock = clock
        self.disk = disk
        self.witness: Witness | None = None
        self.twin: Witness | None = None
        self.asked = ""
        self.distracted = False
        self._log = log
        self._observer = observer
        self._kind = kind
        self._founding = founding
        self._told: set[str] = set()

    @property
    def size(self) -> int:
        """How much it has mirrored, as others may know."""
        return self.disk.size

    def start(self) -> bool:
        """Start the witness's process, if it does not run; say whether it does now."""
        if self.witness is None:
            self.disk.doing = "open"
            try:
                self.witness = self._open()
            except Crash:
                return self._died()
            held = self._observer.held_by(self.name)
            forgot = held is not None and self.witness.size < held.size and not self.disk.tables.aside
            require(not forgot, "a witness forgot what it cosigned", self.name)
            self._tell()
        return True

    def start_twin(self) -> None:
        """Start a second process on the mirror."""
        self.disk.doing = "open"
        try:
            self.twin = self._open()
        except Crash:
            self._died()

    def stop(self, *, gently: bool = False) -> None:
        """End its processes: by a signal that they obey, or because the machine loses power."""
        if gently and self.witness is not None and self.twin is None:
            self.disk.doing = "close"
            try:
                self.witness.close()
            except Crash:
                self._died()
        self.witness = self.twin = None

    def renew(self, generation: int) -> None:
        """End a process that has the wrong key or an old view of the mirror."""
        if self.witness is not None and (generation, self.witness.size) != (self.generation, self.size):
            self.stop()
        self.generation = generation

    def follow(self, source: Source, *, twin: bool = False) -> str | None:
        """Let the witness fetch what is new; the line it makes, if any."""
        self.asked, self.distracted = "", False
        return self._ask(lambda witness: witness.follow(_Noting(source, self)), twin)

    def advance(self, entries: Sequence[bytes], note: str, proof: Sequence[bytes], *, twin: bool = False) -> str | None:
        """Give the witness news; the line it makes, if any."""
        self.asked, self.distracted = note, False
        return self._ask(lambda witness: witness.advance(entries, note, proof), twin)

    def approve(self, proposal: Proposal) -> Proposal | None:
        """Let the witness approve a handover, and promise what that asks; None when it refuses or dies."""
        self.disk.doing = "approve"
        try:
            return None if self.witness is None else self.witness.approve(proposal)
        except Crash:
            self._died()
        except LedgerError as error:
            self._observer.event("refused an approval", self.name, error)
        return None

    def _ask(self, question: Callable[[Witness], str], twin: bool) -> str | None:
        witness = self.twin if twin else self.witness
        if witness is None:
            return None
        self.disk.doing = "twin" if twin else "cosign"
        before, left = witness.size, len(self.disk.tables.aside)
        try:
            line = question(witness)
        except Crash:
            self._died()
            return None
        except LedgerError as error:
            self._tell()
            self._refused(witness, before, error)
            return None
        self._tell()
        commitment = self._observer.cosigned(body_of(self.asked), line, self.name)
        where = (witness.size, witness.root)
        require(where == (commitment.size, commitment.root), "a witness cosigned what it does not mirror", self.name)
        self._check_final(witness)
        self._observer.event("cosigned", self.name, commitment)
        if len(self.disk.tables.aside) > left:
            self._observer.event("left a lost history", self.name, commitment)
        return line

    def _tell(self) -> None:
        """Tell the observer of the lines that stand in the mirror: whoever copies it has them."""
        own = witness_name(ORIGIN, self.name)
        for (size, name), line in sorted(self.disk.tables.lines.items()):
            if name == own and line not in self._told:
                self._told.add(line)
                self._observer.cosigned(body_of(self.disk.tables.notes[size]), line, self.name)

    def _check_final(self, witness: Witness) -> None:
        note = witness.mirror.final()
        if note is not None:
            final = self._observer.commitments[body_of(note)].final
            require(final, "a mirror calls a checkpoint final that is not", self.name)

    def _refused(self, witness: Witness, before: int, error: LedgerError) -> None:
        self._observer.event(f"refused {_class(error)}", self.name, error)
        held, other = self._observer.held_by(self.name), self._observer.committed_by(self.asked)
        if not held or not other or other.size > before or held.agrees_with(other):
            return
        if other.signer == log_generation(witness.state) and not self.distracted:
            self._observer.event("saw a fork", self.name, other)
            kept = [body_of(offered) for offered in self.disk.accusations]
            require(body_of(self.asked) in kept, "no evidence was kept of a fork", self.name, error)
            require(isinstance(error, Misbehaviour), "a fork was not called by its name", self.name, error)

    def _open(self) -> Witness:
        key = key_of(self.name, self.generation)
        disk = self.disk
        return self._kind(disk, key, self.name, self._log, CID, self.clock, founding=self._founding)  # type: ignore[arg-type]

    def _died(self) -> bool:
        self._observer.event(f"crash of a witness at {self.disk.died}", self.name)
        self.stop()
        return False


class _Noting:
    """A source whose checkpoints the member remembers."""

    def __init__(self, source: Source, member: Member) -> None:
        self._source = source
        self._member = member

    def checkpoint(self) -> str:
        self._member.asked = self._source.checkpoint()
        return self._member.asked

    def final(self) -> str | None:
        note = self._source.final()
        self._member.distracted = note is not None
        return note

    def entries(self, start: int, end: int) -> list[bytes]:
        return self._source.entries(start, end)

    def consistency(self, old: int, new: int) -> list[bytes]:
        return self._source.consistency(old, new)


class Liar:
    """A member that the adversary owns: it cosigns every checkpoint of every history."""

    def __init__(self, name: str, clock: Clock, observer: Observer) -> None:
        self.name = name
        self._clock = clock
        self._observer = observer

    def cosign(self, commitment: Commitment) -> str:
        body = SignedCheckpoint.parse(commitment.note).body
        name, now_s = witness_name(ORIGIN, self.name), int(self._clock())
        line = cosign(body, name=name, key=key_of(self.name), timestamp_s=now_s)
        self._observer.cosigned(body, line)
        return line


def _class(error: LedgerError) -> str:
    return f"{type(error).__name__} {error.kind}" if isinstance(error, Misbehaviour) else type(error).__name__
