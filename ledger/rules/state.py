"""What the ledger knows after some entries: immutable, so that earlier states can be kept and returned to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from ledger.errors import LedgerError
from ledger.keys import PublicKey
from ledger.rules.ids import Ids
from ledger.rules.persistent import Map

COORDINATOR = "coordinator"
"""The id of the coordinator. It is no member and has no vote."""
LOG = "log"
"""Whose key a `rotate` record of this id changes: the log's own. """
RESERVED = frozenset({COORDINATOR, LOG, "members", "none"})
"""Ids that no member may bear: they mean something else in a record or in a policy file."""
CLASSICAL, HYBRID = "ed25519", "ed25519+ml-dsa-65"
"""The two choices of a policy: which signatures statements and approvals carry."""


class Refused(LedgerError):
    """A statement breaks a rule of the consortium.

    Attributes:
        rule: short name of the rule, for programs.
        index: the entry that the statement would have been.
        detail: what is wrong and how to mend it.
    """

    exit_code = 1

    def __init__(self, rule: str, index: int, detail: str) -> None:
        super().__init__(f"entry {index} refused by the rule {rule!r}: {detail}")
        self.rule = rule
        self.index = index
        self.detail = detail


class Phase(StrEnum):
    """Where a round stands: open, aggregated, published; or aborted from either of the first two."""

    OPEN = "open"
    AGGREGATED = "aggregated"
    PUBLISHED = "published"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Member:
    """An enrolled organisation.

    Attributes:
        member: its id.
        kind: `firm` or `bank`.
        key: its signing key now; it also cosigns checkpoints.
        name: for people.
        active: False while suspended.
        since: entry that gave it its present key or standing.
    """

    member: str
    kind: str
    key: PublicKey
    name: str
    active: bool = True
    since: int = 0


@dataclass(frozen=True)
class Terms:
    """What the latest `policy` record fixed.

    Attributes:
        min_cohort: fewest firms in a cohort, and fewest contributions in an aggregate.
        config: SHA-256 of the consortium's configuration file, or None.
        signatures: `CLASSICAL`, or `HYBRID`: then every key in use is a hybrid one.
    """

    min_cohort: int
    config: bytes | None
    signatures: str = CLASSICAL


@dataclass(frozen=True)
class LogKey:
    """The key that signs the log's checkpoints and receipts.

    Attributes:
        key: an Ed25519 key.
        next: SHA-256 of the next key's bytes, committed in advance; or None.
        since: entry that named the key; it signs checkpoints over that entry and later ones.
    """

    key: PublicKey
    next: bytes | None
    since: int


@dataclass(frozen=True)
class Contribution:
    """One firm's logged contribution to a round.

    Attributes:
        index: its entry.
        digest: its statement's digest.
        commit: 32 bytes, what the firm committed to.
    """

    index: int
    digest: bytes
    commit: bytes


@dataclass(frozen=True)
class Round:
    """One step of training.

    Attributes:
        id: 16 bytes, the round record's id.
        task: the task's name.
        index: entry of the round record.
        digest: the round statement's digest; contributions name it as their parent.
        cohort: the firms fixed for the round, each with its place; dropped when the round is no longer open.
        parent_model: 32 bytes or None, the model that training starts from.
        phase: where the round stands.
        contributions: by firm; dropped when the round is no longer open, see `ledger.rounds`.
        contributed: how many firms contributed.
        model: 32 bytes once aggregated.
    """

    id: bytes
    task: str
    index: int
    digest: bytes
    cohort: Mapping[str, int]
    parent_model: bytes | None
    phase: Phase = Phase.OPEN
    contributions: Map[str, Contribution] = field(default_factory=Map)
    contributed: int = 0
    model: bytes | None = None

    def inputs(self) -> list[bytes]:
        """Digests of an open round's contributions in the order of the ledger: what an aggregate must list."""
        return [entry.digest for entry in sorted(self.contributions.values(), key=lambda entry: entry.index)]


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        name: its slug.
        spec: 32 bytes, hash of the task spec.
        latest: id of its latest round.
        model: the latest aggregate's model, 32 bytes.
        rounds: number of rounds opened.
        published: how many of its models are published and not revoked.
    """

    name: str
    spec: bytes
    latest: bytes | None = None
    model: bytes | None = None
    rounds: int = 0
    published: int = 0


@dataclass(frozen=True)
class Release:
    """A published model.

    Attributes:
        model: 32 bytes.
        manifest: 32 bytes, hash of the release's manifest.
        task: name.
        round: id of the round that made it.
        index: entry of the publish record.
        revoked: entry of the revoke record, or None.
    """

    model: bytes
    manifest: bytes
    task: str
    round: bytes
    index: int
    revoked: int | None = None


@dataclass(frozen=True)
class Cap:
    """A firm's own limit on what it may declare to have spent on a task.

    Attributes:
        rdp: limit at each order of the grid, in nano-RDP; no order may go over.
        delta: in units of 1e-12; what the limit's epsilon is stated at.
    """

    rdp: tuple[int, ...]
    delta: int


@dataclass(frozen=True)
class EpochKey:
    """A member's key for one purpose.

    Attributes:
        epoch: the latest that the member has been in; it never comes again.
        key: 1 to 2,048 bytes, of which the rules know nothing; None once the member was suspended or its signing key
            rotated.
        since: entry that named the key.
    """

    epoch: int
    key: bytes | None
    since: int


@dataclass(frozen=True)
class State:
    """The ledger's meaning after `size` entries.

    Attributes:
        cid: the consortium's id.
        size: number of entries applied.
        founders: founding members that are still to be enrolled.
        coordinator: the coordinator's signing key, once entry 0 has named it.
        log: the key of the log's checkpoints, once entry 0 has named it.
        terms: what the policy fixes.
        members: by id, suspended ones too.
        voters: number of active members.
        membership_digest: digest of the record that last changed members, keys or terms; the next one names it as
            its parent, so that what a quorum approved cannot be brought out after other changes.
        ids: the ids of all records.
        keys: the thumbprint (RFC 9679) of every key ever named, and of either half of a hybrid one, to the member
            whose it is or was, to `COORDINATOR` or to `LOG`.
        tasks, rounds, releases: by name, by id, by model hash.
        encryption_keys: by member, to what bodies for it are sealed; suspended ones too.
        epoch_keys: by member, then by purpose; suspended ones too, without their keys.
        caps, spent: by (firm, task); nano-RDP an order.
        consents: (firm, bank, SHA-256 of the purpose) to the time, in seconds since the epoch, until which it holds.
        queries: (bank) to the number of recorded queries.
    """

    cid: str
    size: int = 0
    founders: int = 0
    coordinator: PublicKey | None = None
    log: LogKey | None = None
    terms: Terms = field(default_factory=lambda: Terms(1, None))
    members: Map[str, Member] = field(default_factory=Map)
    voters: int = 0
    membership_digest: bytes | None = None
    ids: Ids = field(default_factory=Ids)
    keys: Map[bytes, str] = field(default_factory=Map)
    encryption_keys: Map[str, bytes] = field(default_factory=Map)
    epoch_keys: Map[str, Map[str, EpochKey]] = field(default_factory=Map)
    tasks: Map[str, Task] = field(default_factory=Map)
    rounds: Map[bytes, Round] = field(default_factory=Map)
    releases: Map[bytes, Release] = field(default_factory=Map)
    caps: Map[tuple[str, str], Cap] = field(default_factory=Map)
    spent: Map[tuple[str, str], tuple[int, ...]] = field(default_factory=Map)
    consents: Map[tuple[str, str, bytes], int] = field(default_factory=Map)
    queries: Map[str, int] = field(default_factory=Map)

    def having(self, **changes: Any) -> Self:
        """This state with some fields changed: `dataclasses.replace` without its cost, which is that of a rule.

        For the few rules that nearly every entry goes through.
        """
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **changes)
        assert len(made.__dict__) == len(self.__dict__), f"no such fields: {changes.keys() - self.__dict__.keys()}"
        return made

    @property
    def founding(self) -> bool:
        """Whether the founding is still incomplete: until then there is no quorum and nothing is final."""
        return self.size == 0 or self.founders > 0

    def active(self, kind: str | None = None) -> list[Member]:
        """The active members, of one kind when given, sorted by id."""
        found = [m for m in self.members.values() if m.active and kind in (None, m.kind)]
        return sorted(found, key=lambda member: member.member)

    def is_enrolled(self, member: str, kind: str | None = None) -> bool:
        """Whether `member` is active, and of that kind when given."""
        known = self.members.get(member)
        return known is not None and known.active and kind in (None, known.kind)

    def epoch_key(self, member: str, purpose: str) -> EpochKey | None:
        """The key that `member` vouches for now; None if it never did, or if rotation or suspension has ended it."""
        known = self.epoch_keys.get(member)
        found = None if known is None else known.get(purpose)
        return None if found is None or found.key is None else found
