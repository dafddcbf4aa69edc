"""What a lying source says about a handover, and a log that lies about its base."""

from pathlib import Path

import pytest
from consortium_simulator import CID, START_S, Consortium, key_of

from ledger.checkpoint import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint, witness_name
from ledger.continuation import continue_log
from ledger.divergence import is_handover
from ledger.evidence import rules_evidence, verify_evidence
from ledger.handover import propose, successor
from ledger.merkle import consistency_proof, leaf_hash, root_of
from ledger.mirror import Mirror
from ledger.rules import COORDINATOR, approve
from ledger.source import Misbehaviour
from ledger.statement import sign_statement
from ledger.subtrees import subtrees_of

NEW = key_of("new home")


def test_a_statement_without_a_type_is_no_handover() -> None:
    assert not is_handover(sign_statement({"v": 1}, issuer="x", subject="y", key=key_of("z")))


def test_a_returning_sequencer_learns_of_its_successor_also_after_many_changes(tmp_path: Path) -> None:
    """The founders' own quorum cosigns nothing any more: only the checkpoints on the way tell who does."""
    made = Consortium(firms=3)
    for number in range(4, 8):
        name = f"firm-{number}"
        made.keys[name] = key_of(name)
        key = made.keys[name].public.raw
        made.log.append([made.approved(made.members, "enrol", member=name, kind="firm", key=key, name=name)])
        made.members.append(name)
        made.cosign()
    for name in ("firm-0", "firm-1"):
        made.log.append([made.approved(made.members, "suspend", member=name, reason="left")])
        made.cosign()
        made.members.remove(name)
        made.cosign()
    witnesses = [made.witness(name) for name in made.members]
    for witness in witnesses:
        witness.follow(made.log)
        final = made.log.final()
        assert final is not None
        witness.mirror.learn(final)
    first = witnesses[0]
    proposal = propose(first.mirror, NEW.public, ts=START_S, entropy=made.entropy)
    for witness in witnesses:
        proposal = witness.approve(proposal)
    raw = proposal.statement(first.state, issuer=first.member, key=made.keys[first.member])
    founded, copy = made.log.vkey, first.mirror
    with continue_log(tmp_path / "new.db", copy, NEW, raw, founded=founded, cid=CID, clock=made.clock) as new:
        assert new.add_cosignatures([witness.follow(new) for witness in witnesses])
        copy.follow(new)
        found = successor(made.log.state, copy, founded, made.clock)
    assert found is not None
    assert found.key == NEW.public


class FalseSource:
    """A fork that is final, whose source shows a handover where there is none."""

    def __init__(self, note: str, entries: list[bytes], at: int, shown: bytes) -> None:
        self._note, self._entries, self._at, self._shown = note, entries, at, shown
        self._asked = 0

    def checkpoint(self) -> str:
        return self._note

    def final(self) -> str:
        return self._note

    def entries(self, start: int, end: int) -> list[bytes]:
        if (start, end) == (self._at, self._at + 1):
            self._asked += 1
            if self._asked == 1:
                return [self._shown]
        return self._entries[start:end]

    def consistency(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, subtrees_of([leaf_hash(raw) for raw in self._entries])) if old else []


def test_a_fork_without_a_handover_is_no_reason_to_set_anything_aside() -> None:
    """Four of five members are liars here: even then the fork is kept as evidence."""
    made = Consortium()
    made.cosign()
    base = made.log.size
    attested = [made.statement("attest", "firm-0", subject="s", artifact=made.hash()) for _ in range(3)]
    made.log.append(attested[:1])
    witness = made.witness("firm-0")
    witness.follow(made.log)
    entries = made.log.entries(0, base) + attested[1:]
    root = root_of(leaf_hash(raw) for raw in entries)
    note = cosigned(made, sign_checkpoint(Checkpoint(made.log.origin, len(entries), root), made.keys[COORDINATOR]))
    payload = made.payload(
        "handover",
        parent=made.log.state.membership_digest,
        log=NEW.public.raw,
        next_log=None,
        size=base,
        root=root,
        approvals=[],
    )
    source = FalseSource(note, entries, base, made.sign(payload))
    with pytest.raises(Misbehaviour):
        witness.follow(source)
    assert witness.size == base + 1
    assert witness.evidence()[0][0] == "fork"


def cosigned(made: Consortium, note: str) -> str:
    body = SignedCheckpoint.parse(note).body
    return note + "".join(
        cosign(body, name=witness_name(made.log.origin, name), key=made.keys[name], timestamp_s=START_S)
        for name in made.members[1:]
    )


def test_a_handover_with_another_root_is_a_broken_rule() -> None:
    made = Consortium()
    made.cosign()
    mirror = Mirror(None, made.log.vkey, CID, made.clock)
    mirror.follow(made.log)
    size = made.log.size
    payload = made.payload(
        "handover",
        parent=made.log.state.membership_digest,
        log=NEW.public.raw,
        next_log=None,
        size=size,
        root=b"\x01" * 32,
        approvals=[],
    )
    payload["approvals"] = [approve(payload, name, made.keys[name]) for name in made.members]
    entry = made.sign(payload)
    leaves = [leaf_hash(raw) for raw in [*made.log.entries(0, size), entry]]
    note = sign_checkpoint(Checkpoint(made.log.origin, size + 1, root_of(leaves)), made.keys[COORDINATOR])
    shown = verify_evidence(rules_evidence(note, leaves, size, entry), made.log.policy, mirror)
    assert shown.proves
    assert "its root is not that" in shown.words[-1]
