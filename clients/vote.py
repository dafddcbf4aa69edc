"""A firm's vote on the groups of a round: how much each group's step helps on units that it never trains on.

A vote is a vector of integers, one a group, signed by the firm. It leaves the firm in the clear, so that nobody can
change it and everybody can count again, and carries all the noise that it needs by itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.discrete_gaussian import ByteSource, discrete_gaussian
from clients.masking import wire
from clients.masking.errors import MalformedMessage
from clients.plan import MICRO, Plan
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples, average_within_units
from ledger.errors import LedgerError
from ledger.keys import PublicKey, SigningKey

Vector = NDArray[np.float64]
STEPS = 1 << 12
"""Integer steps in the clip of one unit's vote: rounding to them adds next to nothing to the noise."""

_VOTE: dict[str, type] = {"body": bytes, "signature": bytes}
_BODY: dict[str, type] = {"cid": str, "round": bytes, "member": str, "groups": bytes, "scores": list}
_CONTEXT = b"artesian/vote/v1\x00"
_MOST = 1 << 62


@dataclass(frozen=True)
class Vote:
    """What one firm says of the groups of one round.

    Attributes:
        groups: SHA-256 over the mean gradients that were judged, see `groups_hash`.
        scores: for each group, in steps of the clip over `STEPS`: by how much its step lowers the loss, added up over
            the firm's held-out units, with noise.
    """

    cid: str
    round_id: bytes
    member: str
    groups: bytes
    scores: tuple[int, ...]

    def sign(self, key: SigningKey) -> bytes:
        """The vote as it is sent and stored."""
        body = wire.encode(
            {
                "cid": self.cid,
                "round": self.round_id,
                "member": self.member,
                "groups": self.groups,
                "scores": list(self.scores),
            }
        )
        return wire.encode({"body": body, "signature": key.sign(_CONTEXT + body)})

    @classmethod
    def read(cls, raw: bytes, key: bytes) -> Vote:
        """Reads a vote that was signed under `key`, 32 bytes.

        Raises:
            MalformedMessage: not a vote, or signed by another.
        """
        fields = wire.decode(raw, _VOTE, "vote")
        try:
            PublicKey(key).verify(fields["signature"], _CONTEXT + fields["body"])
        except LedgerError:
            raise MalformedMessage("vote: its signature is not by the firm's key") from None
        body = wire.decode(fields["body"], _BODY, "vote")
        scores = tuple(body["scores"])
        if any(type(one) is not int or abs(one) > _MOST for one in scores):
            raise MalformedMessage("vote: a score is no whole number of 63 bits")
        return cls(body["cid"], body["round"], body["member"], body["groups"], scores)


def groups_hash(gradients: Sequence[bytes]) -> bytes:
    """The hash that names what is voted on: of the groups' mean gradients as model files, in the groups' order."""
    return hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in gradients)).digest()


def sigma_of(plan: Plan) -> int:
    """Parameter of the noise in each score, in steps; 0 without privacy.

    One unit moves each of the scores by at most the clip and a step of rounding (and half of one for what float64
    loses): in Euclidean norm the square root of their number times that. The noise is that times the plan's noise
    multiplier, so a vote costs a held-out unit what the round costs a unit that is trained on.
    """
    return math.ceil(plan.noise_multiplier * math.sqrt(plan.groups) * (STEPS + 1.5))


def scores_of(
    architecture: Architecture,
    parameters: Vector,
    gradients: Sequence[Vector],
    examples: Examples,
    plan: Plan,
    source: ByteSource,
) -> tuple[int, ...]:
    """How much each group's step lowers the clipped loss of held-out units, with noise.

    The step that is tried is the way that the round's gradient goes in the end, with its momentum.

    Args:
        parameters: float64[d], the round's parent model.
        gradients: float64[d] of each group.
        examples: the held-out units that the round samples.
    """
    clip, trial = plan.vote_clip_micro / MICRO, plan.rate_micro / MICRO
    scores = np.zeros(len(gradients), dtype=np.int64)
    if examples.units:
        before = _losses(architecture, parameters, examples)
        for place, gradient in enumerate(gradients):
            gain = before - _losses(architecture, parameters - trial * gradient, examples)
            # A loss that is not finite says nothing, rather than everything.
            gain = np.clip(np.nan_to_num(gain, nan=0.0, posinf=clip, neginf=-clip), -clip, clip)
            scores[place] = np.rint(gain.sum() * (STEPS / clip))
    sigma = sigma_of(plan)
    if sigma:
        scores += discrete_gaussian(source, sigma, len(scores))
    return tuple(scores.tolist())


def _losses(architecture: Architecture, parameters: Vector, examples: Examples) -> Vector:
    """float64[units]: the mean loss of each unit's examples."""
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = architecture.forward(parameters, examples.inputs) + examples.offset
        losses = architecture.loss.value(outputs, examples.targets)
    if examples.one_each:
        return losses
    return np.asarray(average_within_units(examples.unit, examples.units) @ losses)
