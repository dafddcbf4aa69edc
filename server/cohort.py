"""The firms of a run: who they are, what they declare, their masking keys, and how they are asked."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from flwr.serverapp import Grid

from clients.dialect import SPOKEN, Dialect
from clients.errors import ClientError
from clients.masking.errors import EpochEnded
from clients.masking.session import RosterEntry
from clients.messages import HELLO, PAIR, TRAIN, Refusal
from clients.plain_text import one_line
from clients.sitting_out import SittingOut
from ledger.errors import LedgerError
from server.asking_again import REAL_TIME, Waiting
from server.errors import ServerError
from server.inquiry import Asked, Inquiry, NoAnswer
from server.node_names import Labels, NodeNames, no_names
from server.presence import EnrolledKey, NotWhoItSays, Present, greeting, identify
from server.round_journal import RoundJournal
from server.sealed_secrets import SealedSecrets

log = logging.getLogger("artesian.coordinator")
_ABSENT = (SittingOut.__name__, EpochEnded.__name__)
"""Codes of firms that take no part this time, which is no refusal of anything."""


class RunFailed(ServerError):
    """A run that cannot go on; says what the firms answered."""

    exit_code = 3


class Cohort:
    """The nodes of a run by member id.

    Attributes:
        mirrored: how many ledger entries each firm's witness had when it answered.
        refusals: (round, firm, reason) of every answer that was none; round 0 is the beginning of the run.
    """

    def __init__(
        self,
        grid: Grid,
        cid: str,
        task_name: str,
        timeout_s: int,
        spoken: Dialect = SPOKEN,
        *,
        journal: RoundJournal | None = None,
        waiting: Waiting = REAL_TIME,
        names: NodeNames = no_names,
    ) -> None:
        """Prepare to meet them; `names` says what nodes are called that have not proven who they are."""
        self._grid = grid
        self._labels = Labels(names)
        self._spoken = spoken
        self._journal = RoundJournal(None, task_name, lambda: 0.0) if journal is None else journal
        self._inquiry = Inquiry(grid, spoken, timeout_s, self._journal, waiting)
        self._cid = cid
        self._task_name = task_name
        self._present: dict[str, Present] = {}
        self._unpaired: set[str] = set()
        self._ended: set[str] = set()
        self._refusing: dict[int, Refusal] = {}
        self._silent: set[str] = set()
        self._aside: set[str] = set()
        self._sealed: SealedSecrets | None = None
        self.mirrored: dict[str, int] = {}
        self.refusals: list[tuple[int, str, str]] = []

    @property
    def cid(self) -> str:
        """The consortium's id."""
        return self._cid

    @property
    def nodes(self) -> frozenset[int]:
        """Flower's ids of all nodes that are connected now."""
        return frozenset(self._grid.get_node_ids())

    @property
    def members(self) -> list[str]:
        """The firms that train, in order of their ids."""
        return [member for member in self._paired if member not in self._aside]

    @property
    def _paired(self) -> list[str]:
        """The firms of the epoch: those that train now, and those that are set aside."""
        taking_part = (member for member, firm in self._present.items() if firm.units)
        return sorted(member for member in taking_part if member not in self._unpaired)

    @property
    def enlisted(self) -> list[str]:
        """The firms that take part in the task, whether they train in this epoch or not."""
        return sorted(member for member, firm in self._present.items() if firm.units)

    @property
    def witnesses(self) -> list[str]:
        """All firms that answered, in order of their ids: those that take no part in the task cosign too."""
        return sorted(self._present)

    @property
    def units(self) -> dict[str, int]:
        """Declared privacy units of every firm that trains."""
        return {member: self._present[member].units for member in self.members}

    @property
    def roster(self) -> tuple[RosterEntry, ...]:
        """What a round's session needs of every firm; bare names where nothing is masked."""
        return tuple(self._present[member].roster for member in self.members)

    def signing_key(self, member: str) -> bytes:
        """The key under which a firm signs, 32 bytes."""
        return self._present[member].signing_key.ed25519.raw

    @property
    def announcements(self) -> dict[str, bytes]:
        """The signed masking key of every firm that trains."""
        return {member: self._present[member].announcement for member in self.members}

    def meet(self, epoch: int, enrolled: EnrolledKey | None = None) -> None:
        """Ask every node who it is; the firms that take part in the task are the cohort. Each new epoch begins so.

        Args:
            epoch: of the masking keys; 0 where nothing is masked.
            enrolled: the ledger's word on who is a member; without a ledger, nodes are taken at theirs.

        Raises:
            RunFailed: nobody takes part.
        """
        self._present, self._unpaired, self._ended, self._sealed = {}, set(), set(), None
        self._silent, self._aside, self._refusing = set(), set(), {}
        self._labels.forget()
        spoken = self._spoken.span
        twice = self._greet(self._grid.get_node_ids(), greeting(self._cid, self._task_name, epoch, spoken), enrolled)
        if self._refusing:  # who sits out, has destroyed its keys, or cannot train now, says who it is and witnesses
            refusing = dict(sorted(self._refusing.items()))
            twice |= self._greet(refusing, greeting(self._cid, "", 0, spoken), enrolled)
            names = {firm.node: member for member, firm in self._present.items()}
            for node, error in refusing.items():
                code = "Absent" if error.code in _ABSENT else error.code
                self.note(0, names.get(node) or self._labels.of(node), str(error), code=code)
        self._leave_out_twins(twice)
        if not (self.members if self._task_name else self.witnesses):
            raise RunFailed(f"{self._task_name or 'ledger'}: no firm takes part; {self.why(0)}")

    def _greet(self, nodes: Iterable[int], request: Mapping[str, Any], enrolled: EnrolledKey | None) -> set[str]:
        """Ask nodes who they are, and note those that prove it; returns the firms that more than one node is."""
        twice = set()
        for node, reply in self._ask_nodes(HELLO, dict.fromkeys(nodes, request), 0):
            member = reply["member"]
            try:
                present = identify(node, request, reply, enrolled)
            except (ClientError, LedgerError, NotWhoItSays) as error:
                self.note(0, self._labels.of(node), str(error))
                continue
            twice |= {member} & self._present.keys()
            self._present[member] = present
            self.mirrored[member] = reply["mirrored"]
        return twice

    def _leave_out_twins(self, members: Collection[str]) -> None:
        """Go on without firms that have two nodes.

        Both have the firm's signing key, so it is the firm's own doing. Perhaps each has a wallet of its own, and
        would spend the privacy of the same records: so neither is asked.
        """
        for member in sorted(members):
            del self._present[member], self.mirrored[member]
            self.note(0, member, "two nodes prove that they are this firm; it is left out until it runs one SuperNode")

    def pair(self, epoch: int, final: str = "") -> None:
        """Have the firms draw their pair secrets, and collect those, sealed from firm to firm.

        A firm that does not set up its keys is left out of the cohort, as is one that does not seal what is due.

        Args:
            final: the final checkpoint of the ledger that has the firms' keys; without one the keys are relayed.

        Raises:
            RunFailed: no firm did.
        """
        firms = {member: self._present[member] for member in self.members}
        request = {"epoch": epoch, "final": final, "announcements": {}, "signing_keys": {}}
        if not final:
            request["announcements"] = self.announcements
            request["signing_keys"] = {member: firm.signing_key.raw for member, firm in firms.items()}
        replies = dict(self.ask(PAIR, dict.fromkeys(firms, request), 0))
        self.leave_out(firms.keys() - replies.keys())
        if not self.members:
            raise RunFailed(f"{self._task_name}: no firm set up its masking keys; {self.why(0)}")
        self._seal(epoch, self.roster, {member: replies[member]["sealed"] for member in self.members})

    def _seal(self, epoch: int, roster: tuple[RosterEntry, ...], messages: Mapping[str, Mapping[Any, Any]]) -> None:
        self._sealed = SealedSecrets(self._cid, epoch, roster)
        for sender in self.members:
            try:
                self._sealed.take(sender, messages.get(sender, {}))
            except ClientError as error:
                self.note(0, sender, str(error), code=type(error).__name__)
                self.leave_out([sender])

    @property
    def keys(self) -> dict[str, Any]:
        """What another process needs to go on in this epoch, see `take_up_keys`; empty before firms are paired."""
        return {} if self._sealed is None else self._sealed.kept(self._unpaired)

    def take_up_keys(self, epoch: int, keys: Mapping[str, Any]) -> None:
        """Go on with what the firms sealed for each other when they were paired; who was not is not in the epoch."""
        self._sealed = SealedSecrets.from_kept(self._cid, epoch, keys)
        self.leave_out({*keys["out"], *(member for member in self._present if member not in keys["roster"])})

    @property
    def keys_have_ended(self) -> bool:
        """Whether a firm has destroyed its keys of the epoch in which the firms were met."""
        return any(error.code == EpochEnded.__name__ for error in self._refusing.values())

    @property
    def is_whole(self) -> bool:
        """Whether the firms that take part now are those that were paired in this epoch."""
        paired = set() if self._sealed is None else self._sealed.members
        return not self.keys_have_ended and set(self.enlisted) == paired

    def leave_out(self, members: Collection[str]) -> None:
        """These firms do not train in this epoch."""
        self._unpaired |= set(members)

    def was_silent(self, member: str) -> None:
        """The firm gave no answer when it should have trained; a refusal is an answer."""
        self._silent.add(member)

    def set_aside(self) -> set[str]:
        """Do without the firms that were silent, until they are taken back; returns them."""
        out, self._silent = self._silent & set(self.members), set()
        self._aside |= out
        return out

    def take_back(self, members: Collection[str] | None = None) -> bool:
        """Ask firms again that were set aside, or all of them; whether there were any. Nobody counts as silent then."""
        back = self._aside if members is None else self._aside & set(members)
        self._aside, self._silent = self._aside - back, set()
        return bool(back)

    def take_ended(self) -> set[str]:
        """The firms that have refused a message because their keys of the epoch are destroyed; each told once."""
        ended, self._ended = self._ended, set()
        return ended

    def signing_keys(self, members: Iterable[str]) -> dict[str, bytes]:
        """The Ed25519 keys that these members sign with, 32 bytes each; of those that answered."""
        found = {member: self._present[member].signing_key for member in members if member in self._present}
        return {member: key.ed25519.raw for member, key in found.items()}

    def sealed_for(self, member: str, senders: Iterable[str] = ()) -> dict[str, bytes]:
        """Pair secrets that wait for a firm, of the cohort and of `senders`; they travel until it has answered once."""
        among = sorted({*self._paired, *senders})
        return {} if self._sealed is None else self._sealed.waiting_for(member, among)

    def has_answered(self, member: str) -> None:
        """The firm has what was sealed for it."""
        if self._sealed is not None:
            self._sealed.has_opened(member)

    @property
    def disputed(self) -> bool:
        """Whether firms have said of others that their pair secrets do not open."""
        return self._sealed is not None and self._sealed.disputed

    def settle(self, colluders: int) -> set[str]:
        """Leave out of this epoch who may be to blame for pair secrets that do not open; see `SealedSecrets`.

        Returns:
            Who is left out now.
        """
        out = set() if self._sealed is None else self._sealed.settle(colluders)
        for member in sorted(out):
            self.note(0, member, "left out of the epoch: between it and another firm a pair secret does not open")
        self.leave_out(out)
        return out

    def ask(
        self, kind: str, requests: Mapping[str, Mapping[str, Any]], number: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Send each member its message; yields the answers that are no refusals with their members, as they come.

        To be taken to its end: only then is it noted who has not answered. Who is not connected is not waited for.
        """
        for member in sorted(requests.keys() - self._present.keys()):
            self.note(number, member, "it is not connected", code="Absent")
        requests = {member: request for member, request in requests.items() if member in self._present}
        members = {self._present[member].node: member for member in requests}
        nodes = {self._present[member].node: request for member, request in requests.items()}
        for node, reply in self._ask_nodes(kind, nodes, number):
            yield members[node], reply

    def _hear(self, who: str, error: ClientError | None) -> None:
        """What a refusal means for the epoch."""
        if not isinstance(error, Refusal):
            return
        if error.code == EpochEnded.__name__:
            self._ended.add(who)
        if error.accuses is not None and self._sealed is not None:
            self._sealed.dispute(who, error.accuses)

    def note(self, number: int, who: str, why: str, *, code: str = "Refused") -> None:
        """Remember why a firm is not in a round; `code` for programs."""
        why, code = one_line(why), one_line(code)
        self.refusals.append((number, who, why))
        self._journal.note(number, who, code, why)
        fields = {"task": self._task_name, "round": number, "member": who, "code": code}
        log.warning("round %d: %s: %s", number, who, why, extra=fields)

    def why(self, number: int) -> str:
        """Who said what in a round, each firm's last word."""
        said = {who: why for at, who, why in self.refusals if at == number}
        return "; ".join(f"{who}: {why}" for who, why in sorted(said.items())) or "nobody was asked"

    def _ask_nodes(
        self, kind: str, requests: Mapping[int, Mapping[str, Any]], number: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        known = {firm.node: Asked(member, firm.version, firm.traces) for member, firm in self._present.items()}
        for node, reply in self._inquiry.ask(kind, requests, number, known):
            if not isinstance(reply, NoAnswer):
                yield node, reply
            elif kind == HELLO and isinstance(reply.said, Refusal):
                self._refusing.setdefault(node, reply.said)  # noted by its name, when it has said that
            elif node not in known:
                self.note(number, self._labels.of(node), reply.why, code=reply.code)
            else:
                who = known[node].member
                self.note(number, who, reply.why, code=reply.code)
                self._hear(who, reply.said)
                if reply.said is None and kind == TRAIN:
                    self.was_silent(who)
