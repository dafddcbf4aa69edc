"""The firms of a run: who they are, what they declare, their masking keys, and how they are asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from clients.errors import ClientError
from clients.masking.epoch import read_announcement
from clients.masking.session import RosterEntry
from clients.messages import HELLO, PAIR, REPLIES, pack, unpack
from server.errors import ServerError

log = logging.getLogger("artesian.coordinator")


class RunFailed(ServerError):
    """A run that cannot go on; says what the firms answered."""

    exit_code = 3


class Cohort:
    """The nodes of a run by member id.

    Attributes:
        units: declared privacy units of every firm.
        mirrored: how many ledger entries each firm's witness had when it answered.
        refusals: (round, firm, reason) of every answer that was none; round 0 is the beginning of the run.
    """

    def __init__(self, grid: Grid, cid: str, task_name: str, timeout_s: int) -> None:
        self._grid = grid
        self._cid = cid
        self._task_name = task_name
        self._timeout_s = timeout_s
        self._nodes: dict[str, int] = {}
        self._announcements: dict[str, bytes] = {}
        self._signing_keys: dict[str, bytes] = {}
        self._roster: tuple[RosterEntry, ...] = ()
        self._sealed: dict[str, dict[str, bytes]] = {}
        self.units: dict[str, int] = {}
        self.mirrored: dict[str, int] = {}
        self.refusals: list[tuple[int, str, str]] = []

    @property
    def members(self) -> list[str]:
        """The firms, in order of their ids."""
        return sorted(self._nodes)

    @property
    def roster(self) -> tuple[RosterEntry, ...]:
        """What a round's session needs of every firm; bare names where nothing is masked."""
        return self._roster or tuple(RosterEntry(member, bytes(32)) for member in self.members)

    def meet(self, epoch: int) -> None:
        """Ask every node who it is; the firms that take part in the task are the cohort.

        Raises:
            RunFailed: nobody takes part, or two nodes are one firm.
        """
        request = {"cid": self._cid, "task": self._task_name, "epoch": epoch}
        for node, reply in self._ask_nodes(HELLO, dict.fromkeys(self._grid.get_node_ids(), request), 0):
            member = reply["member"]
            if member in self._nodes:
                raise RunFailed(f"two nodes say they are {member}; each firm runs one SuperNode")
            self._nodes[member] = node
            self.units[member] = reply["units"]
            self.mirrored[member] = reply["mirrored"]
            self._announcements[member] = reply["announcement"]
            self._signing_keys[member] = reply["signing_key"]
        if not self._nodes:
            raise RunFailed(f"{self._task_name}: no firm takes part; {self.why()}")

    def pair(self, epoch: int) -> None:
        """Relay the epoch's announced keys and collect the pair secrets, sealed from firm to firm.

        Raises:
            RunFailed: a firm did not set up its keys.
        """
        self._roster = tuple(
            read_announcement(raw, self._cid, epoch, member, self._signing_keys[member])
            for member, raw in sorted(self._announcements.items())
        )
        request = {
            "epoch": epoch,
            "announcements": self._announcements,
            "signing_keys": self._signing_keys,
        }
        replies = dict(self.ask(PAIR, dict.fromkeys(self._nodes, request), 0))
        missing = sorted(self._nodes.keys() - replies.keys())
        if missing:
            raise RunFailed(f"{self._task_name}: {missing[0]} did not set up its masking keys; {self.why()}")
        self._sealed = {member: {} for member in self._nodes}
        for sender, reply in replies.items():
            for receiver, message in reply["sealed"].items():
                self._sealed[receiver][sender] = message

    def sealed_for(self, member: str) -> dict[str, bytes]:
        """Pair secrets that wait for a firm; they travel until it has answered once."""
        return self._sealed.get(member, {})

    def has_answered(self, member: str) -> None:
        """The firm has what was sealed for it."""
        self._sealed.pop(member, None)

    def ask(
        self, kind: str, requests: Mapping[str, Mapping[str, Any]], number: int
    ) -> list[tuple[str, dict[str, Any]]]:
        """Send each member its message; returns the answers that came and were no refusals, by member id."""
        members = {node: member for member, node in self._nodes.items()}
        nodes = {self._nodes[member]: request for member, request in requests.items()}
        answered = self._ask_nodes(kind, nodes, number)
        return sorted(((members[node], reply) for node, reply in answered), key=lambda pair: pair[0])

    def note(self, number: int, who: str, why: str) -> None:
        """Remember why a firm is not in a round."""
        self.refusals.append((number, who, why))
        log.warning("round %d: %s: %s", number, who, why)

    def why(self) -> str:
        """The last reason noted."""
        if not self.refusals:
            return "nobody replied in time"
        _, who, why = self.refusals[-1]
        return f"{who} said: {why}"

    def _ask_nodes(
        self, kind: str, requests: Mapping[int, Mapping[str, Any]], number: int
    ) -> list[tuple[int, dict[str, Any]]]:
        messages = [
            Message(pack(request), node, kind, group_id=str(number)) for node, request in requests.items()
        ]
        names = {node: member for member, node in self._nodes.items()}
        out = []
        for reply in self._grid.send_and_receive(messages, timeout=float(self._timeout_s)):
            node = reply.metadata.src_node_id
            who = names.get(node, f"node {node}")
            if reply.has_error():
                self.note(number, who, f"its client failed (Flower error {reply.error.code})")
                continue
            try:
                out.append((node, unpack(reply.content, REPLIES[kind], f"{kind} reply of {who}")))
            except ClientError as error:
                self.note(number, who, str(error))
        return out
