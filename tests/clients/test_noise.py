"""Noise is what it says: AES-CTR, uniform, and never the same twice unless a seed asks for it."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from clients.noise import RandomStream

KEY = bytes(range(32))


class Words(RandomStream):
    """A stream that gives the 64-bit words it is told."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(KEY)
        self._raw = b"".join(word.to_bytes(8, "little") for word in words)

    def bytes(self, count: int) -> bytes:
        assert count == len(self._raw)
        return self._raw


def test_the_stream_is_aes_256_in_counter_mode() -> None:
    """NIST SP 800-38A builds CTR from the block cipher: block i is the encrypted counter i."""
    block = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()
    wanted = b"".join(block.update(i.to_bytes(16, "big")) for i in range(4))
    stream = RandomStream(KEY)
    assert stream.bytes(5) + stream.bytes(0) + stream.bytes(59) == wanted


def test_the_block_cipher_answers_nist_vector_f_5_5() -> None:
    """SP 800-38A F.5.5, CTR-AES256.Encrypt, block 1: the stream is plaintext xor ciphertext."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    stream = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(16))
    plain = int.from_bytes(bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"), "big")
    assert (int.from_bytes(stream, "big") ^ plain).to_bytes(16, "big").hex() == "601ec313775789a5b7a7f504bbf3d228"


def test_uniform_never_reaches_its_ends() -> None:
    lowest, highest = Words([0, 2**64 - 1]).uniform(2)
    assert lowest == 2.0**-53
    assert highest == 1.0 - 2.0**-53
    assert highest < 1.0


def test_uniform_passes_kolmogorov_and_smirnov() -> None:
    drawn = RandomStream.seeded(4, "test").uniform(100_000)
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.015


def test_secure_streams_differ() -> None:
    drawn = {RandomStream.secure().bytes(32) for _ in range(20)}
    assert len(drawn) == 20


def test_seeded_streams_repeat_themselves_and_no_other() -> None:
    labels: list[tuple[str | int, ...]] = [
        (),
        ("a",),
        ("b",),
        ("a", "b"),
        ("b", "a"),
        ("ab",),
        ("a\x1fb",),
        (1,),
        ("1",),
        ("a", 1),
        ("a", 11),
    ]
    streams = {RandomStream.seeded(seed, *each).bytes(32) for seed in (0, 1, 10) for each in labels}
    assert len(streams) == 3 * len(labels)
    assert RandomStream.seeded(1, "a", 1).bytes(32) == RandomStream.seeded(1, "a", 1).bytes(32)


def test_seeded_streams_of_two_firms_are_independent() -> None:
    one, other = (RandomStream.seeded(0, firm, "credit", 1).uniform(50_000) for firm in ("firm-1", "firm-2"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.3, 1.0])
def test_a_poisson_sample_has_its_rate(rate: float) -> None:
    chosen = RandomStream.seeded(2, "sample").bernoulli(100_000, rate)
    assert chosen.dtype == np.bool_
    assert abs(chosen.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / 1e5)
