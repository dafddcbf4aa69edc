"""Pair secrets on their way from firm to firm: checked, handed out, and what is done where one does not open.

Whoever relays a sealed secret can check its form and its signature, and so never passes on what is not its sender's.
Whether it opens, only its receiver can say, and it may lie: then one of the two is to blame, and nobody can tell which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self

from clients.masking.epoch import check_sealed
from clients.masking.errors import KeySetupRefused
from clients.masking.session import RosterEntry


class SealedSecrets:
    """The sealed secrets of one epoch, until their receivers have them."""

    def __init__(self, cid: str, epoch: int, roster: Iterable[RosterEntry]) -> None:
        self._cid = cid
        self._epoch = epoch
        self._roster = {entry.member: entry for entry in roster}
        self._waiting: dict[str, dict[str, bytes]] = {member: {} for member in self._roster}
        self._taken: dict[str, dict[str, bytes]] = {}
        self._disputes: set[tuple[str, str]] = set()

    @property
    def members(self) -> set[str]:
        """The firms that were paired."""
        return set(self._roster)

    def take(self, sender: str, messages: Mapping[Any, Any]) -> None:
        """Keep what a firm has sealed: one secret for every firm of the roster with a higher id. Others are dropped.

        Raises:
            KeySetupRefused, MalformedMessage: one is missing, or is not the sender's for that firm; none is kept.
        """
        checked = {}
        for receiver in (member for member in self._roster if member > sender):
            raw = messages.get(receiver)
            if not isinstance(raw, bytes):
                raise KeySetupRefused(f"pair secret from {sender}: there is none for {receiver}")
            check_sealed(self._cid, self._epoch, self._roster[sender], self._roster[receiver], raw)
            checked[receiver] = raw
        self._taken[sender] = checked
        for receiver, raw in checked.items():
            self._waiting[receiver][sender] = raw

    def kept(self, out: Iterable[str]) -> dict[str, Any]:
        """All of it, to be written down; `out` are the firms that are left out of the epoch."""
        roster = {member: [one.signing_key, one.epoch_key] for member, one in self._roster.items()}
        return {
            "roster": roster,
            "sealed": {member: dict(own) for member, own in self._taken.items()},
            "out": sorted(out),
        }

    @classmethod
    def from_kept(cls, cid: str, epoch: int, kept: Mapping[str, Any]) -> Self:
        """What `kept` gave; all of it waits again, for nobody knows who has it."""
        made = cls(cid, epoch, (RosterEntry(member, *keys) for member, keys in sorted(kept["roster"].items())))
        for sender, messages in kept["sealed"].items():
            made.take(sender, messages)
        return made

    def waiting_for(self, member: str, senders: Iterable[str]) -> dict[str, bytes]:
        """What a firm has not confirmed yet, from these senders."""
        waiting = self._waiting.get(member, {})
        return {sender: waiting[sender] for sender in senders if sender in waiting}

    def has_opened(self, member: str) -> None:
        """The firm has what was sealed for it."""
        self._waiting.pop(member, None)

    def dispute(self, receiver: str, sender: str) -> None:
        """A firm says that it cannot open what it was sent. One that it was not sent, or has opened, is no dispute."""
        if sender in self._waiting.get(receiver, {}):
            self._disputes.add((receiver, sender))

    def settle(self, colluders: int) -> set[str]:
        """The firms to go on without; afterwards nothing is in dispute.

        A firm at odds with more others than collude is to blame, and goes alone. Of what is left, both go. So while no
        more are to blame than `colluders`, no honest firm goes without one that is to blame going too.

        Args:
            colluders: most firms that may work together against the others.
        """
        disputes, out = sorted(self._disputes), set[str]()
        self._disputes.clear()
        while disputes:
            at_odds = Counter(member for pair in disputes for member in pair)
            member, others = max(at_odds.items(), key=lambda item: (item[1], item[0]))
            gone = {member} if others > max(colluders, 1) else set(disputes[0])
            out |= gone
            disputes = [pair for pair in disputes if gone.isdisjoint(pair)]
        return out

    @property
    def disputed(self) -> bool:
        """Whether something is to be settled."""
        return bool(self._disputes)
