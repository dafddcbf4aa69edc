"""A copy of the ledger read for an audit: replayed from its first byte, and its training rounds put together.

The database is opened without the right to change it and without the sequencer's lock, so a running coordinator is
not disturbed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median_high
from typing import Any, Self

from clients.encryption.policy import PURPOSE as CONTEXTS
from clients.masking.announcement import PURPOSE
from clients.offer import Offer
from clients.plan import Plan, PlanInvalid
from ledger.audit import audit
from ledger.errors import Damaged
from ledger.keys import PublicKey
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.replay import replay
from ledger.rounds import contributions_of
from ledger.rules import COORDINATOR, DELETION, Contribution
from ledger.statement import decode_statement
from ledger.store import Store


@dataclass
class Publication:
    """A publish record.

    Attributes:
        entry: its place on the ledger.
        ts: the coordinator's time, seconds since the epoch.
        round_entry: the entry of the round whose model it is.
        revoked: entry of the revoke record, or None.
    """

    entry: int
    ts: int
    round_entry: int
    revoked: int | None = None


@dataclass
class Deletion:
    """The first record that says that a round's artifacts are deleted.

    Attributes:
        entry: its place on the ledger.
        ts: the coordinator's time, seconds since the epoch.
        policy: 32 bytes, SHA-256 of the policy under which.
        seen_s: when it was there by the word of firms: the earliest that any round opened after it was contributed to;
            None where none was.
    """

    entry: int
    ts: int
    policy: bytes
    seen_s: int | None = None


@dataclass
class RecordedRound:
    """All entries of one round.

    Attributes:
        entry: the round record's entry.
        digest: the round statement's digest.
        payload: the round record.
        spec: 32 bytes, the task spec's hash.
        signing_keys: the enrolled keys of the firms when the round was opened, 32 bytes each.
        epoch_keys: their latest masking keys then, each with its epoch; without those that had ended.
        contributions: by firm, in ledger order.
        units: what each of them declared.
        held: by key holder, the epoch and the context's SHA-256 that it vouched for when the round was opened.
        closing_keys: every member's enrolled key when the round was aggregated, 32 bytes each.
        signed_at: when each of them was signed, by its firm's own clock, seconds since the epoch.
        makers: the task's rounds before it whose aggregate is the model from which it starts.
        aggregate, publication: these records, once they are there.
        published: what was published of the round's task, in ledger order.
        deletion: that its artifacts are deleted; None where nobody said so.
    """

    entry: int
    digest: bytes
    payload: Mapping[str, Any]
    spec: bytes
    signing_keys: Mapping[str, bytes]
    epoch_keys: Mapping[str, tuple[int, bytes]]
    contributions: Mapping[str, Contribution]
    units: dict[str, int]
    held: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)
    closing_keys: Mapping[str, bytes] = field(default_factory=dict)
    signed_at: dict[str, int] = field(default_factory=dict)
    makers: Sequence[RecordedRound] = field(default=(), repr=False)
    aggregate: Mapping[str, Any] | None = None
    publication: Mapping[str, Any] | None = None
    published: list[Publication] = field(default_factory=list)
    deletion: Deletion | None = None

    @property
    def id(self) -> bytes:
        """The round's id, 16 bytes."""
        return bytes(self.payload["id"])

    @cached_property
    def plan(self) -> Plan | None:
        """Its plan; None where the ledger has only a hash, or one that this version does not understand."""
        try:
            return Plan.from_map(self.payload["plan"])
        except PlanInvalid:
            return None

    @property
    def contributed_s(self) -> int | None:
        """When it was contributed to: the median of the firms' times, the later of two; None without contributions.

        The coordinator sets none of them, and no minority of firms moves it beyond what the others say.
        """
        return median_high(self.signed_at.values()) if self.signed_at else None

    def offer(self, plan: Plan) -> Offer:
        """The round as it was offered to the firms."""
        return Offer(self.payload, self.digest, plan)


@dataclass(frozen=True)
class LedgerCopy:
    """A ledger that was read for an audit.

    Attributes:
        entries: the statements.
        final_size: how many are final under the policy given; 0 without one, or in a member's mirror.
        rounds: by id, in ledger order; empty when there is a problem.
        problem: why the copy is not a ledger of this log, in one line; None when it is.
    """

    entries: tuple[bytes, ...]
    final_size: int
    rounds: Mapping[bytes, RecordedRound]
    problem: str | None

    @classmethod
    def read(cls, location: str | os.PathLike[str], policy: Policy | None) -> Self:
        """Replay the ledger at `location`: tree, signatures, rules and checkpoints.

        Raises:
            StoreError: there is no ledger there.
        """
        report = None if policy is None else audit(location, policy)
        if report is not None and report.problems:
            return cls((), 0, {}, report.problems[0])
        store = Store(location, read_only="://" not in os.fspath(location))
        try:
            if report is None:
                meta = store.meta()
                replay(store, meta["cid"], Vkey.parse(meta["vkey"]), verify_all=True, at_checkpoint=lambda _: None)
            entries = tuple(store.entries(0, store.size()))
        except Damaged as error:
            return cls((), 0, {}, str(error))
        finally:
            store.close()
        return cls(entries, 0 if report is None else report.final_size, cls.index(entries), None)

    @staticmethod
    def index(entries: Sequence[bytes]) -> dict[bytes, RecordedRound]:
        """The training rounds among entries that the rules have admitted."""
        keys: dict[str, bytes] = {}
        epoch_keys: dict[str, tuple[int, bytes]] = {}
        held: dict[str, tuple[int, bytes]] = {}
        specs: dict[str, bytes] = {}
        rounds: dict[bytes, RecordedRound] = {}
        named: dict[bytes, RecordedRound] = {}  # by the round statement's digest
        makers: dict[tuple[str, bytes | None], list[RecordedRound]] = {}  # by task and model
        published: dict[bytes, Publication] = {}  # by model
        of_task: dict[str, list[Publication]] = {}
        statements = [decode_statement(raw) for raw in entries]
        contributions = contributions_of(statements)
        for entry, statement in enumerate(statements):
            record = statement.payload
            match record["t"]:
                case "enrol" | "rotate":
                    keys[record["member"]] = PublicKey(record["key"]).ed25519.raw
                    epoch_keys.pop(record["member"], None)
                    held.pop(record["member"], None)
                case "suspend":
                    epoch_keys.pop(record["member"], None)
                    held.pop(record["member"], None)
                case "epoch_key" if record["purpose"] == PURPOSE:
                    epoch_keys[statement.issuer] = (record["epoch"], record["key"])
                case "task":
                    specs[record["task"]] = record["spec"]
                case "round":
                    cohort = {member: keys[member] for member in record["cohort"]}
                    spec = specs[record["task"]]
                    given = contributions[record["id"]]
                    masking = {member: epoch_keys[member] for member in cohort if member in epoch_keys}
                    opened = RecordedRound(entry, statement.digest, record, spec, cohort, masking, given, {})
                    opened.held = dict(held)
                    opened.makers = tuple(makers.get((record["task"], record["parent_model"]), ()))
                    opened.published = of_task.setdefault(record["task"], [])
                    rounds[record["id"]] = named[statement.digest] = opened
                case "contribution":
                    into = rounds[record["round"]]
                    into.units[statement.issuer] = record["n_bucket"]
                    into.signed_at[statement.issuer] = record["ts"]
                case "epoch_key" if record["purpose"] == CONTEXTS:
                    held[statement.issuer] = (record["epoch"], record["key"])
                case "aggregate":
                    rounds[record["round"]].aggregate = record
                    rounds[record["round"]].closing_keys = dict(keys)
                    task = rounds[record["round"]].payload["task"]
                    makers.setdefault((task, record["model"]), []).append(rounds[record["round"]])
                case "publish":
                    made = rounds[record["round"]]
                    made.publication = record
                    published[record["model"]] = Publication(entry, record["ts"], made.entry)
                    made.published.append(published[record["model"]])
                case "revoke":
                    published[record["model"]].revoked = entry
                case "attest" if statement.issuer == COORDINATOR and record.get("kind") == DELETION:
                    said = Deletion(entry, record["ts"], record["artifact"])
                    for one in filter(None, map(named.get, record.get("inputs", []))):
                        one.deletion = one.deletion or said
        _see_deletions(rounds)
        return rounds


def _see_deletions(rounds: Mapping[bytes, RecordedRound]) -> None:
    """Hold the deletions against the times of the rounds that were opened after them."""
    times = [(one.entry, one.contributed_s) for one in rounds.values() if one.contributed_s is not None]
    for said in (one.deletion for one in rounds.values() if one.deletion is not None):
        said.seen_s = min((time_s for entry, time_s in times if entry > said.entry), default=None)
