"""What can be asked of a ledger that is open: its entries, where they stand, proofs, and what is final."""

import os
from collections.abc import Sequence

from ledger.checkpoint import NotFinal, Policy
from ledger.checkpoint_book import CheckpointBook
from ledger.electorate import Membership
from ledger.errors import NoSuchEntry
from ledger.finality import consortium_policy
from ledger.kept_bodies import Kept
from ledger.keys import SigningKey
from ledger.merkle import consistency_proof, inclusion_proof
from ledger.receipt import make_receipt
from ledger.replay import Replayed
from ledger.rules import State
from ledger.store import Store
from ledger.tiles import TileReader


class History:
    """The entries of one log so far.

    Attributes:
        origin: the log's name.
        cid: the consortium's id.
    """

    def __init__(self, store: Store, origin: str, cid: str, key: SigningKey) -> None:
        """Nothing yet of the log in `store`; `key` signs receipts."""
        self.origin = origin
        self.cid = cid
        self._store = store
        self._key = key
        self._at = Replayed.nothing(cid)
        self._tiles = TileReader(store.tile)
        self._book = CheckpointBook(store, origin)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._at.state.size

    @property
    def state(self) -> State:
        """What the rules make of the entries. Immutable."""
        return self._at.state

    @property
    def root(self) -> bytes:
        """Root of the tree over all entries, 32 bytes."""
        return self._at.frontier.root()

    def final(self) -> str | None:
        """The largest checkpoint that a quorum cosigned, with its cosignatures; None if there is none."""
        return None if self._book.final is None else self._book.final[1]

    def notes(self, start: int, most: int) -> dict[int, str]:
        """Older checkpoints with their cosignatures, by size: the first `most` over at least `start` entries."""
        return {size: self._book.cosigned_note(size) for size in self._store.cosigned(start, most)}

    @property
    def final_size(self) -> int:
        """How many entries are final."""
        return self._book.final_size

    @property
    def checkpoints(self) -> int:
        """How many checkpoints have been signed."""
        return self._store.count_checkpoints()

    @property
    def policy(self) -> Policy:
        """The trust policy of the present members, for offline verifiers."""
        return consortium_policy(self.state, self.origin)

    @property
    def settled(self) -> Membership:
        """Who belongs by what is final; see `ledger.checkpoint_book.CheckpointBook.settled`."""
        return self._book.settled

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1` as they were appended.

        Raises:
            NoSuchEntry: not that many entries.
        """
        if not 0 <= start <= end <= self.size:
            raise NoSuchEntry(f"no entries {start} to {end}: the ledger has {self.size}")
        return self._store.entries(start, end)

    def index_of(self, digest: bytes) -> int | None:
        """The place of the statement with this digest, or None."""
        return self._store.indices([digest]).get(digest)

    def accepted_s(self, index: int) -> int:
        """When this log took entry `index`, in seconds since the epoch; when it took it over, if from a mirror."""
        return self.accepted([index])[index]

    def accepted(self, indices: Sequence[int]) -> dict[int, int]:
        """When this log took these entries, as `accepted_s`; reads them all at once.

        Raises:
            NoSuchEntry: one of them is not there.
        """
        return self._store.accepted(indices)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size` entries (RFC 9162)."""
        if not 0 <= index < size <= self.size:
            raise NoSuchEntry(f"no entry {index} in a tree of {size}: the ledger has {self.size}")
        return inclusion_proof(index, size, self._tiles.fetch(self._at.frontier))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` entries extends that of `old`; empty when `old` is 0."""
        if not 0 <= old <= new <= self.size:
            raise NoSuchEntry(f"no proof from {old} to {new}: the ledger has {self.size}")
        return consistency_proof(old, new, self._tiles.fetch(self._at.frontier)) if old else []

    def receipt(self, index: int) -> bytes:
        """Proof, checkable offline, that entry `index` is on the ledger and final.

        Raises:
            NotFinal: no final checkpoint covers it yet.
        """
        if not 0 <= index < self.size:
            raise NoSuchEntry(f"no entry {index}: the ledger has {self.size}")
        if self._book.final is None or index >= self._book.final_size:
            raise NotFinal(f"entry {index} is not final yet; let the members' witnesses cosign a checkpoint")
        size = self._book.final_size
        return make_receipt(index, self.inclusion(index, size), self._book.settled_note, self._key)

    def body(self, digest: bytes) -> bytes | None:
        """The encrypted body of the statement with this digest; None if it is missing or was erased."""
        return self._store.body(digest)

    def kept(self, digests: Sequence[bytes]) -> dict[bytes, Kept]:
        """What is kept of the bodies of the statements with these digests; of those that are missing, nothing."""
        return self._store.kept(digests)

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Write a consistent copy of the database to the new file `target`; see `ledger.database.Database.backup`."""
        self._store.backup(target)
