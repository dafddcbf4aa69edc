"""Vectors of integers under encryption: encrypt, add, decrypt to the exact sum.

A vector is cut into blocks of 2,048 values, one ciphertext each, and the blocks into pieces of 16, so that a sum can be
checked piece by piece. Bytes of ciphertexts add up to the same bytes in every order, so anyone can compute them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from clients.encryption.contexts import Context
from clients.encryption.errors import CiphertextRefused, SumMalformed
from clients.encryption.scheme import RING_DEGREE, SLOTS, scale_of, tolerance
from clients.masking import wire
from clients.masking.errors import MalformedMessage
from clients.masking.ring import Integers
from clients.masking.session import Session

PIECE_BLOCKS = 16
MAX_BLOCK_BYTES = 70_000
_VECTOR: dict[str, type] = {"pieces": list}
_PIECE: dict[str, type] = {"blocks": list}


def blocks_of(dimension: int) -> list[int]:
    """How many blocks each piece of a vector of `dimension` values has."""
    blocks = -(-dimension // SLOTS)
    return [min(PIECE_BLOCKS, blocks - start) for start in range(0, blocks, PIECE_BLOCKS)]


def encrypt(context: Context, session: Session, values: Integers) -> bytes:
    """Encrypts int64[dimension]; some 31 bytes a value.

    Returns:
        the encoded vector, to be read by `pieces_of`.
    """
    import tenseal

    scale = scale_of(session.ring_bits)
    counts = blocks_of(session.dimension)
    padded = np.zeros(sum(counts) * SLOTS)
    padded[: session.dimension] = values
    rows = iter(padded.reshape(-1, SLOTS))
    pieces = [
        wire.encode({"blocks": [tenseal.ckks_vector(context.native, next(rows), scale).serialize() for _ in range(n)]})
        for n in counts
    ]
    return join_pieces(pieces)


def join_pieces(pieces: Sequence[bytes]) -> bytes:
    """The vector of these pieces, encoded."""
    return wire.encode({"pieces": list(pieces)})


def pieces_of(session: Session, raw: bytes, what: str) -> list[bytes]:
    """The encoded pieces of a vector of the session's dimension.

    Raises:
        CiphertextRefused: these bytes are no such vector; `what` says whose.
    """
    try:
        pieces = wire.decode(raw, _VECTOR, what)["pieces"]
    except MalformedMessage as error:
        raise CiphertextRefused(str(error)) from None
    if len(pieces) != len(blocks_of(session.dimension)) or any(type(one) is not bytes for one in pieces):
        raise CiphertextRefused(f"{what}: it is not in the pieces of {session.dimension} values")
    return list(pieces)


def hash_pieces(pieces: Sequence[bytes]) -> bytes:
    """SHA-256 of every piece, one after the other."""
    return b"".join(hashlib.sha256(piece).digest() for piece in pieces)


class EncryptedPiece:
    """The sum of one piece of several vectors."""

    def __init__(self, context: Context, session: Session, number: int) -> None:
        self._context = context
        self._scale = scale_of(session.ring_bits)
        self._blocks = blocks_of(session.dimension)[number]
        self._total: list[Any] = []

    def add(self, piece: bytes, what: str) -> None:
        """Adds one encoded piece.

        Raises:
            CiphertextRefused: it is not one of this place, and the sum is as before; `what` says whose.
        """
        self._total = self.with_piece(piece, what)

    def with_piece(self, piece: bytes, what: str) -> list[Any]:
        """What the sum would be with one more encoded piece; see `add`."""
        read = read_piece(self._context, piece, self._blocks, self._scale, what)
        if not self._total:
            return read
        try:
            return [one + other for one, other in zip(self._total, read, strict=True)]
        except (ValueError, RuntimeError) as error:
            raise CiphertextRefused(f"{what}: it cannot be added ({error})") from None

    def put(self, total: list[Any]) -> None:
        """Take what `with_piece` gave for the sum."""
        self._total = total

    def to_bytes(self) -> bytes:
        """The sum, encoded as a piece."""
        return wire.encode({"blocks": [one.serialize() for one in self._total]})


def read_piece(context: Context, piece: bytes, blocks: int, scale: float, what: str) -> list[Any]:
    """The ciphertexts of an encoded piece: fresh or sums, two polynomials each, at this scale.

    Raises:
        CiphertextRefused: anything else.
    """
    import tenseal

    try:
        raws = wire.decode(piece, _PIECE, what)["blocks"]
    except MalformedMessage as error:
        raise CiphertextRefused(str(error)) from None
    if len(raws) != blocks or any(type(raw) is not bytes or len(raw) > MAX_BLOCK_BYTES for raw in raws):
        raise CiphertextRefused(f"{what}: a piece is not {blocks} ciphertexts")
    out = []
    for raw in raws:
        try:
            vector = tenseal.ckks_vector_from(context.native, raw)
            ciphertexts = vector.ciphertext()
        except Exception as error:  # the library raises many kinds on hostile bytes; all mean the same here
            raise CiphertextRefused(f"{what}: it cannot be read ({type(error).__name__})") from None
        if vector.size() != SLOTS or len(ciphertexts) != 1 or not _is_sound(ciphertexts[0], scale):
            raise CiphertextRefused(f"{what}: a ciphertext has another form than this scheme's")
        out.append(vector)
    return out


def _is_sound(ciphertext: Any, scale: float) -> bool:
    form = (ciphertext.size(), ciphertext.poly_modulus_degree(), ciphertext.coeff_modulus_size(), ciphertext.scale)
    return form == (2, RING_DEGREE, 1, scale) and ciphertext.is_ntt_form() and not ciphertext.is_transparent()


def decrypt_sum(context: Context, session: Session, pieces: Sequence[bytes], firms: int) -> Integers:
    """Opens a sum of `firms` vectors to the exact integers int64[dimension].

    Ciphertexts that somebody made by hand, say with a multiple of the key in what they open to, would give the key
    away by the sum's value. Honest slots are whole, without an imaginary part, and zero beyond the vector's end, each
    within `tolerance`; to keep to that with something of an unknown key in them is to guess the key. So whoever asks
    again after this has raised must find the key gone.

    Args:
        context: with the secret key.

    Raises:
        CiphertextRefused: these are no ciphertexts of this session; nothing was decrypted.
        SumMalformed: what they open to is not a sum that the firms can have sent. Destroy the key.
    """
    scale = scale_of(session.ring_bits)
    vectors = [
        vector
        for piece, blocks in zip(pieces, blocks_of(session.dimension), strict=True)
        for vector in read_piece(context, piece, blocks, scale, "encrypted sum")
    ]
    slots = _slots(context, vectors)
    near = tolerance(firms, session.ring_bits)
    whole = np.rint(slots.real)
    # Not what is over, but what is not within: a NaN is neither.
    sound = np.all(np.abs(slots.real - whole) <= near) and np.all(np.abs(slots.imag) <= near)
    limit = firms * session.quantiser.largest
    if not sound or np.any(whole[session.dimension :]) or float(np.abs(whole).max()) > limit:
        raise SumMalformed("encrypted sum: it does not open to whole numbers that these firms can have sent")
    total: Integers = whole[: session.dimension].astype(np.int64)
    return total


def _slots(context: Context, vectors: Sequence[Any]) -> Any:
    """What ciphertexts decrypt to, as complex128, one after the other."""
    from tenseal import sealapi

    native = context.native.seal_context().data
    decryptor, encoder = sealapi.Decryptor(native, context.native.secret_key().data), sealapi.CKKSEncoder(native)
    plain, out = sealapi.Plaintext(), np.empty((len(vectors), SLOTS), dtype=np.complex128)
    for place, vector in enumerate(vectors):
        decryptor.decrypt(vector.ciphertext()[0], plain)
        out[place] = encoder.decode_complex(plain)
    return out.reshape(-1)
