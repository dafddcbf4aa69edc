"""An honest log is never convicted by its own promise: not with a clock that was set back, nor restored from a copy."""

from pathlib import Path

import pytest
from consortium_simulator import CID, ORIGIN, START_S, Consortium

from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.continuation import continue_log
from ledger.evidence import EvidenceError, promise_evidence, verify_evidence
from ledger.log import Log
from ledger.rules import COORDINATOR
from ledger.service.batch import Accepted, append_each
from ledger.service.promise import Promise
from ledger.statement import decode_statement

HOUR_S = 3600


def attested(made: Consortium) -> bytes:
    return made.statement("attest", "firm-0", subject="s", artifact=made.hash())


def require_innocent(made: Consortium, log: Log, raw: bytes, earlier: str) -> Accepted:
    """The log's promise for `raw`, as its service makes it, is not broken by a checkpoint from before."""
    [placed] = append_each(log, [decode_statement(raw)])
    assert isinstance(placed, Accepted)
    promise = Promise(ORIGIN, placed.digest, placed.index, placed.accepted_s, placed.accepted_s + 60)
    with pytest.raises(EvidenceError, match="fewer than a quorum"):
        verify_evidence(promise_evidence(promise.sign(made.keys[COORDINATOR]), earlier), log.policy)
    return placed


def test_a_clock_that_is_set_back_breaks_no_promise() -> None:
    made = Consortium()
    made.log.append([attested(made)])
    made.cosign()
    earlier = made.log.final()
    assert earlier is not None
    made.clock.now_s -= HOUR_S
    assert require_innocent(made, made.log, attested(made), earlier).accepted_s == START_S


def test_nor_does_it_after_a_restart(tmp_path: Path) -> None:
    made = Consortium(location=tmp_path / "log.db")
    made.cosign()
    earlier = made.log.final()
    assert earlier is not None
    made.log.close()
    made.clock.now_s -= HOUR_S
    with Log.open(tmp_path / "log.db", made.keys[COORDINATOR], made.clock) as log:
        require_innocent(made, log, attested(made), earlier)


def test_nor_do_cosignatures_that_are_made_again_while_nothing_happens() -> None:
    made = Consortium()
    made.cosign()
    made.clock.now_s += HOUR_S
    made.cosign()
    made.clock.now_s -= HOUR_S
    [placed] = append_each(made.log, [decode_statement(attested(made))])
    assert isinstance(placed, Accepted)
    assert placed.accepted_s == START_S + HOUR_S


def test_a_few_members_cannot_move_a_promise() -> None:
    made = Consortium()
    made.cosign()
    body = SignedCheckpoint.parse(made.log.checkpoint()).body
    name, key = witness_name(ORIGIN, "firm-0"), made.keys["firm-0"]
    made.log.add_cosignatures([cosign(body, name=name, key=key, timestamp_s=START_S + 300)])
    [placed] = append_each(made.log, [decode_statement(attested(made))])
    assert isinstance(placed, Accepted)
    assert placed.accepted_s == START_S


def test_a_log_restored_from_a_copy_promises_from_then_on(tmp_path: Path) -> None:
    made = Consortium()
    made.cosign()
    earlier, raw = made.log.final(), attested(made)
    assert earlier is not None
    made.log.append([raw])
    made.witness("firm-0").follow(made.log)  # this one entry is not final
    made.log.close()
    made.clock.now_s += HOUR_S
    key, copy = made.keys[COORDINATOR], made.witness("firm-0").mirror
    with continue_log(tmp_path / "log.db", copy, key, founded=made.log.vkey, cid=CID, clock=made.clock) as log:
        assert require_innocent(made, log, raw, earlier).accepted_s == START_S + HOUR_S
