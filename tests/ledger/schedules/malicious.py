"""A malicious log: several histories under one key, told to different witnesses, with every lie that it can sign."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.note import join_note, parse_note
from ledger.receipt import make_receipt, verify_receipt
from ledger.rules import LOG

from .cast import ORIGIN, attestation, forgeries, key_of, log_generation
from .consortium import Consortium, founded_history
from .history import History
from .member import Member
from .observer import Commitment, body_of, require

_MOST_HISTORIES = 4
_LONGEST_FUSE = 15


@dataclass(frozen=True)
class Story:
    """What a witness is told in one message."""

    entries: Sequence[bytes]
    note: str
    proof: Sequence[bytes]


class TwoFaces:
    """A log that answers every question from another history."""

    def __init__(self, schedule: "MaliciousSchedule") -> None:
        self._schedule = schedule

    def checkpoint(self) -> str:
        history = self._schedule.a_history()
        return self._schedule.sign(history, history.size).note

    def final(self) -> str | None:
        return self._schedule.a_cosigned_note()

    def entries(self, start: int, end: int) -> list[bytes]:
        return self._schedule.a_history().entries[start:end]

    def consistency(self, old: int, new: int) -> list[bytes]:
        history = self._schedule.a_history()
        return history.consistency(old, min(new, history.size))


class OneFace:
    """A log that keeps to one history, and says what is final in it."""

    def __init__(self, schedule: "MaliciousSchedule", history: History) -> None:
        self._schedule = schedule
        self._history = history

    def checkpoint(self) -> str:
        return self._schedule.sign(self._history, self._history.size).cosigned()

    def final(self) -> str | None:
        finals = self._schedule.finals_of(self._history)
        return max(finals, key=lambda one: one.size).cosigned() if finals else None

    def entries(self, start: int, end: int) -> list[bytes]:
        return self._history.entries[start:end]

    def consistency(self, old: int, new: int) -> list[bytes]:
        return self._history.consistency(old, new)


class MaliciousSchedule:
    """One schedule. `run` raises `Violation` when a promise does not hold."""

    def __init__(self, random: Random, consortium: Consortium) -> None:
        self._random = random
        self._all = consortium
        self._observer = consortium.observer
        self._histories = [founded_history(consortium.founders).fork(consortium.founders + 1)]
        self._changes: list[bytes] = []
        self._told: list[Story] = []
        self._favourites: dict[str, int] = {}
        self._steps: dict[Callable[[], object], int] = {
            self._extend: 4,
            self._fork: 3,
            self._drop_or_reorder: 2,
            self._tell_a_favourite: 9,
            self._tell_another: 2,
            self._tell_the_twin_another: 3,
            self._lie: 4,
            self._show_two_faces: 2,
            self._show_one_face: 3,
            self._repeat: 2,
            self._let_a_liar_cosign: 3,
            self._stop: 2,
            self._restart: 4,
            self._start_a_twin: 2,
            self._change_membership: 1,
            self._hand_over: 1,
            self._bring_up: 1,
            self._give_a_receipt: 1,
        }

    def run(self, steps: int) -> None:
        """Take so many random steps, then try with everything at once to have two histories final."""
        begin = self._random.choice((self._split, self._split, self._prepare_a_handover, None, None))
        if begin is not None:
            begin()
        for member in self._all.honest.values():
            self._restart_one(member)
        weights = [weight * self._random.choice((0, 1, 1, 3)) for weight in self._steps.values()]
        for step in self._random.choices(list(self._steps), weights, k=steps if any(weights) else 0):
            self._all.time.now_s += self._random.randrange(30)
            step()
        self._push()

    def a_history(self) -> History:
        return self._random.choice(self._histories)

    def finals_of(self, history: History) -> list[Commitment]:
        """What is final in one history."""
        return [final for final in self._observer.finals if history.has(final.size, final.root)]

    def a_cosigned_note(self) -> str | None:
        """A checkpoint with the cosignatures that there are, or with some of another."""
        if not self._observer.commitments or self._random.random() < 0.5:
            return None
        one, other = self._random.choices(list(self._observer.commitments.values()), k=2)
        return one.cosigned() if self._random.random() < 0.9 else self._mixed(one, other)

    def sign(self, history: History, size: int) -> Commitment:
        """A true checkpoint of one history, by the key that it names."""
        signer = log_generation(history.lawful_state(size))
        return self._observer.signed(_note(size, history.root(size), key=key_of(LOG, signer)), signer, history)

    def _sign_falsely(self, size: int, root: bytes) -> str:
        """A checkpoint over what nobody has, by a key of the log."""
        signer = log_generation(self.a_history().lawful_state(size)) if self._random.random() < 0.5 else 0
        note = _note(size, root, key=key_of(LOG, signer))
        self._observer.signed(note, signer, None)
        return note

    def _mixed(self, one: Commitment, other: Commitment) -> str:
        """One checkpoint with the lines of another."""
        body, own = parse_note(one.note)
        return join_note(body, [*own, *{**other.lines, **one.lines}.values()])

    def _a_member(self) -> Member:
        return self._random.choice(list(self._all.honest.values()))

    def _split(self) -> None:
        """Two histories from the start, one for each half of the honest members, to do without the other half."""
        base = self.a_history()
        self._histories = [base, base.fork(base.size)]
        sides: list[list[str]] = [[], []]
        for name in self._all.honest:
            self._favourites[name] = self._random.randrange(2)
            sides[self._favourites[name]].append(name)
        for history, others in zip(self._histories, reversed(sides), strict=True):
            self._extend(history)
            for _ in range(self._random.randrange(5)):
                self._change_membership(history, others)

    def _prepare_a_handover(self) -> None:
        """Everybody knows that the beginning is final; then the members hand over, and the old log goes on."""
        [base] = self._histories
        for _ in range(2):
            commitment = self.sign(base, base.size)
            for liar in self._all.liars.values():
                liar.cosign(commitment)
            for member in self._all.honest.values():
                self._restart_one(member)
                self._tell(member, Story(base.entries[member.size :], commitment.cosigned(), []))
        for _ in range(self._random.randint(1, 2)):
            self._hand_over()
        self._extend(base)

    def _hand_over(self) -> None:
        """The members hand the log over; its new sequencer is no better than the old one."""
        member = self._a_member()
        raw = self._all.hand_over(member, self._random.randrange(3))
        if raw is None or member.witness is None:
            return
        base = self._observer.commitments[body_of(member.witness.note)]
        assert base.history is not None
        fork = base.history.fork(base.size)
        fork.append(raw)
        self._keep(fork)
        for name in self._all.honest:
            if self._random.random() < 0.5:
                self._favourites[name] = self._histories.index(fork)

    # What it makes up.

    def _extend(self, history: History | None = None) -> None:
        history = history or self.a_history()
        chance = self._random.random()
        if chance < 0.04:
            history.append(self._random.choice(forgeries(self._all.founders)))
        elif chance < 0.06 and history.entries:
            history.append(self._random.choice(history.entries))
        elif chance < 0.3 and self._changes:
            self._append_lawful(history, self._random.choice(self._changes))
        else:
            issuer = self._random.choice(list(self._all.generations))
            generation = self._random.randrange(self._all.generations[issuer] + 1)
            self._append_lawful(history, attestation(issuer, self._random.randrange(20), generation))

    def _append_lawful(self, history: History, raw: bytes) -> None:
        if not history.is_lawful or history.allows(raw):
            history.append(raw)

    def _fork(self) -> None:
        base = self.a_history()
        low = min((member.size for member in self._all.honest.values()), default=0)
        size = self._random.randint(min(low, base.size), base.size)
        fork = base.fork(size)
        for _ in range(self._random.randint(1, 3)):
            self._extend(fork)
        self._keep(fork)

    def _drop_or_reorder(self) -> None:
        base = self.a_history()
        if base.size < 2:
            return
        first, second = sorted(self._random.sample(range(base.size), 2))
        entries = list(base.entries)
        if self._random.random() < 0.5:
            del entries[first]
        else:
            entries[first], entries[second] = entries[second], entries[first]
        fork = base.fork(first)
        for raw in entries[first:]:
            fork.append(raw)
        self._keep(fork)

    def _keep(self, fork: History) -> None:
        self._observer.event("fork", fork.size)
        if len(self._histories) < _MOST_HISTORIES:
            self._histories.append(fork)
        else:
            self._histories[self._random.randrange(1, _MOST_HISTORIES)] = fork

    # What it tells the witnesses.

    def _favourite(self, member: Member) -> History:
        place = self._favourites.setdefault(member.name, self._random.randrange(_MOST_HISTORIES))
        return self._histories[place % len(self._histories)]

    def _tell_a_favourite(self, member: Member | None = None) -> None:
        member = member or self._a_member()
        history = self._favourite(member)
        self._tell(member, self._story(member, history, history.size))

    def _tell_another(self) -> None:
        member, history = self._a_member(), self.a_history()
        self._tell(member, self._story(member, history, self._random.randint(0, history.size)))

    def _tell_the_twin_another(self) -> None:
        twins = [member for member in self._all.honest.values() if member.twin is not None]
        if not twins:
            return
        member, history = self._random.choice(twins), self.a_history()
        self._tell(member, self._story(member, history, history.size, twin=True), twin=True)

    def _story(self, member: Member, history: History, size: int, *, twin: bool = False) -> Story:
        process = member.twin if twin else member.witness
        known = min(member.size if process is None else process.size, size)
        note = self.sign(history, size).cosigned() if self._random.random() < 0.3 else self.sign(history, size).note
        return Story(history.entries[known:size], note, history.consistency(known, size))

    def _tell(self, member: Member, story: Story, *, twin: bool = False) -> None:
        self._told.append(story)
        member.advance(story.entries, story.note, story.proof, twin=twin)

    def _lie(self) -> None:
        """One part of a story is false."""
        member, history, other = self._a_member(), self.a_history(), self.a_history()
        size, known = history.size, min(member.size, history.size)
        true, root = self._story(member, history, size), history.root(size)
        part = self._random.randrange(10)
        self._observer.event(f"lie {part}")
        match part:
            case 0:  # entries of another history
                self._tell(member, Story(other.entries[known:size], true.note, true.proof))
            case 1:  # the proof of another history
                self._tell(member, Story(true.entries, true.note, other.consistency(known, min(size, other.size))))
            case 2:  # a size that is not the tree's
                note = self._sign_falsely(abs(size + self._random.choice((-1, 1))), root)
                self._tell(member, Story(true.entries, note, true.proof))
            case 3:  # a root of nothing
                note = self._sign_falsely(size, self._random.randbytes(32))
                self._tell(member, Story(true.entries, note, true.proof))
            case 4:  # too few, too many, or the wrong way round
                entries = self._random.choice((true.entries[:-1], [*true.entries, *true.entries], true.entries[::-1]))
                self._tell(member, Story(entries, true.note, true.proof))
            case 5:  # another log
                note = _note(size, root, origin="other.example")
                self._tell(member, Story(true.entries, note, true.proof))
            case 6:  # another key: a stranger's, an old one, or one that is not in force yet
                key = self._random.choice([key_of("mallory"), *(key_of(LOG, number) for number in range(4))])
                self._tell(member, Story(true.entries, _note(size, root, key=key), true.proof))
            case 7:  # a changed text under a true signature
                self._tell(member, Story(true.entries, true.note.replace(f"\n{size}\n", f"\n{size + 1}\n"), true.proof))
            case 8:  # a statement changed on its way
                entries = [raw[:-1] + bytes([raw[-1] ^ 1]) for raw in true.entries]
                self._tell(member, Story(entries, true.note, true.proof))
            case 9:  # the cosignatures of another checkpoint
                note = self._mixed(self.sign(history, size), self.sign(other, other.size))
                self._tell(member, Story(true.entries, note, true.proof))

    def _show_two_faces(self) -> None:
        member = self._a_member()
        member.follow(TwoFaces(self), twin=member.twin is not None and self._random.random() < 0.5)

    def _show_one_face(self, member: Member | None = None) -> None:
        member = member or self._a_member()
        member.follow(OneFace(self, self._favourite(member)))

    def _bring_up(self) -> None:
        """One member reads another one's mirror."""
        member, other = self._a_member(), self._a_member()
        if other.witness is not None and other.witness.note and member is not other:
            member.follow(other.witness.mirror)

    def _repeat(self) -> None:
        if self._told:
            self._tell(self._a_member(), self._random.choice(self._told))

    # What its friends do, and what happens to the others.

    def _let_a_liar_cosign(self) -> None:
        if self._all.liars and self._observer.commitments:
            liar = self._random.choice(list(self._all.liars.values()))
            liar.cosign(self._random.choice(list(self._observer.commitments.values())))

    def _stop(self) -> None:
        self._a_member().stop(gently=self._random.random() < 0.3)

    def _restart(self) -> None:
        self._restart_one(self._a_member())

    def _restart_one(self, member: Member) -> None:
        history = self._favourite(member)
        self._all.use_right_key(member, history.lawful_state(history.size))
        if member.witness is None:
            member.disk.fuse = self._random.randrange(_LONGEST_FUSE) if self._random.random() < 0.5 else None
            member.start()

    def _start_a_twin(self) -> None:
        member = self._a_member()
        if member.witness is not None:
            member.start_twin()

    def _change_membership(self, history: History | None = None, against: Sequence[str] = ()) -> None:
        history = history or self.a_history()
        state = history.lawful_state(history.size)
        change = (self._all.propose if self._random.random() < 0.7 else self._all.conspire)(state, against)
        if change is not None:
            self._changes.append(change)
            self._append_lawful(history, change)

    def _give_a_receipt(self) -> None:
        """To a client, for an entry of any history, with every signature line that it can find."""
        commitments = [one for one in self._observer.commitments.values() if one.history is not None and one.size > 1]
        if not commitments:
            return
        one, other = self._random.choices(commitments, k=2)
        history, index = one.history, self._random.randrange(one.size)
        assert history is not None
        note = one.cosigned() if self._random.random() < 0.7 else self._mixed(one, other)
        receipt = make_receipt(index, history.inclusion(index, one.size), note, key_of(LOG, one.signer))
        try:
            verify_receipt(receipt, history.entries[index], self._random.choice(self._observer.policies(one)))
        except LedgerError:
            return
        require(one.final, "a receipt holds whose checkpoint is not final", one.size)
        self._observer.event("receipt")

    def _push(self) -> None:
        """Every witness sees the history meant for it, and the liars cosign them all."""
        for member in self._random.sample(list(self._all.honest.values()), len(self._all.honest)):
            self._restart_one(member)
            member.disk.fuse = None
            self._tell_a_favourite(member)
        for commitment in list(self._observer.commitments.values()):
            for liar in list(self._all.liars.values()):
                liar.cosign(commitment)
        for name, member in self._all.honest.items():
            self._favourites[name] = max(
                range(len(self._histories)), key=lambda place: len(self.finals_of(self._histories[place]))
            )
            self._restart_one(member)
            self._show_one_face(member)


@lru_cache(1_000)
def _note(size: int, root: bytes, *, origin: str = ORIGIN, key: SigningKey | None = None) -> str:
    return sign_checkpoint(Checkpoint(origin, size, root), key or key_of(LOG))
