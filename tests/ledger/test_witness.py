"""A witness cosigns what it has checked, once, and keeps proof of what it refused."""

import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "ledger"))

from consortium_simulator import CID, ORIGIN, Consortium, key_of

from ledger.checkpoint import Checkpoint, SignedCheckpoint, is_final, sign_checkpoint, verify_cosignature
from ledger.errors import Damaged, StoreError
from ledger.evidence import verify_evidence
from ledger.finality import witness_vkey
from ledger.merkle import leaf_hash, root_of
from ledger.note import SignatureLine, Vkey
from ledger.witness import Misbehaviour, Rollback, Witness, WitnessRefusal


def attest(made: Consortium, member: str = "firm-0") -> bytes:
    return made.append("attest", member, subject="s", artifact=made.hash())


def note_over(made: Consortium, entries: list[bytes]) -> str:
    """What a dishonest log can sign: any entries, by its own key."""
    root = root_of(leaf_hash(raw) for raw in entries)
    return sign_checkpoint(Checkpoint(ORIGIN, len(entries), root), made.keys["coordinator"])


@pytest.fixture
def made() -> Consortium:
    return Consortium()


def test_it_mirrors_and_cosigns(made: Consortium) -> None:
    witness = made.witness("firm-0")
    line = SignatureLine.parse(witness.follow(made.log))
    vkey = witness_vkey(ORIGIN, "firm-0", made.log.state)
    assert vkey is not None
    body = SignedCheckpoint.parse(made.log.checkpoint()).body
    assert verify_cosignature(body, line, vkey) == int(made.clock())
    attest(made)
    witness.follow(made.log)
    assert (witness.size, witness.root) == (made.log.size, made.log.root)
    assert witness.state == made.log.state
    assert witness.entry(3) == made.log.entries(3, 4)[0]
    assert witness.note == made.log.checkpoint()
    with pytest.raises(WitnessRefusal, match="not entry"):
        witness.entry(witness.size)


def test_nothing_new_is_cosigned_again_with_the_present_time(made: Consortium) -> None:
    witness = made.witness("firm-0")
    first = witness.follow(made.log)
    made.clock.now_s += 60
    second = witness.follow(made.log)
    assert first != second
    assert made.log.add_cosignatures([second]) is False


def test_one_that_joins_late_replays_everything(made: Consortium) -> None:
    made.task()
    made.train()
    assert made.cosign()
    late = Witness(None, made.keys["firm-1"], "firm-1", made.log.vkey, CID, made.clock)
    late.follow(made.log)
    assert late.state == made.log.state


def test_an_older_checkpoint_of_the_same_history_is_refused_and_accuses_nobody(made: Consortium) -> None:
    """An honest log signed both; a message may come late. A log that goes on from an old copy makes a fork."""
    old = made.log.checkpoint()
    attest(made)
    witness = made.witness("firm-0")
    witness.follow(made.log)
    for _ in range(2):
        with pytest.raises(Rollback, match="more than") as caught:
            witness.advance([], old, [])
        assert (caught.value.known, caught.value.offered) == (made.log.checkpoint(), old)
    assert witness.evidence() == []
    assert witness.note == made.log.checkpoint()


def test_a_log_that_went_back_and_on_is_refused_with_proof(made: Consortium, tmp_path: Path) -> None:
    witness = made.witness("firm-0")
    restored = Consortium()  # the same log before what follows
    for name in ("firm-1", "firm-2"):
        attest(made, name)
    witness.follow(made.log)
    attest(restored, "firm-3")
    with pytest.raises(Misbehaviour, match="fork") as caught:
        witness.follow(restored.log)
    assert verify_evidence(caught.value.evidence, made.log.policy).proves
    assert witness.root == made.log.root


def test_a_fork_of_the_same_size_is_refused_and_kept(made: Consortium) -> None:
    witness = made.witness("firm-0")
    attest(made)
    witness.follow(made.log)
    entries = made.log.entries(0, made.log.size)
    forged = note_over(made, [*entries[:-1], made.statement("attest", "firm-1", subject="s", artifact=made.hash())])
    with pytest.raises(Misbehaviour, match="fork") as caught:
        witness.advance([], forged, [])
    assert (caught.value.known, caught.value.offered) == (made.log.checkpoint(), forged)
    assert witness.evidence() == [("fork", made.log.checkpoint(), forged)]
    assert witness.root == made.log.root


def test_a_longer_fork_is_refused_and_kept(made: Consortium) -> None:
    witness = made.witness("firm-0")
    attest(made)
    witness.follow(made.log)
    other = Consortium()
    for _ in range(4):
        attest(other, "firm-2")
    proof = other.log.consistency(witness.size, other.log.size)
    entries = other.log.entries(witness.size, other.log.size)
    with pytest.raises(Misbehaviour, match="fork"):
        witness.advance(entries, other.log.checkpoint(), proof)
    assert [kind for kind, _, _ in witness.evidence()] == ["fork"]


def test_news_for_a_mirror_of_another_size_is_a_slip_and_no_fork(made: Consortium) -> None:
    witness = made.witness("firm-0")
    attest(made)
    witness.follow(made.log)
    attest(made)
    size = made.log.size
    with pytest.raises(WitnessRefusal, match="send exactly those"):
        witness.advance(made.log.entries(0, size), made.log.checkpoint(), made.log.consistency(1, size))
    assert witness.evidence() == []
    witness.follow(made.log)


def test_a_signed_entry_that_breaks_the_rules_is_evidence(made: Consortium) -> None:
    """A log that only appends is not enough: the witness replays the rules."""
    witness = made.witness("firm-0")
    witness.follow(made.log)
    entries = made.log.entries(0, made.log.size)
    bad = made.statement("cap", "firm-0", org="firm-1", task="credit", rdp_cap=[1], delta=1)
    note = note_over(made, [*entries, bad])
    other = Consortium()
    attest(other)  # a tree of the same shape, for the proof's form
    with pytest.raises(Misbehaviour) as caught:
        witness.advance([bad], note, proof_between(entries, [*entries, bad]))
    assert caught.value.kind == "rules"
    assert witness.size == len(entries)


def proof_between(old: list[bytes], new: list[bytes]) -> list[bytes]:
    from ledger.merkle import Frontier, Node, consistency_proof

    nodes: dict[Node, bytes] = {}
    frontier = Frontier()
    for raw in new:
        frontier, complete = frontier.append(leaf_hash(raw))
        nodes.update(complete)
    return consistency_proof(len(old), len(new), lambda wanted: {node: nodes[node] for node in wanted})


def test_a_forged_signature_is_refused(made: Consortium) -> None:
    witness = made.witness("firm-0")
    entries = made.log.entries(0, made.log.size)
    payload = made.payload("attest", subject="s", artifact=made.hash())
    forged = made.sign(payload, "firm-1", key=key_of("mallory"))
    with pytest.raises(Misbehaviour, match="signature"):
        witness.advance([*entries, forged], note_over(made, [*entries, forged]), [])
    assert witness.size == 0


def test_checkpoints_of_others_are_no_evidence(made: Consortium) -> None:
    """Anyone can write nonsense: it is refused, and accuses nobody."""
    witness = made.witness("firm-0")
    witness.follow(made.log)
    attest(made)
    size = made.log.size
    point = Checkpoint(ORIGIN, size, made.log.root)
    other_log = Checkpoint("other.example", size, made.log.root)
    for note in (
        "nonsense",
        sign_checkpoint(point, key_of("mallory")),
        sign_checkpoint(other_log, made.keys["coordinator"]),
        made.log.checkpoint().replace(f"\n{size}\n", f"\n{size + 1}\n"),
    ):
        with pytest.raises(WitnessRefusal):
            witness.advance(made.log.entries(size - 1, size), note, made.log.consistency(size - 1, size))
    assert witness.evidence() == []


def test_entries_that_do_not_belong_are_refused(made: Consortium) -> None:
    witness = made.witness("firm-0")
    note, entries = made.log.checkpoint(), made.log.entries(0, made.log.size)
    for wrong in (entries[:-1], [*entries, entries[-1]], [], entries[::-1]):
        with pytest.raises(WitnessRefusal):
            witness.advance(wrong, note, [])
    changed = Consortium(seed="other")
    with pytest.raises(WitnessRefusal, match="not those of checkpoint"):
        witness.advance(changed.log.entries(0, changed.log.size), note, [])
    assert (witness.size, witness.evidence()) == (0, [])
    witness.advance(entries, note, [])


def test_only_an_active_member_cosigns_with_its_own_key(made: Consortium) -> None:
    for member, key in (("stranger", key_of("stranger")), ("firm-0", key_of("mallory"))):
        witness = Witness(None, key, member, made.log.vkey, CID, made.clock)
        with pytest.raises(WitnessRefusal, match="not an active member"):
            witness.follow(made.log)
        assert witness.size == 0


def test_it_goes_on_where_it_stopped(made: Consortium, tmp_path: Path) -> None:
    path = tmp_path / "mirror.db"
    witness = made.witness("firm-0", path)
    witness.follow(made.log)
    with pytest.raises(StoreError, match="another process is using this mirror"):
        Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock)
    witness.close()
    old = made.log.checkpoint()
    attest(made)
    with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as again:
        assert (again.size, again.note) == (made.log.size - 1, old)
        again.follow(made.log)
        forged = note_over(made, made.log.entries(0, 3))
        with pytest.raises(Rollback):
            again.advance([], forged, [])
        forged = note_over(made, made.log.entries(1, 4))
        with pytest.raises(Misbehaviour, match="fork"):
            again.advance([], forged, [])
    with Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock) as third:
        assert [kind for kind, _, _ in third.evidence()] == ["fork"]
        assert verify_evidence(third.mirror.evidence_files()[0], made.log.policy).proves


def test_a_mirror_belongs_to_one_member_and_log(made: Consortium, tmp_path: Path) -> None:
    path = tmp_path / "mirror.db"
    made.witness("firm-0", path).follow(made.log)
    made.witness("firm-0").close()
    with pytest.raises(WitnessRefusal, match="member"):
        Witness(path, made.keys["firm-1"], "firm-1", made.log.vkey, CID)
    elsewhere = Vkey.of_log("other.example", made.keys["coordinator"].public)
    with pytest.raises(WitnessRefusal, match="origin"):
        Witness(path, made.keys["firm-0"], "firm-0", elsewhere, CID)


def test_a_damaged_mirror_does_not_cosign(made: Consortium, tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "mirror.db"
    made.witness("firm-0", path).follow(made.log)
    made.witness("firm-0").close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE entries SET raw = zeroblob(3) WHERE idx = 2")
    with pytest.raises(Damaged, match="entry 2"):
        Witness(path, made.keys["firm-0"], "firm-0", made.log.vkey, CID)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=14))
def test_two_forks_are_never_both_final(schedule: list[tuple[int, bool]]) -> None:
    """A dishonest log shows two histories to the witnesses in any order; one witness lies for both."""
    left, right = Consortium(), Consortium()
    attest(left, "firm-0")
    attest(right, "firm-1")
    witnesses = {name: left.witness(name) for name in left.members[:4]}
    liars = {"bank-0": [left.witness("bank-0"), right.witness("bank-0")]}
    lines: tuple[list[str], list[str]] = ([], [])
    for number, to_right in schedule:
        fork = right if to_right else left
        name = left.members[number]
        witness = liars[name][to_right] if name in liars else witnesses[name]
        with contextlib.suppress(Misbehaviour):
            lines[to_right].append(witness.follow(fork.log))
    notes = [made.log.checkpoint() + "".join(cosigned) for made, cosigned in zip((left, right), lines, strict=True)]
    assert sum(is_final(note, left.log.policy) for note in notes) <= 1
