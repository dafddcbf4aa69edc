"""A member's witness: a mirror of the ledger that cosigns what it has checked itself.

It never cosigns two histories: the comparison with what it cosigned last and the record of what it cosigns now are one
transaction of its mirror. Having approved a handover, it cosigns no history without it, until it is shown that another
one is final.
"""

import os
import time
from collections.abc import Iterable, Sequence
from typing import Self

from ledger.checkpoint import cosign, witness_name
from ledger.finality import witness_vkey
from ledger.handover import Promise, latest_promise, noted, require_approvable
from ledger.keys import SigningKey
from ledger.log import Clock
from ledger.mirror import Mirror, News
from ledger.note import SignatureLine, Vkey
from ledger.proposal import Proposal
from ledger.rules import State
from ledger.source import Misbehaviour as Misbehaviour
from ledger.source import Rollback as Rollback
from ledger.source import Source as Source
from ledger.source import WitnessRefusal


class Witness:
    """One member's witness of one log.

    Attributes:
        member: the member's id.
        name: the key name of its cosignatures, `<origin>/<member>`.
        mirror: what it has checked.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None,
        key: SigningKey,
        member: str,
        log: Vkey,
        cid: str,
        clock: Clock = time.time,
        *,
        founding: str | None = None,
    ) -> None:
        """Open the mirror, or start an empty one; an existing one is recomputed before it is used.

        Args:
            location: path of the witness's own SQLite file, or None for memory.
            key: the member's signing key.
            log: the key that the log to witness was founded with; no other log is ever cosigned.
            cid: the consortium's id.
            founding: the founding fingerprint, compared out of band; a log that was founded otherwise is refused.

        Raises:
            StoreError: the file cannot be used, or is in use by another process.
            Damaged: the mirror is not what was written.
            WitnessRefusal: the file is the mirror of another log or of another member.
        """
        self.member = member
        self.name = witness_name(log.name, member)
        self._key = key
        self._clock = clock
        self.mirror = Mirror(location, log, cid, clock, founding=founding, member=member, seal=key)
        self._promise = latest_promise(self.mirror.facts)

    def close(self) -> None:
        """Give the mirror's file back."""
        self.mirror.close()

    def rest(self) -> None:
        """Let another process of this member use the mirror until `wake`; in memory nothing changes."""
        self.mirror.rest()

    def wake(self) -> None:
        """Take the mirror back after `rest`, with what another process has mirrored or promised in between.

        Raises:
            StoreError: another process is using it.
            Damaged: it is not what was written.
        """
        if self.mirror.wake():
            self._promise = latest_promise(self.mirror.facts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Number of entries mirrored and cosigned."""
        return self.mirror.size

    @property
    def root(self) -> bytes:
        """Root over them, 32 bytes."""
        return self.mirror.root

    @property
    def state(self) -> State:
        """What the rules make of them. Immutable."""
        return self.mirror.state

    @property
    def note(self) -> str:
        """The checkpoint cosigned last, as the log signed it; empty before the first."""
        return self.mirror.note

    def entry(self, index: int) -> bytes:
        """Entry `index` of the mirror.

        Raises:
            WitnessRefusal: the mirror does not reach it.
        """
        return self.mirror.entry(index)

    def index_of(self, digest: bytes) -> int | None:
        """The place of the statement with this digest in the mirror, or None."""
        return self.mirror.index_of(digest)

    def evidence(self) -> list[tuple[str, str, str]]:
        """Kept signs of the log's misbehaviour: `(kind, known note, offered note)`, oldest first."""
        return self.mirror.evidence()

    def follow(self, source: Source) -> str:
        """Fetch what is new from `source`, check it and cosign it; return the cosignature line.

        Raises:
            Misbehaviour, WitnessRefusal: as `ledger.mirror.Mirror.follow`, or it will not cosign this.
        """
        return self.mirror.follow(source, self._cosign)

    def advance(self, entries: Sequence[bytes], checkpoint_note: str, consistency_proof: Sequence[bytes]) -> str:
        """Check the new entries and the checkpoint over them, and cosign it.

        Args:
            entries: those from the mirror's size up to the checkpoint's.
            checkpoint_note: signed by the log; members' cosignatures may stand on it.
            consistency_proof: from the mirror's size to the checkpoint's; empty when either is the start.

        Returns:
            The cosignature line to give to the log. Made again with the present time when nothing is new.

        Raises:
            Misbehaviour: a fork, or a checkpoint over entries that break the rules.
            WitnessRefusal: not signed by the log, the entries are not those of the checkpoint, or a handover that
                this member approved is missing from them.
        """
        return self.mirror.advance(entries, checkpoint_note, consistency_proof, self._cosign)

    def add_cosignatures(self, lines: Iterable[str]) -> bool:
        """Keep other members' cosignatures on the newest mirrored checkpoint; say whether it is final."""
        return self.mirror.add_cosignatures(lines)

    def approve(self, proposal: Proposal) -> Proposal:
        """The proposal of a handover with this member's approval.

        The promise is durable before the approval leaves: from here on this witness cosigns no longer history that
        lacks this handover, unless it is shown to be final. A later approval, of the same or of another proposal on
        the same entries, takes the place of this one.

        Raises:
            ProposalError: it is no handover.
            WitnessRefusal: its base is not exactly what this witness has cosigned, or that is not final; or the new
                log's key was in another proposal.
        """
        promise = require_approvable(self.mirror, proposal)
        self._require_own_key(witness_vkey(self.mirror.origin, self.member, self.state))
        if promise != self._promise:
            self.mirror.remember(*noted(self.mirror.facts, promise))
            self._promise = promise
        return proposal.approved(self.member, self._key)

    @property
    def promise(self) -> Promise | None:
        """The handover approved last, or None."""
        return self._promise

    def _cosign(self, news: News) -> SignatureLine | None:
        promise, size = self._promise, news.signed.checkpoint.size
        open_promise = promise is not None and self.size <= promise.size < size
        if (
            promise is not None
            and open_promise
            and not news.final
            and news.handovers.get(promise.size) != promise.record
        ):
            raise WitnessRefusal(
                f"{self.member} has approved a handover after entry {promise.size - 1} and cosigns no other history; "
                "show it that this one is final, or approve again"
            )
        if not news.newest:
            return None
        # A checkpoint that ends a membership needs the quorum of that one too: who leaves with it is still asked.
        asked = news.policy.witnesses.get(self.member) if news.policy is not None else None
        self._require_own_key(asked or witness_vkey(self.mirror.origin, self.member, news.state))
        line = cosign(news.signed.body, name=self.name, key=self._key, timestamp_s=int(self._clock()))
        return SignatureLine.parse(line)

    def _require_own_key(self, vkey: Vkey | None) -> None:
        if vkey is None or vkey.key != self._key.public.ed25519:
            raise WitnessRefusal(f"{self.member} is not an active member with this key; nothing to cosign with")
