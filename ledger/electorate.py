"""Whose quorum makes a checkpoint final, while members come and go.

A checkpoint judged only by the members of its own moment could be final in two histories that differ in who is a
member. So it needs a quorum of every membership that was in force from the last final checkpoint on (that one's
included): two histories that part after it then share a membership, and any two quorums of that one share an
honest member. With no change since the last final checkpoint this is one quorum of the present members.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

from ledger.checkpoint import CheckpointError, witness_name
from ledger.keys import PublicKey
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.rules import State


@dataclass(frozen=True)
class Membership:
    """The keys in force from some size on.

    Attributes:
        since: number of entries from which on it holds.
        log: the log's key, 32 bytes.
        members: id and Ed25519 key (32 bytes) of each active member, sorted.
    """

    since: int
    log: bytes
    members: tuple[tuple[str, bytes], ...]

    @property
    def voters(self) -> frozenset[str]:
        """The members' ids: a member that has changed its key is the same voter."""
        return frozenset(name for name, _ in self.members)

    def policy(self, origin: str) -> Policy:
        """The policy of this membership alone: what an offline verifier is given once it is final."""
        witnesses = {name: Vkey.of_witness(witness_name(origin, name), PublicKey(key)) for name, key in self.members}
        return Policy.of(Vkey.of_log(origin, PublicKey(self.log)), witnesses)


@dataclass(frozen=True)
class Electorate:
    """The memberships since the last final checkpoint. Immutable; feed it the state after every entry.

    Attributes:
        origin: the log's name.
        memberships: from the last final checkpoint's on, oldest first.
    """

    origin: str
    memberships: tuple[Membership, ...] = ()
    _seen: tuple[Any, Any] = field(default=(None, None), compare=False, repr=False)

    def after(self, state: State) -> Self:
        """The electorate when `state` is the next one; itself if neither members nor keys have changed."""
        members, log = self._seen
        if (state.members is members and state.log is log) or state.founding or state.log is None:
            return self
        keys = tuple((member.member, member.key.ed25519.raw) for member in state.active())
        now = Membership(state.size, state.log.key.raw, keys)
        last = self.memberships[-1] if self.memberships else None
        same = last is not None and (last.log, last.members) == (now.log, now.members)
        return replace(
            self,
            memberships=self.memberships if same else (*self.memberships, now),
            _seen=(state.members, state.log),
        )

    def policy(self, size: int) -> Policy:
        """The policy under which the checkpoint at `size` is final.

        A member that has changed its key since is asked for the new one, for the earlier memberships too: else a
        lost key could keep its own rotation from being final.

        Raises:
            CheckpointError: no membership was in force then: the founding was not complete, or a later checkpoint
                is final already.
        """
        held = [one for one in self.memberships if one.since <= size]
        if not held:
            raise CheckpointError(f"{self.origin}: no quorum is known for {size} entries; use a later checkpoint")
        return joint_policy(self.origin, tuple(held))

    def final_at(self, size: int) -> Self:
        """The electorate once the checkpoint at `size` is final: what was in force before it is settled."""
        settled = sum(one.since <= size for one in self.memberships)
        return replace(self, memberships=self.memberships[max(settled - 1, 0) :])

    def to_value(self) -> list[Any]:
        """Plain values to be stored; `of_value` reads them back."""
        return [[one.since, one.log, [list(member) for member in one.members]] for one in self.memberships]

    @classmethod
    def of_value(cls, origin: str, value: Sequence[Any]) -> Self:
        """The electorate that `to_value` wrote."""
        return cls(
            origin,
            tuple(Membership(since, log, tuple((name, key) for name, key in members)) for since, log, members in value),
        )


@lru_cache(maxsize=64)  # asked for at every checkpoint, and members seldom change
def joint_policy(origin: str, held: tuple[Membership, ...]) -> Policy:
    """The policy that asks for a quorum of each of these memberships, under the last one's log key."""
    keys: dict[str, bytes] = {}
    for one in held:
        keys.update(one.members)
    witnesses = {name: Vkey.of_witness(witness_name(origin, name), PublicKey(keys[name])) for name in keys}
    log = Vkey.of_log(origin, PublicKey(held[-1].log))
    electorates: dict[frozenset[str], str] = {}
    for one in held:
        electorates.setdefault(one.voters, f"members_{one.since}")
    return Policy.joint(log, witnesses, {name: voters for voters, name in electorates.items()})
