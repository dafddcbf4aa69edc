"""Models as bytes: exact, and nothing else passes for one."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save

from clients.model_files import ModelFileInvalid, file_digests, model_digest, read_vector, write_vector


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(allow_nan=True)))
def test_a_vector_comes_back_bit_for_bit(values: np.ndarray) -> None:
    raw = write_vector(values)
    assert read_vector(raw, "model").tobytes() == values.tobytes()
    assert write_vector(read_vector(raw, "model")) == raw
    assert write_vector(values[::1]) == write_vector(np.concatenate([values, values])[: len(values)])


def _typed(kind: str, size: int) -> bytes:
    header = json.dumps({"values": {"dtype": kind, "shape": [2], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"junk",
        save({"other": np.zeros(2)}),
        save({"values": np.zeros(2), "more": np.zeros(2)}),
        save({"values": np.zeros(2, dtype=np.float32)}),
        save({"values": np.zeros((2, 2))}),
        save({"values": np.array(1.0)}),
        write_vector(np.zeros(3))[:-1],
        write_vector(np.zeros(3)) + b"\0",
        _typed("BF16", 4),
        _typed("F8_E4M3", 2),
        _typed("X", 2),
        struct.pack("<Q", 2**60) + b"{}",
    ],
)
def test_anything_else_is_refused_in_one_line(raw: bytes) -> None:
    with pytest.raises(ModelFileInvalid) as caught:
        read_vector(raw, "parent model")
    assert str(caught.value).startswith("parent model: ")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=100))
def test_no_bytes_end_in_a_traceback(raw: bytes) -> None:
    with pytest.raises(ModelFileInvalid):
        read_vector(raw, "model")


def test_the_digest_is_over_digests_in_order_of_names() -> None:
    files = {"b": b"2", "a": b"1"}
    wanted = hashlib.sha256(hashlib.sha256(b"1").digest() + hashlib.sha256(b"2").digest()).digest()
    assert model_digest(file_digests(files)) == wanted
