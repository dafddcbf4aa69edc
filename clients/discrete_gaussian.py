"""Integers with a discrete Gaussian distribution, sampled exactly: no floating-point error reaches a sample.

P(x) is proportional to exp(-x^2 / (2 sigma^2)) over all integers x. The sampler is algorithm 3 of Canonne, Kamath and
Steinke 2020 (arXiv 2004.00010), many samples at a time: rejection from a discrete Laplace of scale sigma. Each
decision compares a uniform real, of which 63 bits are drawn, with a probability that floating point knows to within
`margin`; where that does not decide it, more bits are drawn and the probability is computed to as many digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]
LARGEST_SIGMA = 1 << 40
MARGIN = 2.0**-40
"""Floating point computes every probability below with an error under 2**-48."""

_BITS = 63
_DRAWS_PER_SAMPLE = 2.2  # 48 % of the candidates are accepted when sigma is large
_LADDER = np.exp(-np.arange(1.0, 60.0))[::-1].copy()  # P(V >= k) for k = 59 .. 1
_TOP = len(_LADDER) - 1


class ByteSource(Protocol):
    """Uniform bytes, such as those of `clients.noise.RandomStream`."""

    def bytes(self, count: int) -> bytes: ...


def discrete_gaussian(source: ByteSource, sigma: int, count: int, *, margin: float = MARGIN) -> Integers:
    """int64[count], independent discrete Gaussians of the parameter `sigma` (1 to 2**40; about the deviation).

    Args:
        margin: decisions closer than this to their probability are taken with more digits; at least `MARGIN`.

    Raises:
        ValueError: `sigma` or `margin` is out of range.
    """
    if not 1 <= sigma <= LARGEST_SIGMA:
        raise ValueError(f"sigma: {sigma} must be a whole number from 1 to {LARGEST_SIGMA}")
    if not MARGIN <= margin < 1:
        raise ValueError(f"margin: {margin} must lie between {MARGIN} and 1")
    out = np.empty(count, dtype=np.int64)
    done = 0
    while done < count:
        fresh = _candidates(source, sigma, int((count - done) * _DRAWS_PER_SAMPLE) + 16, margin)[: count - done]
        out[done : done + len(fresh)] = fresh
        done += len(fresh)
    return out


def _candidates(source: ByteSource, sigma: int, count: int, margin: float) -> Integers:
    """The accepted ones of at most `count` candidates: X = +/-(U + sigma V), U below sigma, V geometric."""
    offset = below(_words(source, count), sigma)
    count = len(offset)
    steps = _geometric(source, _words(source, count), margin)
    words = _words(source, count)
    a = offset / sigma
    # Two chances at once: exp(-U / sigma) makes U + sigma V a discrete Laplace, the other makes that a Gaussian.
    chance = np.exp(-(a + (a + steps - 1.0) ** 2 / 2.0))

    def exact(place: int, mp: Any) -> Any:
        ratio = mp.mpf(int(offset[place])) / sigma
        return mp.exp(-(ratio + (ratio + int(steps[place]) - 1) ** 2 / 2))

    negative = (words & np.uint64(1)).astype(bool)
    magnitude = offset + steps * sigma
    taken = _happens(source, words >> np.uint64(1), chance, exact, margin) & ~(negative & (magnitude == 0))
    signed: Integers = np.where(negative, -magnitude, magnitude)
    accepted: Integers = signed[taken]
    return accepted


def _words(source: ByteSource, count: int) -> Words:
    return np.frombuffer(source.bytes(8 * count), dtype="<u8")


def below(words: Words, limit: int) -> Integers:
    """Uniform integers in [0, limit): the words beyond the last whole multiple of `limit` are left out."""
    whole = (1 << 64) // limit * limit
    kept = words if whole == 1 << 64 else words[words < np.uint64(whole)]
    return (kept % np.uint64(limit)).astype(np.int64)


def _geometric(source: ByteSource, words: Words, margin: float) -> Integers:
    """V with P(V >= k) = exp(-k): the number of powers of 1/e that a uniform real lies below."""
    uniform = (words >> np.uint64(1)).astype(np.float64) * 2.0**-_BITS
    above = np.searchsorted(_LADDER, uniform, side="right")
    steps = (len(_LADDER) - above).astype(np.int64)
    nearest = np.minimum(np.abs(uniform - _LADDER[above - 1]), np.abs(_LADDER[np.minimum(above, _TOP)] - uniform))
    for place in np.flatnonzero((nearest <= margin) | (uniform <= _LADDER[0] + margin)):
        steps[place] = _powers_above(source, int(words[place]) >> 1)
    return steps


def _powers_above(source: ByteSource, word: int) -> int:
    real = _Uniform(source, word)
    steps = 0
    while real.is_below(partial(_power, steps + 1)):
        steps += 1
    return steps


def _power(k: int, mp: Any) -> Any:
    return mp.exp(-k)


def _happens(
    source: ByteSource,
    halves: Words,
    chance: NDArray[np.float64],
    exact: Callable[[int, Any], Any],
    margin: float,
) -> NDArray[np.bool_]:
    """Whether each uniform real, known to 63 bits, lies below its probability."""
    distance = chance - halves.astype(np.float64) * 2.0**-_BITS
    happens: NDArray[np.bool_] = distance > 0
    for place in np.flatnonzero(np.abs(distance) <= margin):
        happens[place] = _Uniform(source, int(halves[place])).is_below(partial(exact, int(place)))
    return happens


class _Uniform:
    """A uniform real of which more bits are drawn as they are needed."""

    def __init__(self, source: ByteSource, word: int) -> None:
        self._source = source
        self._digits, self._bits = word, _BITS

    def is_below(self, probability: Callable[[Any], Any]) -> bool:
        """Whether it is, with a probability that can be computed to any precision."""
        import mpmath  # seldom needed: once in some 2**39 decisions

        while True:
            with mpmath.workprec(self._bits + 64):
                scaled = mpmath.ldexp(probability(mpmath), self._bits)
                slack = mpmath.ldexp(1, -32)
                if self._digits + 1 <= scaled - slack:
                    return True
                if self._digits >= scaled + slack:
                    return False
            self._digits = (self._digits << 64) | int.from_bytes(self._source.bytes(8), "little")
            self._bits += 64
