"""What the parts of a coordinator know of themselves at one moment; a part that cannot be asked says so instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from clients.errors import ClientError
from clients.supervision.status import SetStatus, read_status
from ledger.errors import LedgerError
from ledger.health import Health
from ledger.rules import COORDINATOR
from server.coordinator import Coordinator
from server.engines.control import Control, Node
from server.enrolment.founders import NotFounded, awaited
from server.enrolment.ledger_access import LedgerAccess
from server.errors import ServerError
from server.heard import heard
from server.member_checks import nodes_of
from server.progress import TaskProgress, progress_of
from server.roll_call import Enrolled
from server.run_order import RunOrder, TaskWish
from server.run_orders import RunOrders, new_ticket
from server.words import unknown_node

T = TypeVar("T")
_ASK_S = 3.0


@dataclass(frozen=True)
class NotKnown:
    """A part that could not be asked, and why."""

    why: str


@dataclass(frozen=True)
class LedgerFacts:
    """How the ledger is doing.

    Attributes:
        size, final_size: entries, and how many are final.
        waiting_s: for how long the oldest entry that is not final has waited; 0 when all are.
        quorum: how many members must cosign.
        behind: by member whose witness has not cosigned the newest checkpoint: how many entries it lacks, and when the
            oldest of them was taken, in seconds since 1970; as far as is known.
        members: how many are active.
    """

    size: int
    final_size: int
    waiting_s: float
    quorum: int
    behind: Mapping[str, tuple[int, float | None]]
    members: int


@dataclass(frozen=True)
class MemberFacts:
    """An active member; a bank has no node.

    Attributes:
        last_seen_s: when its SuperNode was last heard, in seconds since 1970; None for never.
        release: which one it says it runs; empty where it has not.
        refused: why SuperLink does not take its SuperNode; empty where it does.
    """

    member: str
    kind: str
    online: bool
    last_seen_s: float | None
    release: str = ""
    refused: str = ""


@dataclass(frozen=True)
class TaskFacts:
    """A task: what is wanted, its newest order, the run's journal, and its schedule's next firing in s since 1970."""

    name: str
    wish: TaskWish
    order: RunOrder | None
    progress: TaskProgress | None
    schedule: str
    next_s: float | None
    gives_up_s: float | None


@dataclass(frozen=True)
class Facts:
    """All of it.

    Attributes:
        runner: when the runner was last there, in seconds since 1970, and what hinders it; None for never.
        awaited: before the founding, who is still to join and be admitted; None after it.
    """

    at_s: float
    processes: SetStatus | None
    ledger: LedgerFacts | NotKnown
    members: tuple[MemberFacts, ...] | NotKnown
    runner: tuple[float, str] | None
    tasks: tuple[TaskFacts, ...]
    awaited: tuple[str, ...] | None = None

    @property
    def up(self) -> bool:
        """Whether the coordinator's processes are supervised now."""
        return self.processes is not None and self.processes.alive


class Looking:
    """Looks at one coordinator, as often as it is asked to."""

    def __init__(self, coordinator: Coordinator, control: Control, now: Callable[[], float]) -> None:
        self._home: Path = coordinator.home
        self._coordinator, self._control, self._now = coordinator, control, now
        self._orders = RunOrders(coordinator.store, new_ticket)
        self._ledger = LedgerAccess(coordinator.home)
        self._nodes: dict[str, str] = {}

    def look(self) -> Facts:
        """Ask everybody.

        Raises:
            StateUnusable: the coordinator's own tables cannot be read.
        """
        return Facts(
            at_s=self._now(),
            processes=read_status(self._home),
            ledger=_asked(self._ledger_facts),
            members=_asked(self._members),
            runner=self._orders.runner(),
            tasks=tuple(self._named(one) for one in self._tasks()),
            awaited=awaited(self._home),
        )

    def _ledger_facts(self) -> LedgerFacts:
        from ledger.policy import quorum_size

        health = health_of_service(self._coordinator)
        newest = health.checkpoint_size
        behind = {member: lack for member, lack in health.behind.items() if lack}
        since = self._taken({newest - lack for lack in behind.values()})
        named = {member: (lack, since.get(newest - lack)) for member, lack in sorted(behind.items())}
        members = len(health.cosigned)
        return LedgerFacts(health.size, health.final_size, health.waiting_s, quorum_size(members), named, members)

    def _taken(self, entries: set[int]) -> dict[int, float]:
        """When the ledger took these entries."""
        from ledger.commands.places import reading
        from ledger.homes import database_of

        if not entries:
            return {}
        with reading(database_of(self._home)) as store:
            return {index: float(at_s) for index, at_s in store.accepted(sorted(entries)).items()}

    def _members(self) -> tuple[MemberFacts, ...]:
        state = self._ledger.state()
        if state is None:
            return ()
        nodes: dict[str, Node] = {node.name: node for node in self._control.nodes()}
        self._nodes = {unknown_node(node.node_id): node.name for node in nodes.values()}
        releases = {member: one.release for member, one in heard(self._coordinator.store).items()}
        refused = {one.member: one.refused for one in nodes_of(self._home)}
        return tuple(
            MemberFacts(
                one.member,
                one.kind,
                one.member in nodes and nodes[one.member].online,
                _seen(nodes.get(one.member)),
                releases.get(one.member, ""),
                refused.get(one.member, ""),
            )
            for one in state.active()
        )

    def _named(self, task: TaskFacts) -> TaskFacts:
        """Nodes that have not said yet whose they are by the names under which they are registered."""
        at = task.progress
        if at is None or at.waiting is None:
            return task
        who = tuple(self._nodes.get(one, one) for one in at.waiting.members)
        return replace(task, progress=replace(at, waiting=replace(at.waiting, members=who)))

    def _tasks(self) -> tuple[TaskFacts, ...]:
        wishes, config = self._orders.wishes(), self._coordinator.config
        found = []
        for task in config.task:
            wish = wishes.get(task.name, TaskWish(task.name))
            newest = next((order for order, _ in self._orders.history(1, task.name)), None)
            waits = None if newest is None or newest.phase != "waiting" else newest.waits_since_s
            next_s = None
            if task.schedule is not None and wish.wanted == "scheduled":
                next_s = task.schedule.next_after(self._now())
            found.append(
                TaskFacts(
                    name=task.name,
                    wish=wish,
                    order=newest,
                    progress=progress_of(self._coordinator.store, task.name),
                    schedule="" if task.schedule is None else task.schedule.text,
                    next_s=next_s,
                    gives_up_s=None if waits is None else waits + config.runner.wait_for_firms_s,
                )
            )
        return tuple(found)


def enrolled_in(ledger: LedgerAccess) -> Enrolled:
    """Who may train, by the ledger's database, which is read beside the process that serves it.

    Raises:
        LedgerError: it cannot be read.
        NotFounded: there is no ledger yet.
    """
    state = ledger.state()
    if state is None:
        raise NotFounded("the consortium is not founded yet: admit its members first")
    return Enrolled(tuple(sorted(one.member for one in state.active("firm"))), state.terms.min_cohort)


def health_of_service(coordinator: Coordinator) -> Health:
    """How the ledger's service says that it is doing.

    Raises:
        Unreachable: the ledger's service does not answer.
        LedgerError: it does not answer us.
    """
    from ledger.homes import POLICY
    from ledger.policy import Policy
    from ledger.service.client import LedgerClient
    from ledger.service.tls import ClientTls
    from ledger.service.tokens import Identity
    from server.certificates import AUTHORITY_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY
    from server.ledger_service import LedgerService

    home, config = coordinator.home, coordinator.config
    log = Policy.parse((home / POLICY).read_text(encoding="utf-8")).logs[-1]
    own, authority = (home / TLS_KEY, home / TLS_CERTIFICATE), home / AUTHORITY_CERTIFICATE
    certificates = own if all(file.is_file() for file in own) else ()
    tls = ClientTls.from_files(authority, *certificates) if authority.is_file() else None
    address = (config.ledger_service or LedgerService()).at(config.network.ledger_port)
    identity = Identity(COORDINATOR, coordinator.key, log.name)
    client = LedgerClient(address, tls=tls, identity=identity, timeout_s=_ASK_S)
    try:
        return client.status()[0]
    finally:
        client.close()


def _asked(ask: Callable[[], T]) -> T | NotKnown:
    try:
        return ask()
    except (ServerError, LedgerError, ClientError) as error:
        return NotKnown(str(error))
    except OSError as error:
        return NotKnown(f"{error.filename}: {error.strerror}")


def _seen(node: Node | None) -> float | None:
    return None if node is None else node.last_seen_s
