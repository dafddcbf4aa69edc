"""What an audit found: of one round, and of a whole ledger."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RoundAudit:
    """What an audit found of one round.

    Attributes:
        round_id: 16 bytes.
        task: the task's name.
        number: the round's number in its run.
        entry: the round's entry on the ledger.
        firms: whose contributions the sum holds.
        model: the model that was recorded, 32 bytes; None for a round that made none.
        problem: the first thing that does not match, in one line; None when the model was recomputed bit for bit,
            or when there is none to recompute.
        deleted: the entry that says under which policy the round's artifacts were deleted, where they were and the
            round cannot be recomputed: then headers, session, publication and both stored models were checked.
        opened_by: whose word it is that the ciphertexts, which were added up again, decrypt to the sum that the model
            came from; None where nothing was encrypted.
        root_by_word: whether groups were weighed by a root gradient. The coordinator stores it after it has seen the
            groups, and an audit without the table takes it at its word; `server.root_audit` does not.
        voted: how many of the firms voted on the groups; None where no votes were counted.
        measures: what the round measured, its model left as it was; empty for a round that trained one.
    """

    round_id: bytes
    task: str
    number: int
    entry: int
    firms: tuple[str, ...]
    model: bytes | None
    problem: str | None
    deleted: int | None = None
    opened_by: str | None = None
    root_by_word: bool = False
    voted: int | None = None
    measures: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    @property
    def recomputed(self) -> bool:
        """Whether the model came out again bit for bit."""
        return self.ok and self.model is not None and self.deleted is None


@dataclass(frozen=True)
class Audit:
    """What an audit found of a whole ledger.

    Attributes:
        entries: ledger entries replayed.
        final_size: how many of them are final under the policy that the audit was given; 0 in a member's mirror.
        trusted: whether it was given a policy; if not, the ledger's own key was believed.
        rounds: every round that has an aggregate, in the order of the ledger.
        unfinished: rounds without an aggregate: open or aborted. Of one group nothing was opened; of several the
            coordinator may know the sums of some, or of all where the votes were too few.
        problem: what is wrong with the ledger itself; then no round was audited.
    """

    entries: int
    final_size: int
    trusted: bool
    rounds: tuple[RoundAudit, ...]
    unfinished: int
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None and all(one.ok for one in self.rounds)

    @property
    def recomputed(self) -> int:
        """How many rounds came out again bit for bit."""
        return sum(one.recomputed for one in self.rounds)

    @property
    def by_word(self) -> int:
        """How many of these rest on root gradients that the coordinator gave."""
        return sum(one.recomputed and one.root_by_word for one in self.rounds)

    @property
    def deleted(self) -> int:
        """How many rounds could not be recomputed because of a deletion that the ledger justifies."""
        return sum(one.ok and one.deleted is not None for one in self.rounds)
