"""The members of one schedule: who is honest, who lies, and what they agree to change."""

from collections.abc import Sequence
from functools import cache
from random import Random

from ledger.errors import LedgerError
from ledger.finality import log_vkey
from ledger.handover import propose
from ledger.policy import quorum_size
from ledger.rules import COORDINATOR, LOG, State
from ledger.witness import Witness

from .cast import (
    MOST_GENERATIONS,
    ORIGIN,
    START_S,
    approved,
    bytes_of,
    change,
    fingerprint,
    founding,
    generation_of,
    key_of,
    log_generation,
    log_rotation,
    member_name,
)
from .clock import Clock, Time
from .history import History
from .member import Liar, Member
from .observer import Observer
from .storage import Storage

MOST_MEMBERS = 12
_LAST_COMMITTED = 3
"""The log's keys after this one are for handovers."""


def tolerated(members: int) -> int:
    """How many of so many may lie."""
    return (members - 1) // 3


@cache
def founded_history(members: int) -> History:
    return History(founding(members))


class Consortium:
    """Members and what they have made.

    Attributes:
        founders: their number.
        honest, liars: by name.
        generations: by name, the newest key that a member has made.
    """

    def __init__(
        self,
        random: Random,
        founders: int,
        liars: int,
        observer: Observer,
        storage: Storage,
        witness: type[Witness],
    ) -> None:
        self.founders = founders
        self.observer = observer
        self.storage = storage
        self.time = Time()
        self.generations: dict[str, int] = {}
        self.liars: dict[str, Liar] = {}
        self.honest: dict[str, Member] = {}
        self._random = random
        self._kind = witness
        self._log = log_vkey(ORIGIN, observer.founding.lawful_state(founders + 1))
        names = [member_name(number) for number in range(founders)]
        false = set(random.sample(names, liars))
        for name in names:
            self._admit(name, honest=name not in false)

    def propose(self, state: State, against: Sequence[str] = ()) -> bytes | None:
        """A change of membership that a quorum of the members of `state` approves, or the log's next key.

        Members approve whatever is proposed, several changes at a time too. Only the assumption is kept that of no
        membership too many lie.

        Args:
            against: members whose suspension is asked for first.
        """
        if state.founding:
            return None
        parent = state.membership_digest
        assert parent is not None
        choices = self._choices(state)
        wanted = [choice for choice in choices if choice[0] == "suspend" and choice[1] in against]
        kind, name = self._random.choice(wanted or choices)
        self.observer.event(f"proposed {kind}", name)
        if kind == "log":
            return log_rotation(log_generation(state) + 1, parent)
        if kind == "rotate":
            self.generations[name] += 1
        elif kind == "enrol" and name not in self.generations:
            self._admit(name, honest=True)
        known = state.members.get(name)
        generation = self.generations[name] if kind == "rotate" or known is None else _generation(state, name)
        active = [member.member for member in state.active()]
        approvers = self._random.sample(active, quorum_size(len(active)))
        signers = {approver: _generation(state, approver) for approver in approvers}
        return approved(change(kind, name, generation, parent), signers)

    def conspire(self, state: State, against: Sequence[str] = ()) -> bytes | None:
        """A change of membership that only the liars approve: an honest member out, or one more liar in."""
        false = {name: 0 for name in self.liars if state.is_enrolled(name)}
        honest = [member.member for member in state.active() if member.member not in self.liars]
        if state.founding or not false or not honest:
            return None
        if self._random.random() < 0.5:
            name = self._random.choice([name for name in honest if name in against] or honest)
            return approved(change("suspend", name, 0, state.membership_digest), false)
        puppet = f"puppet-{self._random.randrange(8)}"
        self.liars.setdefault(puppet, Liar(puppet, Clock(self.time), self.observer))
        return approved(change("enrol", puppet, 0, state.membership_digest), false)

    def hand_over(self, proposer: Member, number: int) -> bytes | None:
        """The record that hands the log over after what the proposer has mirrored, if a quorum approves that."""
        if proposer.witness is None:
            return None
        mirror, key = proposer.witness.mirror, key_of(LOG, MOST_GENERATIONS - 1 - number).public
        try:
            made = propose(mirror, key, ts=START_S, entropy=lambda length: bytes_of(f"handover {number}", length))
        except LedgerError as error:
            self.observer.event("refused a handover", error)
            return None
        for liar in self.liars.values():
            made = made.approved(liar.name, key_of(liar.name))
        for member in self._random.sample(list(self.honest.values()), len(self.honest)):
            made = member.approve(made) or made
        try:
            raw = made.statement(mirror.state, issuer=COORDINATOR, key=key_of(COORDINATOR))
        except LedgerError as error:
            self.observer.event("too few approve a handover", error)
            return None
        self.observer.event("handover", mirror.size)
        return raw

    def use_right_key(self, member: Member, state: State) -> None:
        """Let a member's processes have the key that `state` names."""
        known = state.members.get(member.name)
        member.renew(member.generation if known is None else _generation(state, member.name))

    def _choices(self, state: State) -> list[tuple[str, str]]:
        """Changes after which not too many lie."""
        active = [member.member for member in state.active()]
        false = sum(name in self.liars for name in active)
        choices = [("rotate", name) for name in active if self._can_rotate(name)]
        if len(active) > 1:
            fits = {True: false - 1 <= tolerated(len(active) - 1), False: false <= tolerated(len(active) - 1)}
            choices += [("suspend", name) for name in active if fits[name in self.liars]]
        if len(active) < MOST_MEMBERS:
            choices += [("enrol", name) for name in self.honest if name not in active]
            choices.append(("enrol", member_name(len(self.generations))))
        if state.log is not None and state.log.next is not None and log_generation(state) < _LAST_COMMITTED:
            choices.append(("log", ""))
        return choices

    def _can_rotate(self, name: str) -> bool:
        return name in self.honest and self.generations[name] + 1 < MOST_GENERATIONS

    def _admit(self, name: str, *, honest: bool) -> None:
        self.generations[name] = 0
        clock = Clock(self.time)
        if not honest:
            self.liars[name] = Liar(name, clock, self.observer)
            return
        pinned = fingerprint(self.founders) if self._random.random() < 0.7 else None
        member = Member(name, self._log, clock, self.observer, self._kind, self.storage.disk(), pinned)
        self.honest[name] = member


def _generation(state: State, name: str) -> int:
    known = state.members.get(name)
    assert known is not None
    return generation_of(name, known.key.raw)
