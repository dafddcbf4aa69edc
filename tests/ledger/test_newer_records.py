"""Records of a newer version: an older program stops and says so; it cosigns nothing and accuses nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from consortium_simulator import CID, Consortium

import ledger.rules.records
import ledger.statement
from ledger.evidence import EvidenceError, rules_evidence, verify_evidence
from ledger.log import Log
from ledger.merkle import leaf_hash
from ledger.mirror import Mirror
from ledger.proposal import Proposal, ProposalError
from ledger.source import Misbehaviour, WitnessRefusal
from ledger.statement import NewerRecord, decode_statement


def newer(patch: pytest.MonkeyPatch) -> None:
    """From here on this process is a release that makes and judges records of version 2."""
    patch.setattr(ledger.statement, "PAYLOAD_VERSION", 2)
    patch.setattr(ledger.rules.records, "PAYLOAD_VERSION", 2)


def allow_newer(made: Consortium) -> bytes:
    """The record that begins version 2: a quorum, all of which reads it, approves a policy of that version."""
    with pytest.MonkeyPatch.context() as patch:
        newer(patch)
        entry = made.approved(
            made.members,
            "policy",
            v=2,
            parent=made.log.state.membership_digest,
            coordinator=made.keys["coordinator"].public.raw,
            min_cohort=2,
            config=None,
            founders=None,
            signatures="ed25519",
            log=None,
            next_log=None,
        )
        made.log.append([entry])
    return entry


@pytest.fixture
def made() -> Consortium:
    return Consortium()


def test_an_older_witness_stops_at_a_newer_record_and_says_so(made: Consortium) -> None:
    witness = made.witness("firm-0")
    witness.follow(made.log)
    size = witness.size
    allow_newer(made)
    with pytest.raises(WitnessRefusal, match=f"entry {size} cannot be judged: record version 2 .* upgrade it") as told:
        witness.follow(made.log)
    assert not isinstance(told.value, Misbehaviour)
    assert (witness.size, witness.evidence()) == (size, [])
    news = made.log.entries(size, size + 1), made.log.checkpoint(), made.log.consistency(size, size + 1)
    with pytest.raises(WitnessRefusal, match="nothing is cosigned"):
        witness.advance(*news)


def test_after_its_upgrade_it_goes_on_where_it_was(made: Consortium) -> None:
    witness = made.witness("firm-0")
    witness.follow(made.log)
    allow_newer(made)
    with pytest.raises(WitnessRefusal):
        witness.follow(made.log)
    with pytest.MonkeyPatch.context() as patch:
        newer(patch)
        assert witness.follow(made.log)
    assert witness.size == made.log.size


def test_an_older_member_does_not_approve_what_would_begin_it(made: Consortium) -> None:
    payload = dict(decode_newer(allow_newer(made)))
    with pytest.raises(ProposalError, match="the field 'v' of the policy record must be 1"):
        Proposal.of(payload)


def decode_newer(entry: bytes) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        newer(patch)
        return dict(decode_statement(entry).payload)


def test_an_older_program_convicts_nobody_of_what_it_cannot_judge(made: Consortium) -> None:
    mirror = Mirror(None, made.log.vkey, CID, made.clock)
    mirror.follow(made.log)
    entry = allow_newer(made)
    leaves = [leaf_hash(raw) for raw in made.log.entries(0, made.log.size)]
    file = rules_evidence(made.log.checkpoint(), leaves, made.log.size - 1, entry)
    with pytest.raises(EvidenceError, match="cannot be said here"):
        verify_evidence(file, made.log.policy, mirror)


def test_an_older_program_does_not_call_a_newer_database_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    made = Consortium(location=path)
    made.log.checkpoint()
    allow_newer(made)
    made.log._store.close()  # as a crash leaves it: without a snapshot over the new entry
    with pytest.raises(NewerRecord, match="cannot be judged: record version 2"):
        Log.open(path, made.keys["coordinator"], made.clock)


def test_what_is_no_version_is_still_a_broken_rule(made: Consortium) -> None:
    """Only a whole number above our own means a newer release; a log cannot hide behind anything else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger.statement, "_require_version", lambda payload: None)
        odd = [made.sign({**made.payload("task", task="t", spec=bytes(32)), "v": one}) for one in (0, -1, "2", True)]
    for entry in odd:
        with pytest.raises(ledger.statement.StatementError) as told:
            decode_statement(entry)
        assert not isinstance(told.value, NewerRecord)
