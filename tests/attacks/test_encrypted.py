"""A lying coordinator, and firms that side with it, against encrypted sums. Each attack is played to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from encrypted_consortium import COHORT, HOLDER, EncryptedConsortium, EncryptedRound, key_is_there
from encrypted_world import a_session, draw, public, secret
from forged_ciphertext import key_from, key_multiples

from artesian import app
from clients import encrypted_sums, participation
from clients.encryption.contexts import KeyPair, secret_context
from clients.encryption.errors import CheckRefused, ContextRefused, KeyRetired, SumMalformed
from clients.encryption.evidence import check_message, reveal_message
from clients.encryption.scheme import SLOTS, scale_of
from clients.encryption.vectors import EncryptedPiece, decrypt_sum, encrypt, hash_pieces, join_pieces, pieces_of
from clients.masking.contribution import Contribution, Header
from clients.masking.errors import AlreadyAnswered, HeaderMismatch, MaskingError, TooFewContributions
from clients.messages import Refusal
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.statement import decode_statement, sign_statement

VICTIM, COLLUDER = "firm-1", "firm-5"
HONEST = ["firm-2", "firm-3"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncryptedConsortium]:
    world = EncryptedConsortium(tmp_path_factory.mktemp("encrypted") / "home")
    yield world
    world.close()


@pytest.fixture
def one(world: EncryptedConsortium) -> Iterator[EncryptedRound]:
    """A round whose set is closed and whose ciphertexts the coordinator has."""
    made = world.begin()
    made.train()
    made.reveal()
    yield made
    world.abort(made.statement)


def sign_piece(one: EncryptedRound, name: str, pieces: Sequence[bytes]) -> bytes:
    """What a firm that sides with the coordinator signs: whatever it wants."""
    return one.world.firms[name].key.sign(check_message(one.session, one.closed_set, 0, pieces[0]))


def test_the_honest_way_opens_the_sum_and_leaves_no_key(one: EncryptedRound) -> None:
    expected = one.read_with_the_key(COHORT)
    reply = one.decrypt(one.pieces(), one.check(HONEST))
    assert np.array_equal(one.total(reply), expected)
    assert not key_is_there(one.world)
    with pytest.raises(KeyRetired):  # the coordinator and the holder together, a day later
        one.read_with_the_key([VICTIM])


def test_an_answer_that_was_lost_is_given_again(one: EncryptedRound) -> None:
    pieces, checks = one.pieces(), one.check(HONEST)
    assert one.decrypt(pieces, checks) == one.decrypt(pieces, checks)


@pytest.mark.parametrize("left_out", [[VICTIM], ["firm-2", "firm-3", "firm-4", COLLUDER]])
def test_a_sum_without_some_firms_or_a_single_ciphertext_is_not_opened(
    one: EncryptedRound, left_out: list[str]
) -> None:
    """One firm of the set colludes and signs it; a second would have to, and computes another sum."""
    kept = {name: raw for name, raw in one.vectors.items() if name not in left_out}
    wrong, right = one.pieces(kept), one.check(HONEST)
    checks = [{**right[0], COLLUDER: sign_piece(one, COLLUDER, wrong)}]
    with pytest.raises(CheckRefused, match="1 firms of the closed set have signed it, 2 are needed"):
        one.decrypt(wrong, checks)
    for name in HONEST:  # nor does it get an honest signature for what it leaves out
        missing = {k: raw for k, raw in one.check_request()["pieces"].items() if k not in left_out}
        with pytest.raises(HeaderMismatch, match="piece 0 of"):
            one.check([name], pieces=missing)
    assert key_is_there(one.world)


def test_one_firm_more_than_the_holder_reckons_with_does_open_a_single_ciphertext(one: EncryptedRound) -> None:
    """What is promised is for m colluders: with m + 1 and the coordinator, the holder opens what they say."""
    wrong = one.pieces({VICTIM: one.vectors[VICTIM]})
    truth = one.read_with_the_key([VICTIM])
    reply = one.decrypt(wrong, [{name: sign_piece(one, name, wrong) for name in ("firm-4", COLLUDER)}])
    assert np.array_equal(one.total(reply), truth)


def test_forged_doubled_and_strangers_signatures_count_for_nothing(one: EncryptedRound) -> None:
    wrong, stranger = one.pieces({VICTIM: one.vectors[VICTIM]}), SigningKey.generate()
    message = check_message(one.session, one.closed_set, 0, wrong[0])
    bad: list[dict[str, bytes]] = [
        {},
        {COLLUDER: sign_piece(one, COLLUDER, wrong)},
        {COLLUDER: sign_piece(one, COLLUDER, wrong), "firm-2": stranger.sign(message)},
        {COLLUDER: sign_piece(one, COLLUDER, wrong), "firm-2": sign_piece(one, COLLUDER, wrong)},
        {COLLUDER: sign_piece(one, COLLUDER, wrong), HOLDER: sign_piece(one, HOLDER, wrong)},
        {COLLUDER: sign_piece(one, COLLUDER, wrong), "nobody": stranger.sign(message)},
    ]
    for checks in bad:
        with pytest.raises(CheckRefused, match="2 are needed"):
            one.decrypt(wrong, [checks])
    for checks_of_pieces in ([], one.check(HONEST) * 2):
        with pytest.raises(CheckRefused, match="pieces are signed"):
            one.decrypt(one.pieces(), checks_of_pieces)


def test_signatures_for_the_set_of_firms_that_are_not_in_it_are_not_passed_over(one: EncryptedRound) -> None:
    more = {**one.reveals, HOLDER: one.world.firms[HOLDER].key.sign(reveal_message(one.session, one.closed_set))}
    with pytest.raises(CheckRefused, match="signatures of firms that are not in it"):
        one.decrypt(one.pieces(), one.check(HONEST), reveals=more)


def test_another_holder_than_the_plan_names_opens_nothing(one: EncryptedRound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(one.world.firms[COLLUDER]), "holds_keys", True)
    request = {**one.common(), "signing_keys": {}, "pieces": one.pieces(), "reveals": one.reveals, "checks": [{}]}
    with pytest.raises(Refusal, match="the round's key holder is 'firm-6', not 'firm-5'"):
        encrypted_sums.decrypt(one.world.firms[COLLUDER], request)


def test_a_signature_for_one_piece_set_or_session_is_none_for_another(one: EncryptedRound) -> None:
    pieces = one.pieces()
    key = one.world.firms["firm-2"].key
    for message in (
        check_message(one.session, bytes(32), 0, pieces[0]),
        check_message(one.session, one.closed_set, 1, pieces[0]),
        reveal_message(one.session, one.closed_set),
    ):
        with pytest.raises(CheckRefused):
            one.decrypt(pieces, [{"firm-3": sign_piece(one, "firm-3", pieces), "firm-2": key.sign(message)}])


def test_a_second_sum_for_the_same_round_is_not_opened(world: EncryptedConsortium) -> None:
    """A firm's commitment is held back, the sum opened, the commitment logged, and the difference asked for."""
    one = world.begin()
    one.train([*COHORT])
    world.abort(one.statement)
    one = world.begin()
    for name in COHORT:
        reply = participation.train(world.firms[name], world.request(name, one.statement))
        one.contributions[name] = Contribution.from_bytes(reply["contribution"])
        one.statements[name] = reply["statement"]
    held_back = one.contributions.pop(VICTIM)
    one.record([name for name in COHORT if name != VICTIM])
    one.reveal()
    one.decrypt(one.pieces(), one.check(HONEST))
    one.contributions[VICTIM] = held_back
    one.record([VICTIM])
    with pytest.raises(AlreadyAnswered):
        one.reveal(["firm-2"])
    one.reveal([VICTIM])  # it has not handed anything over before
    with pytest.raises(CheckRefused, match="has not handed its ciphertext over for this set"):
        one.decrypt(one.pieces(), one.check(HONEST))
    for name in ("firm-2", "firm-3", "firm-4", COLLUDER):  # even if all the others sided with the coordinator
        one.reveals[name] = world.firms[name].key.sign(reveal_message(one.session, one.closed_set))
    with pytest.raises(AlreadyAnswered):
        one.decrypt(one.pieces(), one.check(HONEST))
    world.abort(one.statement)


def test_who_has_seen_a_ciphertext_cannot_have_a_multiple_of_it_in_the_sum(world: EncryptedConsortium) -> None:
    """Ciphertexts can be added to themselves: with thousand times the victim's update in it, the sum gives it away."""
    one = world.begin()
    one.train(COHORT[:4])  # the colluder waits
    assert all(not sent.masked for sent in one.contributions.values())  # and is shown hashes only
    one.reveal()
    copy = one.pieces([one.vectors[VICTIM]] * 3)
    vector, firm = join_pieces(copy), world.firms[COLLUDER]
    hashes = hash_pieces(copy)
    empty = hashlib.sha256(b"").digest()
    masked, listed = hashlib.sha256(vector).digest(), hashlib.sha256(hashes).digest()
    header = Header(one.session.sid, COLLUDER, masked, one.session.context, listed, empty).to_bytes()
    one.contributions[COLLUDER] = Contribution(header, b"", hashes, {})
    honest = participation.train(firm, world.request(COLLUDER, one.statement))["statement"]
    payload = {**decode_statement(honest).payload, "commit": hashlib.sha256(header).digest()}
    one.statements[COLLUDER] = sign_statement(payload, issuer=COLLUDER, subject=payload["round"].hex(), key=firm.key)
    one.record([COLLUDER])
    one.vectors[COLLUDER] = vector
    naive = one.read_with_the_key(COHORT)
    others = one.read_with_the_key(COHORT[1:4])
    assert np.array_equal(naive - others, 4 * one.read_with_the_key([VICTIM]))  # four times the update instead of one
    for name in COHORT[:4]:
        with pytest.raises(AlreadyAnswered):
            one.reveal([name])
    one.reveals[COLLUDER] = firm.key.sign(reveal_message(one.session, one.closed_set))
    with pytest.raises(CheckRefused, match="has not handed its ciphertext over for this set"):
        one.decrypt(one.pieces(), one.check([COLLUDER, "firm-2"]))
    world.abort(one.statement)


def test_two_rounds_do_not_share_a_key(world: EncryptedConsortium) -> None:
    """Of two tasks, or one after the other: with one key, a ciphertext of the first could be sent in the second."""
    first = world.begin()
    first.train()
    first.reveal()
    world.abort(first.statement)
    plan = world.plan(world.firms[HOLDER].held_keys.public(world.round_epoch))
    statement = world.open_round(plan, COHORT)
    with pytest.raises(Refusal, match="is not for this round: it is gone or has served another"):
        participation.train(world.firms[VICTIM], world.request(VICTIM, statement))
    request = {"statement": statement, "receipt": world.receipt(statement), "final": world.log.final(), "commits": {}}
    more = {"signing_keys": {}, "pieces": [], "reveals": {}, "checks": []}
    with pytest.raises(Refusal, match="is not for this round: it is gone or has served another"):
        encrypted_sums.decrypt(world.firms[HOLDER], {**request, **more})
    world.abort(statement)


def test_an_earlier_rounds_ciphertext_opens_to_nothing_in_a_later_one(world: EncryptedConsortium) -> None:
    """Each round has a key of its own: what another key encrypted is noise, and noise destroys the key."""
    earlier = world.begin()
    earlier.train()
    earlier.reveal()
    world.abort(earlier.statement)
    one = world.begin()
    one.train()
    one.reveal()
    replayed = one.pieces([*one.vectors.values(), earlier.vectors[VICTIM]])
    checks = [{name: sign_piece(one, name, replayed) for name in ("firm-4", COLLUDER)}]
    with pytest.raises(KeyRetired, match="does not open to whole numbers"):
        one.decrypt(replayed, checks)
    assert not key_is_there(world)
    with pytest.raises(KeyRetired):
        one.decrypt(one.pieces(), one.check(HONEST))
    world.abort(one.statement)


def test_a_forged_ciphertext_gives_the_key_away_to_a_naive_holder_and_not_to_ours() -> None:
    """One firm sends (0, K): the sum holds K times the secret key, and whoever is told it has the key."""
    session = a_session(firms=6, dimension=2 * SLOTS, threshold=3)
    honest = list(draw(session, part=40).values())[:5]
    total = EncryptedPiece(public(), session, 0)
    for values in honest:
        total.add(pieces_of(session, encrypt(public(), session, values), "a vector")[0], "a vector")
    factor = int(scale_of(24)) << 15
    total.add(key_multiples(public(), scale_of(24), factor), "a vector")

    slots = _naive_holder([total.to_bytes()]) / 2**15
    for sign in (1, -1):
        turned = sign * np.where(np.arange(SLOTS) % 2, -1j, 1j)  # what X^(N/2) is in each slot
        key = key_from(slots[:SLOTS] + turned * slots[SLOTS:])
        if np.abs(key - np.rint(key)).max() < 0.3 and set(np.rint(key)) == {-1.0, 0.0, 1.0}:
            break
    else:
        pytest.fail("the attack does not work even on a holder that tells whatever comes out")

    with pytest.raises(SumMalformed):
        decrypt_sum(secret(), session, [total.to_bytes()], 6)


def _naive_holder(pieces: list[bytes]) -> Any:
    """A holder that decrypts, rounds real parts, and tells them, as TenSEAL's own `decrypt` does."""
    import tenseal

    from clients.masking import wire

    (piece,) = pieces
    raws = wire.decode(piece, {"blocks": list}, "piece")["blocks"]
    native = secret().native
    slots = [tenseal.ckks_vector_from(native, raw).decrypt(native.secret_key()) for raw in raws]
    return np.rint(np.concatenate(slots))


@pytest.mark.parametrize("factor_bits", range(20, 50, 3))
def test_no_multiple_of_the_key_goes_unnoticed_or_changes_the_sum(factor_bits: int) -> None:
    """Too small to notice is too small to move a rounded value."""
    session = a_session(firms=6, dimension=2 * SLOTS, threshold=3)
    values = draw(session)["firm-001"]
    total = EncryptedPiece(public(), session, 0)
    total.add(pieces_of(session, encrypt(public(), session, values), "a vector")[0], "a vector")
    total.add(key_multiples(public(), scale_of(24), 1 << factor_bits), "a vector")
    try:
        opened = decrypt_sum(secret(), session, [total.to_bytes()], 6)
    except SumMalformed:
        return
    assert np.array_equal(opened, values)


def test_values_beyond_the_range_destroy_the_key_and_are_told_to_nobody(one: EncryptedRound) -> None:
    huge = one.session.quantiser.largest * 6
    odd = encrypt(one.context, one.session, np.full(one.session.dimension, huge, dtype=np.int64))
    wrong = one.pieces([*one.vectors.values(), odd])
    with pytest.raises(KeyRetired) as refusal:
        one.decrypt(wrong, [{name: sign_piece(one, name, wrong) for name in ("firm-4", COLLUDER)}])
    assert str(huge) not in str(refusal.value)
    assert not key_is_there(one.world)


def test_the_holder_in_the_cohort_is_refused_by_all(world: EncryptedConsortium) -> None:
    context = world.hold()
    statement = world.open_round(world.plan(context, key_holder="firm-2"), COHORT)
    with pytest.raises(Refusal, match="not among those that this firm allows"):
        participation.train(world.firms[VICTIM], world.request(VICTIM, statement))
    world.abort(statement)
    statement = world.open_round(world.plan(context), [*COHORT, HOLDER])
    for name in (VICTIM, HOLDER):
        with pytest.raises(Refusal, match="is in the cohort"):
            participation.train(world.firms[name], world.request(name, statement))
    request = {"statement": statement, "receipt": world.receipt(statement), "final": world.log.final(), "commits": {}}
    more = {"signing_keys": {}, "pieces": [], "reveals": {}, "checks": []}
    with pytest.raises(MaskingError, match="must be named, and take no part"):
        encrypted_sums.decrypt(world.firms[HOLDER], {**request, **more})
    world.abort(statement)


def test_a_swapped_context_is_refused_before_anything_is_paid(world: EncryptedConsortium) -> None:
    """The coordinator puts a key of its own in the holder's place: in the message, then in the plan as well."""
    own, firm = KeyPair.generate().public, world.firms[VICTIM]
    world.hold()
    with pytest.raises(ContextRefused, match="not the one that firm-6 vouches for"):
        encrypted_sums.take_key(firm, {"holder": HOLDER, "context": own})
    spent = firm.wallet.report()
    statement = world.open_round(world.plan(own), COHORT)
    with pytest.raises(Refusal, match="not the one that 'firm-6' vouches for"):
        participation.train(firm, world.request(VICTIM, statement))
    world.abort(statement)
    statement = world.open_round(world.plan(world.hold()), COHORT)  # the right one, which this firm was not sent
    with pytest.raises(ContextRefused, match="was not sent"):
        participation.train(firm, world.request(VICTIM, statement))
    world.abort(statement)
    assert firm.wallet.report() == spent


def test_a_key_of_an_earlier_epoch_is_not_taken_for_this_one(world: EncryptedConsortium) -> None:
    context = world.hold()
    world.hold()
    with pytest.raises(ContextRefused):
        encrypted_sums.take_key(world.firms[VICTIM], {"holder": HOLDER, "context": context})
    with pytest.raises(KeyRetired, match="has ended"):
        encrypted_sums.hold(world.firms[HOLDER], {"cid": "test", "epoch": world.round_epoch - 1})


def test_a_context_with_the_secret_key_is_refused_although_the_holder_vouches_for_it(
    world: EncryptedConsortium,
) -> None:
    import tenseal

    made = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[54, 54])
    whole = made.serialize(True, True, False, False)
    world.round_epoch += 1
    payload = record(
        "epoch_key",
        cid="test",
        record_id=bytes(15) + b"\1",
        ts=1,
        purpose="ckks",
        epoch=world.round_epoch,
        key=hashlib.sha256(whole).digest(),
    )
    world.log.append([sign_statement(payload, issuer=HOLDER, subject="ckks", key=world.firms[HOLDER].key)])
    world.witness()
    with pytest.raises(ContextRefused, match="carries the secret key"):
        encrypted_sums.take_key(world.firms[VICTIM], {"holder": HOLDER, "context": whole})


def test_nobody_holds_keys_against_its_will(world: EncryptedConsortium) -> None:
    for name in COHORT:
        with pytest.raises(Refusal, match="does not name it in key_holders"):
            encrypted_sums.hold(world.firms[name], {"cid": "test", "epoch": 10_000})
    with pytest.raises(Refusal, match="belongs to"):
        encrypted_sums.hold(world.firms[HOLDER], {"cid": "other", "epoch": 10_000})


def test_a_holder_is_not_led_to_an_epoch_that_it_cannot_come_back_from(world: EncryptedConsortium) -> None:
    before = world.firms[HOLDER].held_keys.epoch
    for epoch in (0, -1, 2**31 + 1, 2**63):
        with pytest.raises(Refusal, match="is not an epoch between"):
            encrypted_sums.hold(world.firms[HOLDER], {"cid": "test", "epoch": epoch})
    assert world.firms[HOLDER].held_keys.epoch == before


def test_too_few_for_this_holder_are_not_opened(world: EncryptedConsortium) -> None:
    one = world.begin()
    one.train(COHORT[:2])
    with pytest.raises(TooFewContributions):
        one.reveal()
    with pytest.raises(TooFewContributions):
        one.decrypt([b""], [{}])
    world.abort(one.statement)


def test_the_secret_key_lies_encrypted_and_for_the_owner_only(world: EncryptedConsortium) -> None:
    world.hold()
    folder: Path = world.built.member(HOLDER) / "held-keys"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    raw = (folder / "secret.context").read_bytes()
    with pytest.raises(ContextRefused):
        secret_context(raw)


def test_a_key_whose_round_was_given_up_does_not_stay(world: EncryptedConsortium) -> None:
    """By age, before the next message is handled; or at once, by hand."""
    holder, home = world.firms[HOLDER], str(world.built.member(HOLDER))
    for destroy in ("age", "hand"):
        world.hold()
        assert key_is_there(world)
        begun_s = holder.held_keys.begun_s
        assert begun_s is not None
        if destroy == "age":
            encrypted_sums.end_stale_key(holder, lambda: begun_s + 30 * 86_400)  # noqa: B023  # called here only
            assert key_is_there(world)
            encrypted_sums.end_stale_key(holder, lambda: begun_s + 30 * 86_400 + 1)  # noqa: B023
        else:
            said = CliRunner().invoke(app, ["firm", "forget-epoch", "--home", home]).stdout
            assert "the key that it held for an encrypted sum is destroyed" in said
        assert not key_is_there(world)
