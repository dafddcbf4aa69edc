"""One release of a noisy sum, for accounting: its noise, its sampling, and how often it is repeated; in integers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from clients.privacy import NanoRdp, PrivacyError, gaussian_rdp

MICRO = 1_000_000
MOST_NOISE_MICRO = 10**15
_MOST_STEPS = 10**9


@dataclass(frozen=True, order=True)
class Mechanism:
    """`steps` releases of a Poisson-sampled sum of clipped contributions with Gaussian noise.

    Attributes:
        noise_micro: noise multiplier in 1e-6: standard deviation of the noise over what one unit moves the sum by.
        sampling_micro: probability that one unit takes part in one step, in 1e-6; 1,000,000 is full batch.
        steps: number of releases; >= 1.

    Raises:
        PrivacyError: a number is out of range.
    """

    noise_micro: int
    sampling_micro: int = MICRO
    steps: int = 1

    def __post_init__(self) -> None:
        limits = ("noise_micro", MOST_NOISE_MICRO), ("sampling_micro", MICRO), ("steps", _MOST_STEPS)
        for name, most in limits:
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise PrivacyError(f"mechanism: {name} is {value!r}, it must be a whole number from 1 to {most}")

    @property
    def noise_multiplier(self) -> float:
        return self.noise_micro / MICRO

    @property
    def sampling_rate(self) -> float:
        return self.sampling_micro / MICRO

    def times(self, steps: int) -> Mechanism:
        """The same release, repeated `steps` times as often."""
        return replace(self, steps=self.steps * steps)

    def rdp(self) -> NanoRdp:
        """Nano-RDP of all its steps: what the ledger records."""
        return gaussian_rdp(self.noise_multiplier, self.sampling_rate, self.steps)
