"""The model that a round starts from, as a firm takes it from a message."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.firm import PrivateTask
from clients.messages import Refusal
from clients.model_files import AVERAGE, MEMORY, PARAMETERS, VELOCITY, model_digest, read_vector
from clients.offer import Offer

# The other files of a model between rounds; the last one where its algorithm remembers more than a velocity.
_BESIDE = frozenset({AVERAGE, VELOCITY})


def parent_model(offer: Offer, private: PrivateTask, request: Mapping[str, Any]) -> NDArray[np.float64]:
    """The model to train from, checked against the hash that the round names."""
    digests = request["digests"]
    # The digest of a model does not bind its files' names: with others, its average could pass for its parameters.
    hashes = all(type(one) is bytes and len(one) == 32 for one in digests.values())
    if digests.keys() - {MEMORY} != _BESIDE or not hashes:
        raise Refusal("model", f"the files beside {PARAMETERS} must be {' and '.join(sorted(_BESIDE))}")
    if _hash_of(request["parameters"], tuple(sorted(digests.items()))) != offer.payload["parent_model"]:
        raise Refusal("model", "the model sent is not the round's parent model")
    parameters = _read_parameters(request["parameters"])
    if parameters.shape != (private.task.architecture.size,) or not np.isfinite(parameters).all():
        raise Refusal("model", "the model sent does not fit the task")
    return parameters


# Many simulated firms of one process are sent the same bytes: these two are then done once.


@lru_cache(maxsize=2)
def _hash_of(raw: bytes, beside: tuple[tuple[str, bytes], ...]) -> bytes:
    """The hash of the model whose parameters these are, beside files of these digests."""
    return model_digest({**dict(beside), PARAMETERS: hashlib.sha256(raw).digest()})


@lru_cache(maxsize=2)
def _read_parameters(raw: bytes) -> NDArray[np.float64]:
    parameters = read_vector(raw, "model")
    parameters.setflags(write=False)
    return parameters
