"""What could be wrong with a firm's client: each fault that an audit has to find, put on from outside.

No client of ours has these faults or a switch for them. They are wrapped around the client's functions for as long as
an audited run lasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from clients import participation
from clients.discrete_gaussian import discrete_gaussian
from clients.noise import RandomStream
from clients.tasks.examples import Examples
from clients.training import Protection, bounded_gradient_sum

Mode = Literal["local", "distributed"]
FaultName = Literal["none", "half-noise", "no-clip", "wrong-unit", "linear-shares", "missing-share"]


@dataclass(frozen=True)
class Fault:
    """One way in which a firm's client does not do what the plan says.

    Attributes:
        words: what is wrong, for people.
        modes: of privacy, in which it can be wrong.
        noise: what every firm multiplies its noise by.
        linear_shares: a firm's share of distributed noise is divided by the number of firms, not by its root.
        missing_share: one honest firm adds no noise.
        clips: gradients are clipped.
        rows_are_units: the rows of a unit are clipped one by one.
    """

    words: str
    modes: tuple[Mode, ...] = ("local", "distributed")
    noise: float = 1.0
    linear_shares: bool = False
    missing_share: bool = False
    clips: bool = True
    rows_are_units: bool = False

    def noise_factor(self, honest: int) -> float:
        """What an honest firm multiplies its noise by, of so many whose noise protects a sum."""
        return self.noise / math.sqrt(honest) if self.linear_shares else self.noise


FAULTS: Mapping[FaultName, Fault] = {
    "none": Fault("as it is"),
    "half-noise": Fault("half the noise", noise=0.5),
    "no-clip": Fault("no clip", clips=False),
    "wrong-unit": Fault("rows one by one", rows_are_units=True),
    "linear-shares": Fault("shares over n", ("distributed",), linear_shares=True),
    "missing-share": Fault("a share missing", ("distributed",), missing_share=True),
}


class FaultyStream(RandomStream):
    """A firm's stream, with what is wrong with the noise that is drawn from it."""

    noise: float = 1.0


def rows_as_units(examples: Examples) -> Examples:
    """The same rows, each taken for a unit."""
    count = len(examples.targets)
    return replace(examples, unit=np.arange(count), units=count, names=None)


@contextmanager
def wrong_with(fault: Fault) -> Iterator[None]:
    """While this lasts, the firms of this process clip and draw noise as the fault and their streams say."""

    def noise(source: RandomStream, sigma: int, count: int) -> NDArray[np.int64]:
        wanted = round(sigma * (source.noise if isinstance(source, FaultyStream) else 1.0))
        return discrete_gaussian(source, wanted, count) if wanted else np.zeros(count, dtype=np.int64)

    def unclipped(
        architecture: Any, parameters: Any, examples: Any, protection: Protection, *rest: Any, **more: Any
    ) -> Any:
        return bounded_gradient_sum(architecture, parameters, examples, replace(protection, clip=1e9), *rest, **more)

    with ExitStack() as stack:
        stack.enter_context(patch.object(participation, "discrete_gaussian", noise))
        if not fault.clips:
            stack.enter_context(patch.object(participation, "bounded_gradient_sum", unclipped))
        yield
