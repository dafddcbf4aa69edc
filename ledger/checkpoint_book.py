"""The checkpoints of a stored log: which wait for cosignatures, and which is the last final one.

Only the sizes of those after the last final one are held in memory; the notes, and all that is older, stay in the
database.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.checkpoint import (
    CheckpointError,
    Policy,
    SignedCheckpoint,
    cosigned_s,
    is_final,
    require_timely,
    verify_cosignature,
)
from ledger.electorate import Electorate, Membership
from ledger.errors import Damaged, NoSuchEntry
from ledger.note import SignatureLine, join_note
from ledger.replay import check_note
from ledger.rules import State
from ledger.store import Store


@dataclass
class _Open:
    size: int
    note: str
    lines: dict[str, str]


class CheckpointBook:
    """What is known of the checkpoints in a store.

    Attributes:
        latest: size of the newest checkpoint, 0 before the first.
        final: (size, note with its cosignatures) of the largest final checkpoint, or None.
        electorate: whose quorum makes the checkpoints after it final.
        witnessed_s: a quorum has cosigned since then, by its own clocks: seconds since the epoch, 0 before the first.
    """

    def __init__(self, store: Store, origin: str) -> None:
        self.latest = 0
        self.witnessed_s = 0
        self.final: tuple[int, str] | None = None
        self.electorate = Electorate(origin)
        self._store = store
        self._waiting: list[int] = []
        self._open: _Open | None = None
        self._times: dict[str, int] = {}
        self._policy: tuple[Electorate, int, Policy] | None = None

    @property
    def final_size(self) -> int:
        """How many entries are final."""
        return 0 if self.final is None else self.final[0]

    @property
    def settled(self) -> Membership:
        """The membership in force at the last final checkpoint; before the first, that of the founding.

        Its policy may be given to offline verifiers: a file that names members whose coming is not final, or leaves out
        some whose going is not, could make another history final.

        Raises:
            CheckpointError: the founding is not complete.
        """
        if not self.electorate.memberships:
            raise CheckpointError(f"{self.electorate.origin}: the founding is not complete; nobody is a member yet")
        return self.electorate.memberships[0]

    @property
    def settled_note(self) -> str:
        """The last final checkpoint with the cosignatures of the members that it leaves in force.

        A member that it suspends may have had to cosign it too: the policy file of those who stay does not know that
        key, and they are a quorum by themselves.

        Raises:
            CheckpointError: nothing is final.
        """
        if self.final is None:
            raise CheckpointError("nothing is final yet; let the members' witnesses cosign a checkpoint")
        policy, signed = self.settled.policy(self.electorate.origin), SignedCheckpoint.parse(self.final[1])
        known = [*policy.logs, *policy.witnesses.values()]
        return join_note(signed.body, [line for line in signed.lines if any(line.is_by(vkey) for vkey in known)])

    def note(self, size: int) -> str:
        """The log's note over `size` entries.

        Raises:
            NoSuchEntry: there is no checkpoint of that size.
        """
        return self._at(size).note

    def cosigned_note(self, size: int) -> str:
        """The note over `size` entries with the cosignatures that are kept.

        Raises:
            NoSuchEntry: there is no checkpoint of that size.
        """
        known = self._at(size)
        lines = [SignatureLine.parse(line) for _, line in sorted(known.lines.items())]
        return SignedCheckpoint.parse(known.note).with_lines(lines)

    def pass_entry(self, state: State) -> None:
        """Know of one more entry, after which the rules say `state`; to be called for every one, in order."""
        if self.electorate.after(state) is not self.electorate:
            self.settle()  # what was final before the change does not wait for those who came with it
            self.electorate = self.electorate.after(state)

    def pass_checkpoint(self, size: int) -> None:
        """Know of the checkpoint over the entries so far, which is stored."""
        if size <= self.latest:
            return
        self.latest = size
        self._waiting.append(size)
        if len(self.electorate.memberships) > 1:
            self._consider(size)

    def add_cosignatures(self, lines: Iterable[str], size: int, now_s: float) -> bool:
        """Keep cosignature lines on the checkpoint at `size`; say whether it is final now.

        A checkpoint before the last final one is final with it and needs no more lines: none is kept.

        Raises:
            NoteError: not a signature line.
            NoSuchEntry: there is no such checkpoint.
            CheckpointError: not of a member at that size, wrong, or from the future; nothing is kept.
        """
        known = self._at(size)
        if size < self.final_size:
            return True
        body = SignedCheckpoint.parse(known.note).body
        keys = {vkey.name: vkey for vkey in self._policy_at(size).witnesses.values()}
        fresh: dict[str, str] = {}
        times: dict[str, int] = {}
        for text in lines:
            line = SignatureLine.parse(text)
            if line.name not in keys:
                raise CheckpointError(f"{line.name!r} is no witness of checkpoint {size}")
            times[line.name] = verify_cosignature(body, line, keys[line.name])
            require_timely(times[line.name], now_s, line.name)
            if line.name not in known.lines:
                fresh[line.name] = str(line)
        if fresh:
            with self._store.write() as transaction:
                transaction.put_cosignatures(size, fresh)
            known.lines.update(fresh)
        else:
            self._open = None  # they may have been written past this book
        self._hear(times, self._policy_at(size))
        return self._consider(size)

    def settle(self) -> None:
        """Find the largest final checkpoint among those that wait."""
        if len(self.electorate.memberships) == 1:
            next(filter(self._consider, reversed(self._waiting)), None)
        else:  # a final one may make it easier for those after it
            for size in tuple(self._waiting):
                self._consider(size)

    def to_value(self) -> Any:
        """What a snapshot keeps of this; `restore` takes it."""
        return [self.final_size, self.electorate.to_value(), self._waiting]

    def restore(self, value: Any, root_at: Callable[[int], bytes]) -> None:
        """Know again what `to_value` wrote, and hold the newest of these checkpoints against the tree.

        Raises:
            Damaged: a checkpoint is missing or not what was written.
        """
        final_size, electorate, waiting = value
        self.electorate = Electorate.of_value(self.electorate.origin, electorate)
        self._waiting = list(waiting)
        self.latest = max([final_size, *waiting])
        for size in {self.latest, final_size} - {0}:
            check_note(self._store, self._stored(size).note, self._policy_at(size).logs[0], size, root_at(size))
        if final_size and not self._consider(final_size):
            raise Damaged(
                f"{self._store.name}: checkpoint {final_size} was final, but cosignatures on it are missing; "
                "restore the database from a mirror"
            )

    def _at(self, size: int) -> "_Open":
        """The checkpoint at `size` with its cosignatures; the one that was asked for last stays in memory."""
        if self._open is None or self._open.size != size:
            # A number from a stranger may be larger than a database takes.
            note = self._store.checkpoint_at(size) if 0 <= size <= self.latest else None
            if note is None:
                raise NoSuchEntry(f"there is no checkpoint at size {size}; make one first")
            self._open = _Open(size, note, self._store.cosignatures(size))
        return self._open

    def _stored(self, size: int) -> "_Open":
        try:
            return self._at(size)
        except NoSuchEntry:
            raise Damaged(
                f"{self._store.name}: checkpoint {size} is missing; restore the database from a mirror"
            ) from None

    def _hear(self, times: Mapping[str, int], policy: Policy) -> None:
        """Know when members cosigned, by key name. What counts is what a quorum says: the rest may lie."""
        for name, time_s in times.items():
            self._times[name] = max(time_s, self._times.get(name, 0))
        told: list[str] = []
        for member in sorted(policy.witnesses, key=lambda one: -self._times.get(policy.witnesses[one].name, 0)):
            told.append(member)
            if policy.is_met_by(told):
                self.witnessed_s = max(self.witnessed_s, self._times.get(policy.witnesses[member].name, 0))
                return

    def _policy_at(self, size: int) -> Policy:
        held = sum(one.since <= size for one in self.electorate.memberships)  # all that the policy depends on
        if self._policy is None or self._policy[:2] != (self.electorate, held):
            self._policy = (self.electorate, held, self.electorate.policy(size))
        return self._policy[2]

    def _consider(self, size: int) -> bool:
        """Whether the checkpoint at `size` is final by the cosignatures that are kept; then it is noted."""
        known, policy = self._stored(size), self._policy_at(size)
        if not policy.is_met_by([name for name, vkey in policy.witnesses.items() if vkey.name in known.lines]):
            return False
        lines = [SignatureLine.parse(line) for _, line in sorted(known.lines.items())]
        note = SignedCheckpoint.parse(known.note).with_lines(lines)
        # Each line was verified when it was kept; here the whole note is, once, as others will.
        if size < self.final_size or (size > self.final_size and not is_final(note, policy)):
            return size < self.final_size
        self._hear({line.name: cosigned_s(line) for line in lines}, policy)
        before = len(self.electorate.memberships)
        self.final, self._waiting = (size, note), [at for at in self._waiting if at > size]
        self.electorate = self.electorate.final_at(size)
        if len(self.electorate.memberships) < before:
            self.settle()
        return True
