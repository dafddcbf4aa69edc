"""Models as files: tensors in safetensors, and the digest that names a model on the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from clients.errors import ClientError

PARAMETERS = "parameters.safetensors"
VELOCITY = "velocity.safetensors"
AVERAGE = "average.safetensors"  # what answers
MEMORY = "memory.safetensors"  # of an algorithm that remembers more than a velocity
FILES = (AVERAGE, PARAMETERS, VELOCITY)  # in order of names, as the digest takes them
FILES_WITH_MEMORY = (AVERAGE, MEMORY, PARAMETERS, VELOCITY)
_VECTOR = "values"


class ModelFileInvalid(ClientError):
    """Bytes that are not the model file they are said to be."""


def write_vector(values: NDArray[np.float64]) -> bytes:
    """A flat vector float64[d] as safetensors; the same values always give the same bytes."""
    return save({_VECTOR: np.ascontiguousarray(values, dtype=np.float64)})


def read_vector(raw: bytes, what: str) -> NDArray[np.float64]:
    """The inverse of `write_vector`.

    Raises:
        ModelFileInvalid: anything else; `what` names it.
    """
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModelFileInvalid(f"{what}: not a safetensors file") from error
    values = tensors.get(_VECTOR)
    if values is None or len(tensors) != 1 or values.dtype != np.float64 or values.ndim != 1:
        raise ModelFileInvalid(f"{what}: does not hold one vector of float64")
    return np.array(values)


def file_digests(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """SHA-256 of every file by its name."""
    return {name: hashlib.sha256(raw).digest() for name, raw in files.items()}


def file_names(count: int) -> tuple[str, ...] | None:
    """The names of a model's files in order, by how many there are; None for no model."""
    return {len(names): names for names in (FILES, FILES_WITH_MEMORY)}.get(count)


def model_digest(digests: Mapping[str, bytes]) -> bytes:
    """The OpenSSF model-signing digest of a folder: SHA-256 over its files' SHA-256 digests in order of names."""
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).digest()
