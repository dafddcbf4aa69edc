"""Handover: when the sequencer is gone, a quorum lets another one continue from what is final.

The steps, for people:

1. `bring_up`: the members bring each other to the longest checkpoint that the lost log signed for any of them, and
   cosign it. Exported directories are enough for that.
2. `propose`: one of them proposes a new log key and names the base, the size and root of that checkpoint.
3. `Witness.approve`: each member that has cosigned exactly the base promises, durably, and then approves.
4. `ledger.log.Log.continue_from` starts the new log, whose first new entry is the approved record.
5. Witnesses follow the new log. A member that had cosigned entries beyond the base sets them aside only when the new
   history is final; the lost log, should it come back, finds no quorum (`successor`).

Why two histories never become final is argued in docs/adr/0007-handover.md.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.checkpoint import SignedCheckpoint
from ledger.electorate import Membership
from ledger.genesis import record
from ledger.intake import approved_digest
from ledger.keys import PublicKey
from ledger.log import Clock
from ledger.mirror import Mirror
from ledger.note import Vkey
from ledger.proposal import Proposal, ProposalError
from ledger.rules import LogKey, State, commitment
from ledger.source import Copy, Source, WitnessRefusal

_FACT = "handover"


class Follower(Protocol):
    """A `ledger.witness.Witness`, as far as it is needed here."""

    name: str

    @property
    def mirror(self) -> Mirror: ...
    @property
    def size(self) -> int: ...
    def follow(self, source: Source) -> str: ...


@dataclass(frozen=True)
class Promise:
    """What a member bound its witness to when it approved a handover.

    Attributes:
        size: number of entries of the base.
        record: 32 bytes, `ledger.intake.approved_digest` of the approved record.
        log: 32 bytes, the new log's key.
    """

    size: int
    record: bytes
    log: bytes


def propose(
    mirror: Mirror,
    log: PublicKey,
    *,
    following: PublicKey | None = None,
    ts: int,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Proposal:
    """Propose that the log goes on under another key after all that `mirror` has, which must be final.

    Args:
        log: the new sequencer's key, made for this and never used before.
        following: the key to which that one may go over later, without a quorum.
        ts: seconds since the epoch, advisory.

    Raises:
        WitnessRefusal: what is mirrored is not final, or the key has been used.
    """
    _require_final(mirror)
    _require_fresh(mirror.state, log.raw)
    payload = record(
        "handover",
        cid=mirror.state.cid,
        record_id=entropy(16),
        ts=ts,
        parent=mirror.state.membership_digest,
        log=log.raw,
        next_log=None if following is None else commitment(following),
        size=mirror.size,
        root=mirror.root,
        approvals=[],
    )
    return Proposal.of(payload)


def require_approvable(mirror: Mirror, proposal: Proposal) -> Promise:
    """What a member promises by approving `proposal`, if its mirror allows that.

    Raises:
        ProposalError: it is no handover of this consortium.
        WitnessRefusal: the base is not exactly what is mirrored, or that is not final; or the key serves elsewhere.
    """
    payload = proposal.payload
    if payload["t"] != "handover" or payload["cid"] != mirror.state.cid:
        raise ProposalError(f"this is not a handover of the consortium {mirror.state.cid!r}")
    if (payload["size"], payload["root"]) != (mirror.size, mirror.root):
        raise WitnessRefusal(
            f"the handover continues {payload['size']} entries with root {payload['root'].hex()[:16]}, this member has "
            f"cosigned {mirror.size} with root {mirror.root.hex()[:16]}; bring everybody to the longest, then propose"
        )
    _require_final(mirror)
    _require_fresh(mirror.state, payload["log"])
    promise = Promise(payload["size"], approved_digest(payload), payload["log"])
    for earlier in _promises(mirror.facts):
        if earlier.log == promise.log and earlier.record != promise.record:
            raise WitnessRefusal(
                "the new log's key stood in another proposal; a key that begins two logs condemns itself"
            )
    return promise


def bring_up(witness: Follower, sources: Sequence[Source]) -> str:
    """Bring a member to the longest checkpoint that any source has, and keep all cosignatures; return its own line.

    Args:
        witness: a `ledger.witness.Witness`.
        sources: other members' mirrors or exported directories.

    Raises:
        Misbehaviour: one of the sources shows another history.
        WitnessRefusal: a source has something that this member cannot take.
    """
    for source in sorted(sources, key=_size_of, reverse=True):
        size = _size_of(source)
        if size >= witness.size or not _is_known(witness.mirror, source):
            witness.follow(source)
    # Cosigned once, it stays at that: made again, the line would say that nothing longer was known at this later time.
    lines = SignedCheckpoint.parse(witness.mirror.checkpoint()).lines
    own = next((str(line) for line in lines if line.name == witness.name), "")
    return own or witness.follow(witness.mirror)


def successor(state: State, source: Copy, founded: Vkey, clock: Clock = time.time) -> LogKey | None:
    """The key under which the log goes on elsewhere, if `source` shows that this is final; else None.

    A sequencer that comes back asks this of the members' copies before it serves: a log with a successor must stop.

    Args:
        state: the returning log's own state.
        founded: the key that the log was founded with.

    Raises:
        WitnessRefusal, Misbehaviour: the source is no copy of this log.
    """
    with Mirror(None, founded, state.cid, clock) as mirror:
        mirror.rebuild(source)
        return None if mirror.state.founding else successor_in(state, mirror.state, mirror.settled)


def successor_in(state: State, other: State, settled: Membership) -> LogKey | None:
    """The same by what is known of a copy: its state `other`, and who belongs by what is final there.

    A copy that is behind names an earlier key of the log, which the log's own state knows.
    """
    final = PublicKey(settled.log)
    if final.kid in state.keys:
        return None
    if other.log is not None and other.log.key == final:
        return other.log
    return LogKey(final, None, settled.since - 1)  # the one after it is not final yet


def latest_promise(facts: Mapping[str, str]) -> Promise | None:
    """The promise that binds a witness: the last of those that its mirror has noted."""
    return next(reversed(_promises(facts)), None)


def noted(facts: Mapping[str, str], promise: Promise) -> tuple[str, str]:
    """The fact under which a mirror notes a promise, after those that it has."""
    number = len(_promises(facts)) + 1
    return f"{_FACT}-{number:06d}", f"{promise.size} {promise.record.hex()} {promise.log.hex()}"


def _promises(facts: Mapping[str, str]) -> list[Promise]:
    found = []
    for name in sorted(name for name in facts if name.startswith(f"{_FACT}-")):
        size, digest, log = facts[name].split(" ")
        found.append(Promise(int(size), bytes.fromhex(digest), bytes.fromhex(log)))
    return found


def _require_final(mirror: Mirror) -> None:
    if mirror.size == 0 or mirror.final_size != mirror.size:
        raise WitnessRefusal(
            f"{mirror.size} entries are mirrored and {mirror.final_size} of them are final; bring the members together "
            "first, so that the base of the handover is final: artesian ledger handover bring-up COPIES --home HOME"
        )


def _require_fresh(state: State, raw: bytes) -> None:
    if state.keys.get(PublicKey(raw).kid) is not None:
        raise WitnessRefusal("the new log's key has been used on this ledger; make a new one for the handover")


def _size_of(source: Source) -> int:
    return SignedCheckpoint.parse(source.checkpoint()).checkpoint.size


def _is_known(mirror: Mirror, source: Source) -> bool:
    point = SignedCheckpoint.parse(source.checkpoint()).checkpoint
    return mirror.root_at(point.size) == point.root
