"""Sees everything that happens in a schedule and holds it against what the ledger promises."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.checkpoint import CheckpointError, Policy, SignedCheckpoint, is_final
from ledger.divergence import is_handover
from ledger.electorate import Electorate
from ledger.finality import consortium_policy
from ledger.note import SignatureLine
from ledger.rules import State

from .cast import ORIGIN
from .history import History


class Violation(AssertionError):
    """A promise of the ledger does not hold."""


def require(holds: bool, promise: str, *facts: object) -> None:
    """Raise `Violation` unless `holds`."""
    if not holds:
        raise Violation(": ".join([promise, *map(str, facts)]))


def body_of(note: str) -> str:
    """The signed text of a note."""
    return note.rpartition("\n\n")[0] + "\n"


@dataclass(eq=False)
class Commitment:
    """One checkpoint text, and every signature line on it that anybody has made.

    Attributes:
        size, root: what it commits to.
        note: as the log signed it.
        signer: the generation of the log's key that signed it.
        history: one that begins with exactly this; None when the log's key signed a tree that nobody has.
        lines: by the name of the key.
    """

    size: int
    root: bytes
    note: str
    signer: int
    history: History | None
    lines: dict[str, SignatureLine] = field(default_factory=dict)
    final: bool = False

    def __str__(self) -> str:
        return f"{self.size}:{self.root.hex()[:6]}"

    def cosigned(self) -> str:
        """The note with all cosignatures."""
        return SignedCheckpoint.parse(self.note).with_lines(self.lines.values())

    def begins(self, other: "Commitment") -> bool:
        """Whether the other tree extends this one."""
        if self.size == other.size:
            return self.root == other.root
        return other.history is not None and self.size < other.size and other.history.has(self.size, self.root)

    def agrees_with(self, other: "Commitment") -> bool:
        """Whether one tree extends the other."""
        return self.begins(other) or other.begins(self)

    @property
    def state(self) -> State | None:
        """What the rules make of it; None when they refuse an entry."""
        return None if self.history is None else self.history.states[self.size]


class Observer:
    """Keeps every checkpoint and every cosignature of a schedule.

    Attributes:
        founding: the history before anything could go wrong, whose policy an outsider may hold for ever.
        reached: how often what happened, so that a test can ask whether schedules get anywhere.
        finals: the final checkpoints, in the order in which they became so.
    """

    def __init__(self, founding: History) -> None:
        self.founding = founding
        self.reached: Counter[str] = Counter()
        self.commitments: dict[str, Commitment] = {}
        self.finals: list[Commitment] = []
        self.trace: Callable[[str], None] = lambda _: None
        self._held: dict[str, list[Commitment]] = {}
        founded = founding.states[-1]
        assert founded is not None
        self._policies: dict[Commitment, tuple[int, list[Policy]]] = {}
        self._files = [consortium_policy(founded, ORIGIN)]

    def event(self, what: str, *details: object) -> None:
        """Something happened: counted by `what`, told with its details."""
        self.reached[what] += 1
        self.trace(" ".join([what, *map(str, details)]))

    def signed(self, note: str, signer: int, history: History | None) -> Commitment:
        """The log's key signed this note, over a beginning of this history or over nothing."""
        signed = SignedCheckpoint.parse(note)
        known = self.commitments.get(signed.body)
        if known is None or known.signer != signer:
            point = signed.checkpoint
            lines = known.lines if known is not None else {}
            known = Commitment(point.size, point.root, note, signer, history, lines)
            self.commitments[signed.body] = known
        return known

    def cosigned(self, body: str, text: str, honest: str | None = None) -> Commitment:
        """A cosignature line was made on this text, by the member `honest` or by a liar."""
        commitment, line = self.commitments[body], SignatureLine.parse(text)
        if honest is not None:
            self._hold(honest, commitment)
        if line.name not in commitment.lines or honest is None:
            commitment.lines[line.name] = line
            self._judge(commitment)
        return commitment

    def committed_by(self, note: str) -> Commitment | None:
        """What a note commits the log to, if it is as the log's key signed it."""
        commitment = self.commitments.get(body_of(note))
        return commitment if commitment is not None and commitment.note.splitlines()[4] in note else None

    def held_by(self, member: str) -> Commitment | None:
        """What this honest member cosigned last."""
        held = self._held.get(member)
        return held[-1] if held else None

    def policies(self, commitment: Commitment) -> list[Policy]:
        """Under which somebody may take this checkpoint for final.

        Those are the policy of who follows its history, knowing all that is final in it, and the policy files that
        people hold: that of the founding, and that of every checkpoint that was final at some time. A checkpoint over
        another founding has no followers: members compare the founding's fingerprint.
        """
        known = self._policies.get(commitment)
        if known is None or known[0] != len(self.finals):
            self._policies[commitment] = known = (len(self.finals), self.own_policy(commitment, self.finals))
        return [*known[1], *self._files]

    def own_policy(self, commitment: Commitment, finals: Sequence[Commitment]) -> list[Policy]:
        """The policy of who follows the commitment's history and knows these final checkpoints, if there is one."""
        electorate = self._electorate(commitment, finals)
        try:
            return [electorate.policy(commitment.size)] if electorate else []
        except CheckpointError:
            return []

    def settled_policy(self, commitment: Commitment) -> list[Policy]:
        """The policy file of the members that a final commitment leaves in force, if there is one."""
        electorate = self._electorate(commitment, [])
        return [electorate.final_at(commitment.size).policy(commitment.size)] if electorate else []

    def _electorate(self, commitment: Commitment, known: Sequence[Commitment]) -> Electorate | None:
        start, history = self.founding.size, commitment.history
        if history is None or commitment.state is None or not history.has(start, self.founding.root(start)):
            return None
        finals = {final.size for final in known if final.size < commitment.size and final.begins(commitment)}
        electorate = Electorate(ORIGIN)
        for size in range(start, commitment.size + 1):
            state = history.states[size]
            assert state is not None
            electorate = electorate.after(state)
            if size in finals:
                electorate = electorate.final_at(size)
        return electorate

    def _judge(self, commitment: Commitment) -> None:
        if commitment.final:
            return
        cosigners = [name.removeprefix(f"{ORIGIN}/") for name in commitment.lines]
        for policy in self.policies(commitment):
            if policy.is_met_by(cosigners) and is_final(commitment.cosigned(), policy):
                commitment.final = True
        if commitment.final:
            self._note_final(commitment)
            for other in list(self.commitments.values()):
                self._judge(other)  # the next ones need no quorum of earlier members any more

    def _note_final(self, commitment: Commitment) -> None:
        self.event("final", commitment)
        for other in self.finals:
            require(commitment.agrees_with(other), "two final histories", commitment, other)
        self.finals.append(commitment)
        cosigners = [name.removeprefix(f"{ORIGIN}/") for name in commitment.lines]
        followed = any(policy.is_met_by(cosigners) for policy in self.own_policy(commitment, self.finals))
        if followed and commitment.state is not None:  # only who follows the log hands out new policy files
            policy = consortium_policy(commitment.state, ORIGIN)
            if policy not in self._files:
                self._files.append(policy)

    def _is_left_for(self, earlier: Commitment, later: Commitment) -> bool:
        """Whether a handover that is final in the later history leaves the earlier one behind."""
        if earlier.final or later.history is None or earlier.history is None:
            return False
        pairs = zip(earlier.history.entries, later.history.entries, strict=False)
        parted = next((index for index, (one, other) in enumerate(pairs) if one != other), later.size)
        if parted >= later.size or not is_handover(later.history.entries[parted]):
            return False
        return any(final.size > parted and later.agrees_with(final) for final in self.finals)

    def _hold(self, member: str, commitment: Commitment) -> None:
        for earlier in self._held.get(member, []):
            kept = earlier.begins(commitment) or self._is_left_for(earlier, commitment)
            require(kept, "a witness cosigned two histories", member, earlier, commitment)
        lawful = commitment.state is not None
        require(lawful, "a witness cosigned entries that break the rules", member, commitment)
        self._held.setdefault(member, []).append(commitment)
