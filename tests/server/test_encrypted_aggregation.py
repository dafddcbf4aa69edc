"""The server half of encrypted sums: what it takes, in which order, and what an audit finds in what was stored."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from encrypted_world import HOLDER, EncryptedRound, a_session, draw, keys, public

from clients.encryption.contexts import KeyPair, public_context
from clients.encryption.evidence import Opening, check_message, opening_message, reveal_message
from clients.encryption.vectors import encrypt, hash_pieces, join_pieces
from clients.masking.contribution import Contribution, Header
from clients.masking.errors import MalformedMessage, PlanRefused
from clients.masking.session import Session
from ledger.keys import SigningKey
from server.aggregation.encrypted import EncryptedAggregator, recompute_encrypted
from server.aggregation.evidence import AggregationError, ArtifactMismatch, ContributionRefused, ReplyRefused, RoundVoid
from server.aggregation.masked import RoundArtifacts


@pytest.fixture(scope="module")
def done() -> EncryptedRound:
    session = a_session()
    one = EncryptedRound(session, draw(session))
    one.finish()
    return one


def closed(session: Session | None = None) -> EncryptedRound:
    session = session or a_session()
    one = EncryptedRound(session, draw(session))
    one.close()
    return one


def test_the_sum_is_that_of_the_firms(done: EncryptedRound) -> None:
    opened = done.sum.open()
    assert np.array_equal(opened.total, done.true_sum)
    assert opened.included == done.session.members


def test_a_firm_that_does_not_commit_has_dropped() -> None:
    session = a_session()
    values = draw(session)
    del values["firm-002"]
    one = EncryptedRound(session, values)
    one.finish()
    assert (one.sum.dropped, np.array_equal(one.sum.open().total, one.true_sum)) == (("firm-002",), True)


def test_fewer_commitments_than_the_threshold_void_the_round() -> None:
    session = a_session(threshold=4)
    one = EncryptedRound(session, dict(list(draw(session).items())[:3]))
    with pytest.raises(RoundVoid, match="3 contributions, the threshold is 4; missing firm-004, firm-005"):
        one.close()


def test_who_is_committed_and_hands_nothing_over_voids_the_round() -> None:
    one = closed()
    for member in one.session.members[1:]:
        one.reveal(member)
    with pytest.raises(RoundVoid, match="firm-001 did not hand over"):
        one.sum.complete()


def test_nothing_but_hashes_is_taken_before_the_set_is_closed() -> None:
    session = a_session()
    one = EncryptedRound(session, draw(session))
    early = replace(one.contributions["firm-001"], masked=one.vectors["firm-001"])
    with pytest.raises(ContributionRefused, match="hashes only"):
        one.sum.add("firm-001", early, early.commit)


def _with(header: bytes, **changes: bytes) -> bytes:
    return replace(Header.from_bytes(header), **changes).to_bytes()  # type: ignore[arg-type]


def test_a_commitment_that_is_not_one_is_refused() -> None:
    session = a_session()
    one = EncryptedRound(session, draw(session))
    good = one.contributions["firm-001"]
    bad: list[tuple[str, Contribution]] = [
        ("another context", replace(good, header=_with(good.header, self_seed=bytes(32)))),
        ("another session", replace(good, header=_with(good.header, sid=bytes(32)))),
        ("is not", replace(good, header=_with(good.header, self_seed=b"", pair_seeds=b"", shares=b""))),
        ("bytes of pair hashes", replace(good, pair_hashes=good.pair_hashes * 2)),
        ("not those of its header", replace(good, pair_hashes=bytes(32))),
    ]
    for why, wrong in bad:
        with pytest.raises(ContributionRefused, match=why):
            one.sum.add("firm-001", wrong, wrong.commit)
    with pytest.raises(ContributionRefused, match="another session or member"):
        one.sum.add("firm-002", good, good.commit)
    one.sum.add("firm-001", good, good.commit)
    with pytest.raises(ContributionRefused, match="already"):
        one.sum.add("firm-001", good, good.commit)


def test_a_ciphertext_that_is_not_the_one_committed_to_is_refused() -> None:
    one = closed()
    session, member = one.session, "firm-001"
    signature = one.signing[member].sign(reveal_message(session, one.sum.closed_set))
    other = encrypt(public(), session, one.values[member])
    for why, vector, signed in [
        ("not the one that it is committed to", other, signature),
        ("not handed over for this closed set", one.vectors[member], one.signing["firm-002"].sign(b"")),
        ("not handed over for this closed set", one.vectors[member], SigningKey.generate().sign(b"")),
    ]:
        with pytest.raises(ReplyRefused, match=why):
            one.sum.reveal(member, vector, signed, one.keys[member])
    one.reveal(member)
    with pytest.raises(ReplyRefused, match="it has been added"):
        one.reveal(member)
    with pytest.raises(ContributionRefused, match="the set is closed"):
        one.sum.add("firm-009", one.contributions[member], one.contributions[member].commit)


def test_a_firm_that_lists_other_pieces_than_it_sends_is_found_out_before_anybody_is_asked_to_check() -> None:
    one = EncryptedRound(a_session(), draw(a_session()))
    good, listed = one.contributions["firm-001"], bytes(32)
    header = _with(good.header, pair_seeds=hashlib.sha256(listed).digest())
    one.contributions["firm-001"] = replace(good, header=header, pair_hashes=listed)
    one.close()
    with pytest.raises(ReplyRefused, match="its pieces are not those that it lists"):
        one.reveal("firm-001")


def test_checks_and_openings_of_other_sums_are_refused() -> None:
    one = closed()
    for member in one.session.members:
        one.reveal(member)
    sum_piece = one.sum.complete()[0]
    for key, message in [
        ("firm-001", check_message(one.session, one.sum.closed_set, 1, sum_piece)),
        ("firm-001", check_message(one.session, bytes(32), 0, sum_piece)),
        ("firm-002", check_message(one.session, one.sum.closed_set, 0, sum_piece)),
    ]:
        with pytest.raises(ReplyRefused, match="another piece"):
            one.sum.accept_check("firm-001", 0, one.signing[key].sign(message), one.keys["firm-001"])
    with pytest.raises(ReplyRefused, match="did not contribute"):
        one.sum.accept_check(HOLDER, 0, b"", one.keys[HOLDER])
    total, signature = one.decrypt()
    with pytest.raises(ReplyRefused, match="has not signed it"):
        one.sum.accept_opening(bytes(len(total)), signature, one.keys[HOLDER])
    with pytest.raises(RoundVoid, match="auditor has not opened the sum"):
        one.sum.open()
    one.sum.accept_opening(total, signature, one.keys[HOLDER])
    assert np.array_equal(one.sum.open().total, one.true_sum)


def test_a_total_beyond_what_the_firms_can_send_is_refused_whoever_signs_it() -> None:
    one = closed()
    for member in one.session.members:
        one.reveal(member)
    ring, hashes = one.session.ring, hash_pieces(one.sum.complete())
    packed = ring.pack(ring.from_signed(np.full(10, 5 * one.session.quantiser.largest + 1, dtype=np.int64)))
    for total in (packed, packed[:-1]):
        signature = one.signing[HOLDER].sign(opening_message(one.session, one.sum.closed_set, hashes, total))
        with pytest.raises(ReplyRefused):
            one.sum.accept_opening(total, signature, one.keys[HOLDER])


def test_a_session_of_another_kind_or_context_is_refused() -> None:
    other = public_context(KeyPair.generate().public)
    with pytest.raises(AggregationError, match="not encrypted under this context"):
        EncryptedAggregator(a_session(), other)


def test_sessions_bind_holder_and_context_and_others_have_neither() -> None:
    session = a_session()
    assert Session.from_bytes(session.raw) == session
    for changes in ({"key_holder": "other"}, {"context": bytes(32)}):
        assert replace(session, **changes).sid != session.sid
    plain = replace(session, protection="plain", key_holder="", context=b"", threshold=1)
    assert b"key_holder" not in plain.raw
    for wrong in (
        {"key_holder": ""},
        {"key_holder": "firm-001"},
        {"context": b""},
        {"threshold": 1},
        {"protection": "plain"},
        {"protection": "masked"},
        {"roster": session.roster[:2], "threshold": 2},
    ):
        with pytest.raises(PlanRefused):
            replace(session, **wrong)  # type: ignore[arg-type]
    with pytest.raises(MalformedMessage):
        Session.from_bytes(plain.raw[:-1])


def recompute(one: EncryptedRound, artifacts: RoundArtifacts, colluders: int = 1) -> list[int]:
    total = recompute_encrypted(
        one.session, artifacts, one.commits, context=keys().public, keys=one.keys, colluders=colluders
    )
    return [int(value) for value in total]


def test_an_audit_computes_the_ciphertexts_again(done: EncryptedRound) -> None:
    assert recompute(done, done.artifacts()) == done.true_sum.tolist()


def _opening(done: EncryptedRound, change: Callable[[Opening], Opening]) -> RoundArtifacts:
    artifacts = done.artifacts()
    return replace(artifacts, unmasking=change(Opening.from_bytes(artifacts.unmasking)).to_bytes())


def test_an_audit_names_what_does_not_match(done: EncryptedRound) -> None:
    whole = done.artifacts()
    other = encrypt(public(), done.session, done.values["firm-001"])
    first = Opening.from_bytes(whole.unmasking)
    wrong: list[tuple[str, RoundArtifacts]] = [
        ("masked values are not those of its header", replace(whole, masked={**whole.masked, "firm-001": other})),
        ("not in the store", replace(whole, masked={k: v for k, v in whole.masked.items() if k != "firm-002"})),
        ("another session", _opening(done, lambda one: replace(one, sid=bytes(32)))),
        ("another session or closed set", _opening(done, lambda one: replace(one, closed_set=bytes(32)))),
        ("not the sum of the stored", _opening(done, lambda one: replace(one, sums=bytes(32)))),
        ("has not handed", _opening(done, lambda one: replace(one, reveals={**one.reveals, "firm-001": b"x" * 64}))),
        ("2 are needed", _opening(done, lambda one: replace(one, checks=({},)))),
        ("auditor has not signed", _opening(done, lambda one: replace(one, total=bytes(30)))),
        ("auditor has not signed", _opening(done, lambda one: replace(one, signature=bytes(64)))),
        ("opening record", replace(whole, unmasking=b"\0")),
        ("pieces are signed", _opening(done, lambda one: replace(one, checks=first.checks * 2))),
    ]
    for why, artifacts in wrong:
        with pytest.raises(ArtifactMismatch, match=why):
            recompute(done, artifacts)
    with pytest.raises(ArtifactMismatch, match="3 are needed"):
        recompute(done, whole, colluders=2)


def test_pieces_and_vectors_read_back_as_written(done: EncryptedRound) -> None:
    raw = Opening.from_bytes(done.artifacts().unmasking)
    assert Opening.from_bytes(raw.to_bytes()) == raw
    assert join_pieces([]) != join_pieces([b""])
