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
from clients.model_files import FILES, MEMORY, PARAMETERS, model_digest, read_vector
from clients.offer import Offer

_WHOLE = frozenset(FILES)  # of a model between rounds; one more where its algorithm remembers more than a velocity


def parent_model(
    offer: Offer, private: PrivateTask, request: Mapping[str, Any], name: str = PARAMETERS
) -> NDArray[np.float64]:
    """The model to train from or to measure, checked against the hash that the round names.

    Args:
        name: which of its files was sent whole.
    """
    beside = _WHOLE - {name}
    digests = request["digests"]
    # The digest of a model does not bind its files' names: with others, its average could pass for its parameters.
    hashes = all(type(one) is bytes and len(one) == 32 for one in digests.values())
    if digests.keys() - {MEMORY} != beside or not hashes:
        raise Refusal("model", f"the files beside {name} must be {' and '.join(sorted(beside))}")
    if _hash_of(name, request["parameters"], tuple(sorted(digests.items()))) != offer.payload["parent_model"]:
        raise Refusal("model", "the model sent is not the round's parent model")
    parameters = _read_parameters(request["parameters"])
    if parameters.shape != (private.task.architecture.size,) or not np.isfinite(parameters).all():
        raise Refusal("model", "the model sent does not fit the task")
    return parameters


# Many simulated firms of one process are sent the same bytes: these two are then done once.


@lru_cache(maxsize=2)
def _hash_of(name: str, raw: bytes, beside: tuple[tuple[str, bytes], ...]) -> bytes:
    """The hash of the model whose file of this name this is, beside files of these digests."""
    return model_digest({**dict(beside), name: hashlib.sha256(raw).digest()})


@lru_cache(maxsize=2)
def _read_parameters(raw: bytes) -> NDArray[np.float64]:
    parameters = read_vector(raw, "model")
    parameters.setflags(write=False)
    return parameters
