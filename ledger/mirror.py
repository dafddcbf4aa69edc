"""A mirror of the ledger: every entry kept, every rule replayed, and nothing taken that contradicts what is known.

It needs no key: an auditor or a bank can have one, and a member's witness is one that also cosigns. A mirror takes a
checkpoint when it is signed by the log's key of that moment, its tree extends the mirrored one, the entries given make
up that tree, and every one of them is signed by its issuer and allowed by the rules. The comparison with what is
mirrored and the record of what is new are one transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from ledger.checkpoint import CheckpointError, SignedCheckpoint
from ledger.divergence import is_handover, shared_entries
from ledger.errors import LedgerError
from ledger.finality import log_vkey
from ledger.founding import founding_of
from ledger.intake import Forbidden, Intake, stream
from ledger.judge import Judge
from ledger.log import SNAPSHOT_EVERY
from ledger.note import SignatureLine
from ledger.policy import Policy
from ledger.quorum import bare, good_lines, makes_final, policy_at
from ledger.rules import State
from ledger.source import Copy, Source, WitnessRefusal


@dataclass(frozen=True)
class News:
    """What a mirror is about to take, as a witness sees it that may cosign it.

    Attributes:
        state: the state after the new entries.
        signed: the checkpoint over them.
        final: whether the checkpoint came with a quorum of cosignatures.
        newest: whether it is the one to be cosigned, and not one on the way to it.
        policy: whose cosignatures the checkpoint needs to be final; None where that is no question any more.
        handovers: the handovers among the new entries: by index, `ledger.intake.approved_digest`.
    """

    state: State
    signed: SignedCheckpoint
    final: bool
    newest: bool
    policy: Policy | None
    handovers: dict[int, bytes]


Cosign: TypeAlias = Callable[[News], SignatureLine | None]
"""Makes a member's cosignature, if one is due; when it raises `WitnessRefusal`, nothing is mirrored."""


class _NotHandedOver(LedgerError):
    """Another history parts from this mirror's without a handover."""


class Mirror(Judge):
    """A copy of one log that believes nobody."""

    def follow(self, source: Source, cosign: Cosign | None = None) -> str:
        """Fetch what is new from `source`, check it, and take it; return the line of `cosign`, if given.

        What is final is taken first, also where it contradicts entries of this mirror that were never final and that
        a handover has left behind: those are set aside.

        Raises:
            Misbehaviour: a fork, or a checkpoint over entries that break the rules.
            WitnessRefusal: not signed by the log, older than the mirror, or the entries are not the checkpoint's.
        """
        final, newest = source.final(), source.checkpoint()
        if final is not None:
            signed = self._parse(final)
            if signed.checkpoint == self._parse(newest).checkpoint:
                newest = final
            elif signed.checkpoint.size > self.size or not self._has(signed):
                self._catch_up(signed, source, cosign, newest=False)
            else:
                self.learn(final)
        return self._catch_up(self._parse(newest), source, cosign, newest=True)

    def rebuild(self, copy: Copy) -> None:
        """`follow` a copy, and learn from its older checkpoints which of them were final.

        Raises:
            Misbehaviour, WitnessRefusal: as `follow`.
        """
        self.follow(copy)
        self.learn_from(copy)

    def learn_from(self, copy: Copy) -> None:
        """Take from the older checkpoints of a copy what shows which of them were final, if members have changed since.

        A checkpoint needs a quorum of every membership since the last one that is known to be final: one who comes
        late has to be shown how the members changed.

        Raises:
            WitnessRefusal: a checkpoint is of another history, or not signed by the log and its members.
        """
        if len(self._book.electorate.memberships) <= 1:
            return
        for note in copy.notes(self.final_size):
            signed = self._parse(note)
            if signed.checkpoint.size > self.size:
                return
            if len(signed.lines) > 1:
                self.learn(note)
            if len(self._book.electorate.memberships) <= 1:
                return

    def advance(self, entries: Sequence[bytes], note: str, proof: Sequence[bytes], cosign: Cosign | None = None) -> str:
        """Check new entries and the checkpoint over them, and take them; return the line of `cosign`, if given.

        Args:
            entries: those from the mirror's size up to the checkpoint's.
            note: a checkpoint by the log; the members' cosignatures on it are kept.
            proof: consistency from the mirror's size to the checkpoint's; empty when either is the start.

        Raises:
            Misbehaviour, WitnessRefusal: as `follow`.
        """
        signed = self._parse(note)
        size = signed.checkpoint.size
        if size < self.size or (size == self.size and not self._has(signed)):
            raise self._accused_of_fork(signed, proof, None)
        # News made for a mirror of another size has a proof that does not fit either: that is a slip, no fork.
        if len(entries) != size - self.size:
            raise WitnessRefusal(
                f"{len(entries)} entries were given for entries {self.size} to {size - 1}; send exactly those"
            )
        if not self._extends(signed, proof):
            raise self._accused_of_fork(signed, proof, None)
        return self._take(self._intake(), entries, signed, cosign, True)

    def add_cosignatures(self, lines: Iterable[str], size: int | None = None) -> bool:
        """Keep members' cosignature lines on the mirrored checkpoint at `size` (the newest); say whether it is final.

        Raises:
            NoteError: not a signature line.
            WitnessRefusal: there is no such checkpoint, or a line is by a member and wrong; nothing is kept.
        """
        at = self.size if size is None else size
        note = self._store.checkpoint_at(at)
        if note is None:
            raise WitnessRefusal(f"{self._whose} has no checkpoint at size {at}; follow the log first")
        signed = SignedCheckpoint.parse(note)
        return self.learn(signed.with_lines(SignatureLine.parse(line) for line in lines))

    def _catch_up(self, signed: SignedCheckpoint, source: Source, cosign: Cosign | None, *, newest: bool) -> str:
        size = signed.checkpoint.size
        if size < self.size and self._has(signed):
            raise self._rolled_back(signed)
        proof = source.consistency(self.size, size) if size >= self.size else []
        if self._extends(signed, proof):
            return self._take(self._intake(), stream(source, self.size, size), signed, cosign, newest)
        shared = shared_entries(self, source, signed.checkpoint)
        handed_over = shared < min(size, self.size) and any(map(is_handover, source.entries(shared, shared + 1)[:1]))
        if handed_over and shared >= self.final_size:
            with suppress(_NotHandedOver):  # the source showed a handover that does not stand there
                return self._take(self._replayed_to(shared), stream(source, shared, size), signed, cosign, newest)
        raise self._accused_of_fork(signed, proof, source)

    def _take(
        self, intake: Intake, entries: Iterable[bytes], signed: SignedCheckpoint, cosign: Cosign | None, newest: bool
    ) -> str:
        """Take the entries after the intake's position; the mirror's own beyond it are set aside, if that is final."""
        point, start, own = signed.checkpoint, intake.at.state.size, ""
        try:
            with self._store.write() as transaction:
                if transaction.size() != self.size:
                    raise WitnessRefusal("another process has advanced this mirror; open it again")
                if start < self.size:
                    transaction.set_aside(start)
                intake.take(entries, transaction)
                if intake.at.frontier.root() != point.root:
                    raise WitnessRefusal(
                        f"the entries given are not those of checkpoint {point.size}; fetch them again"
                    )
                if start < self.size and start not in intake.handovers:
                    raise _NotHandedOver
                self._require_founder(intake)
                log = log_vkey(self.origin, intake.at.state)
                self._verify(signed, log)
                note, facts = bare(signed, log), self._pinned(intake)
                lines = self._good_lines(signed, intake)
                final = makes_final(signed, lines, intake.electorate)
                if start < self.size and not final:
                    raise WitnessRefusal(
                        f"{self._whose} has entries beyond {start} that this handover leaves out; it follows when the "
                        "members have cosigned the new history"
                    )
                policy = policy_at(intake.electorate, point.size)
                news = News(intake.at.state, signed, final, newest, policy, intake.handovers)
                line = None if cosign is None else cosign(news)
                if line is not None:
                    own, lines = str(line), {line.name: str(line), **lines}
                if facts:
                    transaction.put_meta(facts)
                if point.size > start:
                    transaction.put_checkpoint(point.size, note)
                transaction.put_cosignatures(point.size, lines)
        except Forbidden as error:
            raise self._accused_of_breaking(error, start, signed, intake) from None
        if start < self.size:
            self._read()
        else:
            self._move_to(intake, point.size, note)
            if len(lines) > 1 or self.state.voters == 1:  # one line of several voters' is never the last one needed
                self._book.add_cosignatures((), point.size, self._clock())
        return own

    def _move_to(self, intake: Intake, size: int, note: str) -> None:
        """Stand where the intake stands, now that it is durable."""
        if size > self.size:
            self._at, self._note = intake.at, note
            for state in intake.changes:
                self._book.pass_entry(state)
            self._book.pass_checkpoint(size)
        if self.size - self._closed_at >= SNAPSHOT_EVERY:
            self._put_snapshot()

    def learn(self, note: str) -> bool:
        """Keep the members' cosignatures on an older checkpoint of this same history; say whether it is final.

        Raises:
            WitnessRefusal: it is of another history, or not signed by the log and its members.
        """
        signed = self._parse(note)
        size = signed.checkpoint.size
        if not self._has(signed):
            raise WitnessRefusal(f"checkpoint {size} is not one of what {self._whose} has mirrored")
        policy = policy_at(self._book.electorate, size)
        if size <= self.final_size or policy is None:
            return size <= self.final_size
        self._verify(signed, policy.logs[0])
        lines = self._good_lines(signed, self._intake())
        if self._store.checkpoint_at(size) is None:
            with self._store.write() as transaction:
                transaction.put_checkpoint(size, bare(signed, policy.logs[0]))
        return self._book.add_cosignatures(lines.values(), size, self._clock())

    def _intake(self) -> Intake:
        founders = self._store.entries(0, self.size) if self.size and self.state.founding else []
        return Intake(self._at, self._book.electorate, founders=founders)

    def _pinned(self, intake: Intake) -> dict[str, str]:
        """What is to be noted of the founding, now that its entries are known; refuses another than expected."""
        if not intake.founders or intake.at.state.founding:
            return {}
        founding = founding_of(self.origin, intake.founders)
        if self._founding is not None:
            founding.require(self._founding)
            return {}
        self._founding = founding.fingerprint
        return {"founding": founding.fingerprint}

    def _good_lines(self, signed: SignedCheckpoint, intake: Intake) -> dict[str, str]:
        try:
            return good_lines(signed, intake.electorate, self._clock())
        except CheckpointError as error:
            raise WitnessRefusal(f"{self._whose} does not take this checkpoint: {error}") from None
