import itertools

import numpy as np
import pytest
from encrypted_world import EncryptedRound, a_session, draw, public, secret
from hypothesis import given, settings
from hypothesis import strategies as st

import clients.encryption.vectors
from clients.encryption.contexts import Context
from clients.encryption.errors import CiphertextRefused, SumMalformed
from clients.encryption.scheme import SLOTS, scale_of, tolerance
from clients.encryption.vectors import EncryptedPiece, blocks_of, decrypt_sum, encrypt, join_pieces, pieces_of
from clients.masking import wire
from clients.masking.ring import Integers
from clients.masking.session import Session


def add_up(session: Session, vectors: list[bytes], context: Context | None = None) -> list[bytes]:
    sums = [EncryptedPiece(context or public(), session, k) for k in range(len(blocks_of(session.dimension)))]
    for vector in vectors:
        for total, piece in zip(sums, pieces_of(session, vector, "a vector"), strict=True):
            total.add(piece, "a vector")
    return [total.to_bytes() for total in sums]


def opened(session: Session, values: list[Integers]) -> Integers:
    vectors = [encrypt(public(), session, one) for one in values]
    return decrypt_sum(secret(), session, add_up(session, vectors), len(vectors))


@settings(max_examples=25, deadline=None)
@given(
    firms=st.integers(3, 9),
    ring_bits=st.sampled_from((24, 32)),
    dimension=st.sampled_from((1, 7, SLOTS, SLOTS + 1)),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_sum_opens_to_the_exact_integers(firms: int, ring_bits: int, dimension: int, seed: int) -> None:
    session = a_session(firms, dimension, ring_bits)
    values = list(draw(session, seed).values())
    for one, sign in zip(values, itertools.cycle((1, -1)), strict=False):
        one[0] = sign * session.quantiser.largest
    assert np.array_equal(opened(session, values), np.sum(values, axis=0))


@pytest.mark.parametrize("ring_bits", [24, 32])
def test_known_sums_at_the_ends_of_the_range(ring_bits: int) -> None:
    session = a_session(5, 4, ring_bits)
    largest = session.quantiser.largest
    values = [np.array([largest, -largest, 0, k], dtype=np.int64) for k in range(5)]
    assert opened(session, values).tolist() == [5 * largest, -5 * largest, 0, 10]


@pytest.mark.parametrize("ring_bits", [24, 32])
def test_the_error_is_what_the_scheme_says_and_far_from_the_tolerance(ring_bits: int) -> None:
    from tenseal import sealapi

    firms, session = 20, a_session(20, 8 * SLOTS, ring_bits)
    values = list(draw(session).values())
    (piece,) = add_up(session, [encrypt(public(), session, one) for one in values])
    native = secret().native.seal_context().data
    decryptor, encoder = sealapi.Decryptor(native, secret().native.secret_key().data), sealapi.CKKSEncoder(native)
    plain, slots = sealapi.Plaintext(), []
    import tenseal

    for raw in wire.decode(piece, {"blocks": list}, "piece")["blocks"]:
        decryptor.decrypt(tenseal.ckks_vector_from(secret().native, raw).ciphertext()[0], plain)
        slots.append(np.array(encoder.decode_complex(plain)))
    error = np.concatenate(slots) - np.sum(values, axis=0)
    deviation = 690 * np.sqrt(firms) / scale_of(ring_bits)
    assert 0.8 * deviation < error.real.std() < 1.2 * deviation
    assert max(np.abs(error.real).max(), np.abs(error.imag).max()) < tolerance(firms, ring_bits) / 2


def test_every_order_gives_the_same_bytes() -> None:
    session = a_session(4)
    vectors = [encrypt(public(), session, one) for one in draw(session).values()]
    assert len({tuple(add_up(session, list(order))) for order in itertools.permutations(vectors)}) == 1


def test_the_same_values_are_encrypted_to_other_bytes_every_time() -> None:
    session = a_session()
    values = draw(session)["firm-001"]
    assert encrypt(public(), session, values) != encrypt(public(), session, values)


def test_pieces_have_16_blocks_of_2048_values() -> None:
    assert blocks_of(1) == [1]
    assert blocks_of(16 * SLOTS) == [16]
    assert blocks_of(33 * SLOTS) == [16, 16, 1]
    assert sum(blocks_of(1_000_000)) == 489


def test_a_vector_of_another_length_scale_or_key_is_refused() -> None:
    session = a_session()
    (values, *_) = draw(session).values()
    good = encrypt(public(), session, values)
    for other in (a_session(dimension=17 * SLOTS), a_session(dimension=SLOTS + 1), a_session(ring_bits=32)):
        raw = encrypt(public(), other, np.zeros(other.dimension, dtype=np.int64))
        with pytest.raises(CiphertextRefused):
            add_up(session, [good, raw])


def test_damaged_vectors_are_refused_and_change_nothing() -> None:
    session = a_session()
    (values, *_) = draw(session).values()
    good = encrypt(public(), session, values)
    rng = np.random.default_rng(1)
    for _ in range(40):
        raw = bytearray(good)
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        try:
            add_up(session, [good, bytes(raw)])
        except CiphertextRefused:
            continue
    for raw in (b"", b"\x00", good[:-1], good + b"\0", join_pieces([]), join_pieces([b""]), join_pieces([good])):
        with pytest.raises(CiphertextRefused):
            add_up(session, [good, bytes(raw)])
    total = EncryptedPiece(public(), session, 0)
    (piece,) = pieces_of(session, good, "a vector")
    total.add(piece, "a vector")
    before = total.to_bytes()
    with pytest.raises(CiphertextRefused):
        total.add(piece[:-1], "a vector")
    assert total.to_bytes() == before


def _odd(session: Session, slots: np.ndarray) -> list[bytes]:
    """A piece that encrypts these slots, whatever they are."""
    import tenseal

    vector = tenseal.ckks_vector(public().native, list(slots), scale_of(session.ring_bits))
    return [wire.encode({"blocks": [vector.serialize()]})]


def test_what_no_firm_can_have_sent_does_not_open() -> None:
    session, zeros = a_session(dimension=10), np.zeros(SLOTS)
    limit = 5 * session.quantiser.largest
    assert not decrypt_sum(secret(), session, _odd(session, zeros), 5).any()
    for place, value in ((3, 0.25), (3, 4 * tolerance(5, 24)), (10, 1.0), (2047, -7.0), (0, limit + 1.0)):
        odd = zeros.copy()
        odd[place] = value
        with pytest.raises(SumMalformed):
            decrypt_sum(secret(), session, _odd(session, odd), 5)


def test_a_slot_with_an_imaginary_part_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an encoder of real values never makes; a multiple of the key always has one."""
    session, slots = a_session(dimension=10), np.zeros(SLOTS, dtype=np.complex128)
    monkeypatch.setattr(clients.encryption.vectors, "_slots", lambda *_: slots)
    assert not decrypt_sum(secret(), session, _odd(session, slots.real), 5).any()
    for place, value in ((3, 1.0j), (2000, 2j * tolerance(5, 24)), (0, complex(np.nan, 0)), (0, complex(0, np.inf))):
        slots[:] = 0
        slots[place] = value
        with pytest.raises(SumMalformed):
            decrypt_sum(secret(), session, _odd(session, np.zeros(SLOTS)), 5)


def test_a_whole_round_opens_and_says_so() -> None:
    session = a_session(dimension=17 * SLOTS)
    one = EncryptedRound(session, draw(session))
    one.finish()
    assert np.array_equal(one.sum.open().total, one.true_sum)
