"""An honest log in a bad world: crashes at every write, clocks a day off, a network that loses and repeats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from ledger.checkpoint import SignedCheckpoint
from ledger.errors import Damaged
from ledger.log import Log
from ledger.rules import LOG

from .cast import attestation, forgeries, founding, key_of, log_generation, member_name
from .clock import Clock
from .consortium import Consortium, founded_history
from .disk import Disk
from .member import Member
from .observer import require
from .sequencer import Sequencer, Wire

DAY_S = 86_400
_LONGEST_FUSE = 40


@dataclass(frozen=True)
class Submission:
    """A client's statement on its way to the log."""

    raw: bytes


@dataclass(frozen=True)
class News:
    """New entries and a checkpoint on their way to a member."""

    member: str
    entries: Sequence[bytes]
    note: str
    proof: Sequence[bytes]


@dataclass(frozen=True)
class Cosignature:
    """A member's line on its way to the log."""

    line: str
    size: int


class HonestSchedule:
    """One schedule. `run` raises `Violation` when a promise does not hold."""

    def __init__(self, random: Random, consortium: Consortium, kind: type[Log] = Log) -> None:
        self._random = random
        self._all = consortium
        self._observer = consortium.observer
        fresh = random.random() < 0.3
        disk = consortium.storage.disk() if fresh else consortium.storage.founded(consortium.founders)
        truth = founded_history(consortium.founders).fork(0 if fresh else consortium.founders + 1)
        self._log = Sequencer(disk, truth, Clock(consortium.time), self._observer, kind)
        self._mail: list[Submission | News | Cosignature] = []
        self._sent: list[bytes] = [attestation(member_name(0), 0)]
        self._copies: list[Disk] = []
        self._steps: dict[Callable[[], None], int] = {
            self._submit: 5,
            self._submit_again: 1,
            self._submit_a_forgery: 1,
            self._checkpoint: 3,
            self._deliver: 9,
            self._lose_or_repeat: 2,
            self._poll: 4,
            self._stop: 2,
            self._restart: 5,
            self._turn_a_clock: 1,
            self._lie: 1,
            self._start_a_twin: 1,
            self._change_membership: 2,
            self._use_an_old_copy: 2,
        }

    def run(self, steps: int) -> None:
        """Take so many random steps, then let every fault stop and require that everything goes final."""
        self._light(self._log.disk)
        for member in self._all.honest.values():
            self._light(member.disk)
            member.start()
        self._start_log()
        weights = [weight * self._random.choice((0, 1, 1, 3)) for weight in self._steps.values()]
        for step in self._random.choices(list(self._steps), weights, k=steps if any(weights) else 0):
            self._all.time.now_s += self._random.randrange(30)
            step()
            self._require_no_accusation()
        self._settle()

    def _light(self, disk: Disk) -> None:
        """Choose when the process on this disk dies."""
        disk.fuse = self._random.randrange(_LONGEST_FUSE) if self._random.random() < 0.6 else None

    def _start_log(self) -> None:
        """Start it, and found the consortium if that was interrupted."""
        if self._log.start(at_least=self._most_mirrored()) and self._log.truth.size == 0:
            self._log.submit(*founding(self._all.founders))

    def _most_mirrored(self) -> int:
        return max((member.size for member in self._all.honest.values()), default=0)

    def _a_member(self) -> Member:
        return self._random.choice(list(self._all.honest.values()))

    # The steps.

    def _submit(self) -> None:
        issuer = self._random.choice(list(self._all.generations))
        number = self._random.randrange(20)
        raw = attestation(issuer, number, self._random.randrange(self._all.generations[issuer] + 1))
        self._sent.append(raw)
        self._mail.append(Submission(raw))

    def _submit_again(self) -> None:
        self._mail.append(Submission(self._random.choice(self._sent)))

    def _submit_a_forgery(self) -> None:
        self._mail.append(Submission(self._random.choice(forgeries(self._all.founders))))

    def _checkpoint(self) -> None:
        note = self._log.checkpoint()
        if note is None or self._log.log is None:
            return
        size = SignedCheckpoint.parse(note).checkpoint.size
        for member in self._all.honest.values():
            known = min(member.size, size)
            entries, proof = self._log.log.entries(known, size), self._log.log.consistency(known, size)
            self._mail.append(News(member.name, entries, note, proof))

    def _deliver(self) -> None:
        if not self._mail:
            return
        match self._mail.pop(self._random.randrange(len(self._mail))):
            case Submission(raw):
                self._log.submit(raw)
            case News(name, entries, note, proof):
                member = self._all.honest[name]
                self._answer(member.advance(entries, note, proof, twin=self._twin(member)), member)
            case Cosignature(line, size):
                self._log.take([line], size)
                self._ask_for_a_receipt()

    def _lose_or_repeat(self) -> None:
        if not self._mail:
            return
        place = self._random.randrange(len(self._mail))
        if self._random.random() < 0.5:
            del self._mail[place]
        else:
            self._mail.append(self._mail[place])

    def _poll(self) -> None:
        member = self._a_member()
        self._answer(member.follow(Wire(self._log), twin=self._twin(member)), member)

    def _stop(self) -> None:
        gently = self._random.random() < 0.3
        if self._random.random() < 0.5:
            self._log.stop(gently=gently)
        else:
            self._a_member().stop(gently=gently)

    def _restart(self) -> None:
        if self._log.log is None:
            self._light(self._log.disk)
            self._start_log()
            return
        member = self._a_member()
        self._all.use_right_key(member, self._log.truth.lawful_state(self._log.truth.size))
        if member.witness is None:
            self._light(member.disk)
            member.start()

    def _turn_a_clock(self) -> None:
        clock = self._random.choice([self._log.clock, *(member.clock for member in self._all.honest.values())])
        clock.skew_s = self._random.choice([-DAY_S, -600, -60, 0, 0, 60, 600, DAY_S])
        self._observer.event("clock turned", clock.skew_s)

    def _lie(self) -> None:
        """A liar's line, on another checkpoint than it says."""
        if self._all.liars and self._observer.commitments:
            liar = self._random.choice(list(self._all.liars.values()))
            commitment = self._random.choice(list(self._observer.commitments.values()))
            size = self._random.choice([commitment.size, self._random.randrange(self._log.truth.size + 1)])
            self._mail.append(Cosignature(liar.cosign(commitment), size))

    def _start_a_twin(self) -> None:
        member = self._a_member()
        if member.witness is not None:
            member.start_twin()

    def _change_membership(self) -> None:
        raw = self._all.propose(self._log.truth.lawful_state(self._log.truth.size))
        if raw is not None:
            self._sent.append(raw)
            self._mail.append(Submission(raw))

    def _use_an_old_copy(self) -> None:
        """A backup is brought back by mistake; it may not be gone on from if anyone has cosigned more."""
        self._copies.append(self._log.disk.copy())
        copy, at_least = self._copies[0].copy(), self._most_mirrored()
        if copy.is_blank or copy.size >= at_least:
            return
        key = key_of(LOG, log_generation(self._log.truth.lawful_state(copy.size)))
        try:
            self._log.kind.open(copy, key, self._log.clock, at_least=at_least)  # type: ignore[arg-type]
        except Damaged:
            self._observer.event("old copy refused")
        else:
            require(False, "an old copy was gone on from", copy.size, at_least)

    def _twin(self, member: Member) -> bool:
        return member.twin is not None and self._random.random() < 0.5

    def _answer(self, line: str | None, member: Member) -> None:
        if line is not None:
            self._mail.append(Cosignature(line, SignedCheckpoint.parse(member.asked).checkpoint.size))

    def _ask_for_a_receipt(self) -> None:
        answered = self._log.answered
        if answered and self._random.random() < 0.2:
            self._log.receipt(self._random.choice(answered))

    def _require_no_accusation(self) -> None:
        for member in self._all.honest.values():
            require(not member.disk.accusations, "an honest log is accused", member.name)

    # The end.

    def _settle(self) -> None:
        self._observer.event("faults stop")
        self._log.disk.fuse, self._log.clock.skew_s = None, 0
        self._start_log()
        truth = self._log.truth
        for raw in self._sent:
            lawful = raw in truth.entries or truth.allows(raw)
            require((self._log.submit(raw) is not None) == lawful, "a lawful statement is not taken")
        require(self._is_final_once_cosigned(), "not everything went final", truth.size)
        require(self._log.receipt(self._random.choice(self._log.answered)), "a final entry has no receipt")
        self._require_no_accusation()

    def _is_final_once_cosigned(self) -> bool:
        self._log.checkpoint()
        for member in self._all.honest.values():
            member.disk.fuse, member.clock.skew_s = None, 0
            self._all.use_right_key(member, self._log.truth.lawful_state(self._log.truth.size))
            line = member.start() and member.follow(Wire(self._log))
            if line:
                self._log.take([line], self._log.truth.size)
        return self._log.log is not None and self._log.log.final_size == self._log.truth.size
