"""The other files and messages that come from strangers: evidence, proposals, promises, envelopes, tokens, snapshots.

`make fuzz` runs these properties too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace

from decoder_inputs import any_bytes, any_text, changed, odd_cbor
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint, witness_name
from ledger.encoding import decode
from ledger.errors import LedgerError
from ledger.evidence import fork_evidence, notes_evidence, promise_evidence, verify_evidence
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.merkle import leaf_hash
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.proposal import Proposal
from ledger.rules import State
from ledger.rules.records import problem_with
from ledger.service.bodies import Envelope
from ledger.service.promise import Promise, open_promise
from ledger.service.tokens import SCHEME, Identity, TokenGuard
from ledger.snapshot import Snapshot, decode_state, encode_state
from ledger.statement import sign_statement

ORIGIN = "ledger.example/test"
NOW_S = 1_800_000_000
KEY = SigningKey.from_seed(bytes(range(32)))
LOG = SigningKey.from_seed(bytes(32))
POLICY = Policy.of(Vkey.of_log(ORIGIN, LOG.public), {"a": Vkey.of_witness(witness_name(ORIGIN, "a"), KEY.public)})
STATE = replace(State("test"), coordinator=KEY.public)


def note_of(size: int, root: bytes) -> str:
    point = Checkpoint(ORIGIN, size, root)
    return sign_checkpoint(point, LOG) + cosign(
        point.body(), name=witness_name(ORIGIN, "a"), key=KEY, timestamp_s=NOW_S
    )


PAYLOAD = record("suspend", cid="test", record_id=bytes(16), ts=NOW_S, member="firm-0", reason="left", approvals=[])
ENTRY = sign_statement(PAYLOAD, issuer="coordinator", subject="firm-0", key=KEY)
NOTE, FORK = note_of(1, leaf_hash(ENTRY)), note_of(1, leaf_hash(b"another"))
PROMISE = Promise(ORIGIN, hashlib.sha256(b"it").digest(), 0, NOW_S - 4000, NOW_S - 3990).sign(LOG)
EVIDENCE = [
    fork_evidence(NOTE, FORK, leaf_hash(b"another"), []),
    notes_evidence(NOTE, FORK),
    promise_evidence(PROMISE, NOTE, ENTRY),
    promise_evidence(PROMISE, note_of(0, hashlib.sha256(b"").digest())),
]
PROPOSAL = Proposal.of(PAYLOAD).to_bytes()
ENVELOPE = Envelope({"firm-0": b"sealed", "firm-1": b"too"}, b"ciphertext").to_bytes()
SNAPSHOT = Snapshot(ORIGIN, bytes(32), STATE).to_bytes()
TOKEN = Identity("coordinator", KEY, ORIGIN).authorization("/L/Members", NOW_S, bytes)


def accepts(decoder: Callable[[], object]) -> bool:
    """Whether a decoder takes its input; anything but a `LedgerError` fails the test."""
    try:
        decoder()
    except LedgerError:
        return False
    return True


def call(authorization: str) -> str | None:
    return TokenGuard(ORIGIN, lambda: NOW_S).caller(authorization, "/L/Members", STATE)


def test_the_unchanged_ones_are_accepted() -> None:
    """Or else the properties below would say little."""
    assert [accepts(lambda raw=raw: verify_evidence(raw, POLICY)) for raw in EVIDENCE] == [True] * 4
    assert call(TOKEN) == "coordinator"
    assert open_promise(PROMISE, LOG.public).index == 0
    assert Proposal.from_bytes(PROPOSAL).payload == PAYLOAD
    assert Envelope.from_bytes(ENVELOPE).parties == ("firm-0", "firm-1")
    assert Snapshot.from_bytes(SNAPSHOT).state == decode_state(encode_state(STATE)) == STATE


@given(any_bytes)
def test_no_bytes_crash_a_decoder(raw: bytes) -> None:
    for decoder in (Proposal.from_bytes, Envelope.from_bytes, Snapshot.from_bytes, decode_state):
        accepts(lambda decoder=decoder: decoder(raw))
    accepts(lambda: verify_evidence(raw, POLICY))
    assert not accepts(lambda: open_promise(raw, LOG.public))
    assert not accepts(lambda: call(SCHEME + base64.urlsafe_b64encode(raw).decode().rstrip("=")))


@given(any_text)
def test_no_text_is_a_token(text: str) -> None:
    assert not accepts(lambda: call(text))
    assert not accepts(lambda: call(SCHEME + text))


@given(st.sampled_from(EVIDENCE).flatmap(changed))
def test_no_changed_evidence_crashes_the_judge(raw: bytes) -> None:
    accepts(lambda: verify_evidence(raw, POLICY))


@given(changed(PROMISE))
def test_no_change_of_a_promise_goes_unseen(raw: bytes) -> None:
    if accepts(lambda: open_promise(raw, LOG.public)):
        assert raw == PROMISE


@given(changed(base64.urlsafe_b64decode(TOKEN.removeprefix(SCHEME) + "==")))
def test_no_change_of_a_token_goes_unseen(raw: bytes) -> None:
    text = SCHEME + base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if accepts(lambda: call(text)):
        assert text == TOKEN


@given(changed(PROPOSAL), changed(ENVELOPE))
def test_what_is_read_is_written_the_same(proposal: bytes, envelope: bytes) -> None:
    if accepts(lambda: Proposal.from_bytes(proposal)):
        assert Proposal.from_bytes(proposal).to_bytes() == proposal
    if accepts(lambda: Envelope.from_bytes(envelope)):
        assert Envelope.from_bytes(envelope).to_bytes() == envelope


@given(changed(SNAPSHOT), changed(encode_state(STATE)))
def test_no_changed_snapshot_crashes_the_reader(snapshot: bytes, state: bytes) -> None:
    accepts(lambda: Snapshot.from_bytes(snapshot))
    accepts(lambda: decode_state(state))


@given(st.one_of(odd_cbor, changed(PROPOSAL)))
def test_any_map_is_judged_as_a_record(raw: bytes) -> None:
    def judge() -> None:
        value = decode(raw, what="it")
        if isinstance(value, dict):
            problem_with(value.get("proposal", value) if isinstance(value.get("proposal"), dict) else value)

    accepts(judge)
