"""Evidence convicts a log that lied, to anyone with the policy; an honest log is never accused; no byte may change."""

from typing import Any

import pytest
from consortium_simulator import CID, ORIGIN, START_S, Consortium, key_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.checkpoint import FUTURE_TOLERANCE_S, Checkpoint, SignedCheckpoint, cosign, sign_checkpoint, witness_name
from ledger.encoding import decode, encode
from ledger.evidence import (
    EvidenceError,
    fork_evidence,
    notes_evidence,
    promise_evidence,
    rules_evidence,
    verify_evidence,
)
from ledger.keys import PublicKey
from ledger.merkle import consistency_proof, leaf_hash, root_of
from ledger.mirror import Mirror
from ledger.note import Vkey
from ledger.rules import COORDINATOR, commitment
from ledger.service.promise import Promise
from ledger.source import Misbehaviour, WitnessRefusal
from ledger.statement import decode_statement
from ledger.subtrees import subtrees_of
from ledger.succession import key_lines


def attest(made: Consortium, member: str = "firm-0") -> bytes:
    return made.append("attest", member, subject="s", artifact=made.hash())


def note_over(made: Consortium, entries: list[bytes], key: str = COORDINATOR) -> str:
    root = root_of(leaf_hash(raw) for raw in entries)
    return sign_checkpoint(Checkpoint(ORIGIN, len(entries), root), made.keys.get(key) or key_of(key))


def leaves_of(entries: list[bytes]) -> list[bytes]:
    return [leaf_hash(raw) for raw in entries]


@pytest.fixture
def made() -> Consortium:
    consortium = Consortium()
    for _ in range(3):
        attest(consortium)
    return consortium


@pytest.fixture
def mirror(made: Consortium) -> Mirror:
    found = Mirror(None, made.log.vkey, CID, made.clock)
    found.follow(made.log)
    return found


def fork_of(made: Consortium, length: int, at: int) -> list[bytes]:
    """Other entries from `at` on, as a lying log would have them."""
    kept = made.log.entries(0, at)
    return kept + [made.statement("attest", "firm-2", subject="s", artifact=made.hash()) for _ in range(length - at)]


# forks


def test_two_roots_of_one_size(made: Consortium) -> None:
    other = note_over(made, fork_of(made, made.log.size, 6))
    file = fork_evidence(made.log.checkpoint(), other, SignedCheckpoint.parse(other).checkpoint.root, [])
    shown = verify_evidence(file, made.log.policy)
    assert (shown.kind, shown.proves, shown.origin) == ("fork", True, ORIGIN)
    assert any("two histories" in line for line in shown.words)


@pytest.mark.parametrize("size", [7, 8, 11])
@pytest.mark.parametrize("other_size", [7, 8, 9, 20])
def test_two_sizes_are_convicted_by_a_consistency_proof(made: Consortium, size: int, other_size: int) -> None:
    own, other = fork_of(made, size, 6), fork_of(made, other_size, 6)
    smaller, larger = sorted((own, other), key=len)
    fetch = subtrees_of(leaves_of(larger))
    root = root_of(leaves_of(larger[: len(smaller)]))
    path = consistency_proof(len(smaller), len(larger), fetch)
    file = fork_evidence(note_over(made, own), note_over(made, other), root, path)
    assert verify_evidence(file, made.log.policy).proves


def test_a_mirror_makes_it_from_what_the_log_itself_serves(made: Consortium, mirror: Mirror) -> None:
    for length in range(made.log.size - 1, made.log.size + 9):
        lying = Lying(made, fork_of(made, length, 6))
        with pytest.raises(Misbehaviour) as caught:
            mirror.follow(lying)
        assert verify_evidence(caught.value.evidence, made.log.policy).kind == "fork"
    assert len(mirror.evidence_files()) == 10
    assert mirror.root == made.log.root


def test_a_log_that_gives_no_proof_is_not_convicted_but_remembered(made: Consortium, mirror: Mirror) -> None:
    silent = Lying(made, fork_of(made, made.log.size + 3, 6), silent=True)
    with pytest.raises(WitnessRefusal, match="no proof") as caught:
        mirror.follow(silent)
    assert not isinstance(caught.value, Misbehaviour)
    (file,) = mirror.evidence_files()
    shown = verify_evidence(file, made.log.policy)
    assert (shown.kind, shown.proves) == ("notes", False)
    assert any("alone proves nothing" in line for line in shown.words)


def test_what_another_key_signed_leaves_no_evidence(made: Consortium, mirror: Mirror) -> None:
    """Else anyone could make a witness accuse an honest log."""
    for length in range(made.log.size - 1, made.log.size + 3):
        lying = Lying(made, fork_of(made, length, 6), key="mallory")
        with pytest.raises(WitnessRefusal, match="not signed") as caught:
            mirror.follow(lying)
        assert not isinstance(caught.value, Misbehaviour)
    entries = made.log.entries(0, made.log.size)
    bad = made.statement("cap", "firm-0", org="firm-1", task="credit", rdp_cap=[1], delta=1)
    with pytest.raises(WitnessRefusal, match="not signed") as caught:
        mirror.follow(Lying(made, [*entries, bad], key="mallory"))
    assert not isinstance(caught.value, Misbehaviour)
    assert mirror.evidence() == []


class Lying:
    """A log that shows other entries, with its real key."""

    def __init__(self, made: Consortium, entries: list[bytes], *, silent: bool = False, key: str = COORDINATOR) -> None:
        self.note = note_over(made, entries, key)
        self.kept = entries
        self.silent = silent

    def checkpoint(self) -> str:
        return self.note

    def final(self) -> str | None:
        return None

    def entries(self, start: int, end: int) -> list[bytes]:
        return [bytes(3)] * (end - start) if self.silent else self.kept[start:end]

    def consistency(self, old: int, new: int) -> list[bytes]:
        return [bytes(32)] if self.silent else consistency_proof(old, new, subtrees_of(leaves_of(self.kept[:new])))


@settings(max_examples=60, deadline=None)
@given(st.integers(6, 40), st.integers(6, 40), st.data())
def test_no_two_checkpoints_of_an_honest_log_make_evidence(one: int, other: int, data: Any) -> None:
    made = Consortium()
    entries = fork_of(made, 40, 6)
    small, large = sorted((one, other))
    notes = note_over(made, entries[:one]), note_over(made, entries[:other])
    fetch = subtrees_of(leaves_of(entries[:large]))
    path = consistency_proof(small, large, fetch)
    root = data.draw(st.sampled_from([root_of(leaves_of(entries[:small])), bytes(32), *path]))
    changed = data.draw(st.sampled_from([path, path[:-1], [*path, bytes(32)], path[::-1]]))
    with pytest.raises(EvidenceError):
        verify_evidence(fork_evidence(*notes, root, changed), made.log.policy)


def test_two_keys_accuse_nobody(made: Consortium) -> None:
    """After a handover the log has a new key; what the lost one signed and was never final convicts neither."""
    stranger = note_over(made, fork_of(made, made.log.size, 6), key="new home")
    root = SignedCheckpoint.parse(stranger).checkpoint.root
    both = made.log.policy
    with pytest.raises(EvidenceError, match="no single log key"):
        verify_evidence(fork_evidence(made.log.checkpoint(), stranger, root, []), both)


# broken rules


def broken(made: Consortium) -> tuple[bytes, bytes]:
    """Evidence of an entry that no log may take, and the entry."""
    entries = made.log.entries(0, made.log.size)
    bad = made.statement("cap", "firm-0", org="firm-1", task="credit", rdp_cap=[1], delta=1)
    later = made.statement("attest", "firm-2", subject="s", artifact=made.hash())
    leaves = leaves_of([*entries, bad, later])
    return rules_evidence(note_over(made, [*entries, bad, later]), leaves, len(entries), bad), bad


def test_a_broken_rule_is_judged_by_replaying(made: Consortium, mirror: Mirror) -> None:
    file, _ = broken(made)
    shown = verify_evidence(file, made.log.policy, mirror)
    assert (shown.kind, shown.proves) == ("rules", True)
    assert any("refused by the rule" in line for line in shown.words)
    with pytest.raises(EvidenceError, match="give a mirror"):
        verify_evidence(file, made.log.policy)


def test_a_later_mirror_judges_too(made: Consortium, mirror: Mirror) -> None:
    file, _ = broken(made)
    attest(made)
    mirror.follow(made.log)
    assert verify_evidence(file, made.log.policy, mirror).proves


def test_a_mirror_keeps_the_file(made: Consortium, mirror: Mirror) -> None:
    entries = made.log.entries(0, made.log.size)
    cap = made.statement("cap", "firm-0", org="firm-1", task="credit", rdp_cap=[1], delta=1)
    later = made.statement("attest", "firm-2", subject="s", artifact=made.hash())
    for bad in (cap, bytes(5)):
        with pytest.raises(Misbehaviour, match="rules") as caught:
            mirror.follow(Lying(made, [*entries, bad, later]))
        assert verify_evidence(caught.value.evidence, made.log.policy, mirror).proves
    assert [kind for kind, _, _ in mirror.evidence()] == ["rules", "rules"]
    assert (mirror.size, mirror.root) == (made.log.size, made.log.root)


def test_an_allowed_entry_accuses_nobody(made: Consortium, mirror: Mirror) -> None:
    entries = made.log.entries(0, made.log.size)
    for index in range(len(entries)):
        file = rules_evidence(made.log.checkpoint(), leaves_of(entries), index, entries[index])
        with pytest.raises(EvidenceError, match="the rules allow"):
            verify_evidence(file, made.log.policy, mirror)


def test_other_entries_before_it_accuse_nobody(made: Consortium) -> None:
    file, _ = broken(made)
    other = Consortium(seed="other")
    elsewhere = Mirror(None, other.log.vkey, CID, other.clock)
    for _ in range(5):
        attest(other)
    elsewhere.follow(other.log)
    with pytest.raises(EvidenceError, match="not those before"):
        verify_evidence(file, made.log.policy, elsewhere)


# broken promises


def promised(made: Consortium, raw: bytes, index: int, deadline_s: int = START_S + 60) -> bytes:
    digest = decode_statement(raw).digest
    return Promise(ORIGIN, digest, index, START_S, deadline_s).sign(made.keys[COORDINATOR])


def cosigned(made: Consortium, note: str, times: dict[str, int]) -> str:
    signed = SignedCheckpoint.parse(note)
    return note + "".join(
        cosign(signed.body, name=witness_name(ORIGIN, member), key=made.keys[member], timestamp_s=time_s)
        for member, time_s in times.items()
    )


LATE = START_S + 60 + FUTURE_TOLERANCE_S + 1


def test_a_promise_is_broken_by_a_late_final_checkpoint_without_it(made: Consortium) -> None:
    raw = made.statement("attest", "firm-0", subject="s", artifact=made.hash())
    promise = promised(made, raw, made.log.size)
    note = cosigned(made, made.log.checkpoint(), dict.fromkeys(made.members[:4], LATE))
    shown = verify_evidence(promise_evidence(promise, note), made.log.policy)
    assert (shown.kind, shown.proves) == ("promise", True)
    assert shown.words[-1].startswith("No quorum had cosigned a checkpoint that holds it by then")  # and no more
    early = cosigned(made, made.log.checkpoint(), {**dict.fromkeys(made.members[:4], LATE), "firm-0": LATE - 1})
    with pytest.raises(EvidenceError, match="fewer than a quorum"):
        verify_evidence(promise_evidence(promise, early), made.log.policy)


def test_a_promise_is_broken_by_another_entry_at_its_place(made: Consortium) -> None:
    raw = made.statement("attest", "firm-0", subject="s", artifact=made.hash())
    index = made.log.size - 1
    (other,) = made.log.entries(index, index + 1)
    path = made.log.inclusion(index, made.log.size)
    promise = promised(made, raw, index)
    assert verify_evidence(promise_evidence(promise, made.log.checkpoint(), other, path), made.log.policy).proves
    kept = promised(made, other, index)
    with pytest.raises(EvidenceError, match="the promise is kept"):
        verify_evidence(promise_evidence(kept, made.log.checkpoint(), other, path), made.log.policy)


def test_a_kept_promise_accuses_nobody(made: Consortium) -> None:
    raw = attest(made)
    promise = promised(made, raw, made.log.size - 1)
    note = cosigned(made, made.log.checkpoint(), dict.fromkeys(made.members, LATE))
    with pytest.raises(EvidenceError, match="show which entry"):
        verify_evidence(promise_evidence(promise, note), made.log.policy)


def test_a_promise_by_another_key_accuses_nobody(made: Consortium) -> None:
    raw = made.statement("attest", "firm-0", subject="s", artifact=made.hash())
    forged = Promise(ORIGIN, decode_statement(raw).digest, made.log.size, START_S, START_S).sign(key_of("mallory"))
    note = cosigned(made, made.log.checkpoint(), dict.fromkeys(made.members, LATE))
    with pytest.raises(EvidenceError, match="not by the key"):
        verify_evidence(promise_evidence(forged, note), made.log.policy)


# keys that change in between

SECOND = key_of("the log's second key")


def rotating() -> tuple[Consortium, bytes]:
    """A consortium whose log is about to rotate, and the record with which it does."""
    made = Consortium(founded=False)
    made.log.append(made.genesis(next_log=commitment(SECOND.public)))
    fields: dict[str, Any] = {"member": "log", "key": SECOND.public.raw, "next_log": None, "approvals": []}
    return made, made.statement("rotate", parent=made.log.state.membership_digest, **fields)


def test_a_log_does_not_escape_its_promise_by_rotating() -> None:
    made, rotate = rotating()
    raw, policy = made.statement("attest", "firm-0", subject="s", artifact=made.hash()), made.log.policy
    index = made.log.size + 1
    promise = promised(made, raw, index)
    made.log.append([rotate])
    made.log.use_key(SECOND)
    other = attest(made)
    file = promise_evidence(promise, made.log.checkpoint(), other, made.log.inclusion(index, made.log.size))
    with Mirror(None, Vkey.of_log(ORIGIN, made.keys[COORDINATOR].public), CID, made.clock) as mirror:
        with pytest.raises(EvidenceError, match="a mirror that has the rotation"):
            verify_evidence(file, policy)
        with pytest.raises(EvidenceError, match="a mirror that has the rotation"):
            verify_evidence(file, policy, mirror)
        mirror.follow(made.log)
        assert verify_evidence(file, policy, mirror).proves


def test_nor_its_fork() -> None:
    made, rotate = rotating()
    policy, own = made.log.policy, attest(made)
    earlier = made.log.checkpoint()
    kept = made.log.entries(0, made.log.size - 1)
    later = sign_checkpoint(Checkpoint(ORIGIN, len(kept) + 1, root_of(leaves_of([*kept, rotate]))), SECOND)
    file = fork_evidence(earlier, later, SignedCheckpoint.parse(later).checkpoint.root, [])
    made.log.append([rotate])
    made.log.use_key(SECOND)
    with Mirror(None, Vkey.of_log(ORIGIN, made.keys[COORDINATOR].public), CID, made.clock) as mirror:
        mirror.follow(made.log)
        shown = verify_evidence(file, policy, mirror)
    assert (shown.proves, "after rotating" in shown.words[0], own in kept) == (True, True, False)


def test_nor_a_broken_rule_in_the_same_batch() -> None:
    made, rotate = rotating()
    policy, founding = made.log.policy, Vkey.of_log(ORIGIN, made.keys[COORDINATOR].public)
    bad = made.statement("cap", "firm-0", org="firm-1", task="credit", rdp_cap=[1], delta=1)
    made.keys["second"] = SECOND
    entries = made.log.entries(0, made.log.size)
    with Mirror(None, founding, CID, made.clock) as mirror:
        mirror.follow(made.log)
        with pytest.raises(Misbehaviour, match="rules") as caught:
            mirror.follow(Lying(made, [*entries, rotate, bad], key="second"))
        file = caught.value.evidence
        assert verify_evidence(file, policy, mirror).proves
        with pytest.raises(WitnessRefusal, match="not signed"):
            mirror.follow(Lying(made, [*entries, rotate, bad]))  # void since the rotation
        fields = decode(file, what="it")
        for before in ([], [bad], [rotate] * 9, [rotate, rotate]):
            with pytest.raises(EvidenceError):
                verify_evidence(encode({**fields, "before": before}), policy, mirror)


def test_a_key_that_a_handover_names_is_anothers() -> None:
    made = Consortium()
    made.cosign()
    fields = {"log": SECOND.public.raw, "next_log": None, "size": made.log.size, "root": made.log.root}
    handover = made.approved(made.members[:4], "handover", "firm-1", **fields)
    founded = PublicKey(made.keys[COORDINATOR].public.raw)
    assert key_lines([*made.log.entries(0, made.log.size), handover]) == [[founded], [SECOND.public]]
    made, rotate = rotating()
    assert key_lines([*made.log.entries(0, made.log.size), rotate]) == [[founded, SECOND.public]]


# the files


def files(made: Consortium) -> list[bytes]:
    other = note_over(made, fork_of(made, made.log.size, 6))
    raw = made.statement("attest", "firm-0", subject="s", artifact=made.hash())
    note = cosigned(made, made.log.checkpoint(), dict.fromkeys(made.members[:4], LATE))
    return [
        fork_evidence(made.log.checkpoint(), other, SignedCheckpoint.parse(other).checkpoint.root, []),
        broken(made)[0],
        promise_evidence(promised(made, raw, made.log.size), note),
        notes_evidence(made.log.checkpoint(), other),
    ]


def test_every_changed_bit_is_refused(made: Consortium, mirror: Mirror) -> None:
    for file in files(made):
        verify_evidence(file, made.log.policy, mirror)
        for place in range(0, len(file), 3):
            changed = bytearray(file)
            changed[place] ^= 1 << place % 8
            with pytest.raises(EvidenceError):
                verify_evidence(bytes(changed), made.log.policy, mirror)


def test_malformed_files_are_refused_by_name(made: Consortium) -> None:
    file = files(made)[0]
    fields = decode(file, what="it")
    for changed, match in (
        ({**fields, "v": 2}, "version"),
        ({**fields, "kind": "slander"}, "unknown kind"),
        ({**fields, "more": 1}, "fields of its kind"),
        ({**fields, "root": bytes(31)}, "'root'"),
        ({**fields, "path": [bytes(31)]}, "'path'"),
        ({**fields, "smaller": b""}, "'smaller'"),
    ):
        with pytest.raises(EvidenceError, match=match):
            verify_evidence(encode(changed), made.log.policy)
    for raw in (b"", file[:-1], file + b"\x00", bytes(5 << 20)):
        with pytest.raises(EvidenceError):
            verify_evidence(raw, made.log.policy)


def test_another_policy_believes_none_of_it(made: Consortium, mirror: Mirror) -> None:
    other = Consortium(seed="other")
    for file in files(made):
        with pytest.raises(EvidenceError):
            verify_evidence(file, other.log.policy, mirror)
