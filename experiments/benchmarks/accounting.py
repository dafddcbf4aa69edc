"""Epsilon as it is told, beside the tightest accountants that are known, and how long accounting takes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

from clients.calibration import noise_micro_for
from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, Mechanism
from clients.privacy import add, epsilon
from experiments.benchmarks.figure import Figure

COMMAND = "artesian bench accounting"
DELTA = 1e-5
FULL_BATCH = Mechanism(23_600_000, MICRO, 40)
SETTINGS: tuple[tuple[str, tuple[Mechanism, ...]], ...] = (
    ("full batch, sigma 23.6 x 40", (FULL_BATCH,)),
    ("38 such trainings", (FULL_BATCH.times(38),)),
    ("full batch, sigma 3.8 x 40", (Mechanism(3_800_000, MICRO, 40),)),
    ("q .043, sigma 1.5 x 400", (Mechanism(1_500_000, 43_000, 400),)),
    ("q .0053, sigma .8 x 5625", (Mechanism(800_000, 5_300, 5_625),)),
    ("q .01, sigma 2 x 1000", (Mechanism(2_000_000, 10_000, 1_000),)),
    ("q .2, sigma 4 x 50", (Mechanism(4_000_000, 200_000, 50),)),
    ("q .043, sigma 1.5 x 400 and full batch, sigma 23.6 x 40", (Mechanism(1_500_000, 43_000, 400), FULL_BATCH)),
)
TARGETS = ((1.0, MICRO, 40), (3.0, 43_000, 400))


def run(runs: int = 5) -> list[Figure]:
    """Every setting's epsilon, the noise that targets take, and medians of `runs` timings."""
    return [*(_told(words, list(found)) for words, found in SETTINGS), *map(_noise, TARGETS), *_times(runs)]


def _told(words: str, mechanisms: Sequence[Mechanism]) -> Figure:
    beside = {
        "loss distributions (dp-accounting)": _loss_distributions(mechanisms),
        "Renyi (ours)": epsilon(add(one.rdp() for one in mechanisms), DELTA),
    }
    if all(one.sampling_micro == MICRO for one in mechanisms):
        beside = {"exact (bisection, scipy)": _exact(mechanisms), **beside}
    else:
        beside["PRV (Opacus), estimate"] = _prv(mechanisms)
    return Figure(f"epsilon at delta 1e-5, {words}", tightest_epsilon(mechanisms, DELTA), "nats", beside, 1, COMMAND)


def _exact(mechanisms: Sequence[Mechanism]) -> float:
    """Balle and Wang 2018, theorem 8, in other code than what is measured."""
    from scipy.optimize import brentq
    from scipy.special import log_ndtr

    mu = math.sqrt(sum(one.steps / one.noise_multiplier**2 for one in mechanisms))

    def missing(told: float) -> float:
        left = math.exp(log_ndtr(mu / 2 - told / mu)) - math.exp(told + log_ndtr(-mu / 2 - told / mu))
        return left - DELTA

    return float(brentq(missing, 0.0, 500.0, xtol=1e-12))


def _loss_distributions(mechanisms: Sequence[Mechanism]) -> float:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    for one in mechanisms:
        noise = GaussianDpEvent(one.noise_multiplier)
        event = noise if one.sampling_micro == MICRO else PoissonSampledDpEvent(one.sampling_rate, noise)
        accountant.compose(event, one.steps)
    return float(accountant.get_epsilon(DELTA))


def _prv(mechanisms: Sequence[Mechanism]) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(one.noise_multiplier, one.sampling_rate, one.steps) for one in mechanisms]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(DELTA, eps_error=0.005))


def _noise(target: tuple[float, int, int]) -> Figure:
    told, sampling_micro, steps = target
    found = noise_micro_for(told, DELTA, sampling_micro, steps)
    beside = {"by Renyi accounts": _noise_by_renyi(told, sampling_micro, steps)}
    words = f"noise for epsilon {told:g}, q {sampling_micro / MICRO:g}, {steps} steps"
    return Figure(words, found / MICRO, "multiplier", beside, 1, COMMAND)


def _noise_by_renyi(told: float, sampling_micro: int, steps: int) -> float:
    low, high = 0.1, 100.0
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        cost = epsilon(Mechanism(round(middle * MICRO), sampling_micro, steps).rdp(), DELTA)
        low, high = (low, middle) if cost <= told else (middle, high)
    return high


def _times(runs: int) -> list[Figure]:
    """Nothing that was asked for before is asked for again: noise differs by a millionth each time."""
    wallet = [Mechanism(20_000_000 + 7919 * place, MICRO, 40) for place in range(100)]
    sampled = Mechanism(1_500_000, 43_000, 400)

    def full(shift: int) -> float:
        return tightest_epsilon([Mechanism(23_600_000 + shift, MICRO, 40)], DELTA)

    one = _median_ms(full, runs)
    many = _median_ms(lambda shift: tightest_epsilon([*wallet, Mechanism(30_000_000 + shift)], DELTA), runs)
    first = _median_ms(lambda shift: tightest_epsilon([Mechanism(1_500_000 + shift, 43_000, 400)], DELTA), runs)
    again = _median_ms(lambda shift: tightest_epsilon([sampled.times(2), Mechanism(30_000_000 + shift)], DELTA), runs)
    library = _median_ms(lambda _: _loss_distributions([sampled]), runs)
    calibration = _median_ms(lambda shift: noise_micro_for(1.0 + shift / MICRO, DELTA, MICRO, 40), runs)
    return [
        Figure("time of epsilon, full batch", one, "ms", {"a wallet of 101 kinds of round": many}, runs, COMMAND),
        Figure(
            "time of epsilon, q .043, sigma 1.5 x 400",
            first,
            "ms",
            {"with another full-batch round": again, "dp-accounting at its own grid": library},
            runs,
            COMMAND,
        ),
        Figure("time of finding noise, full batch", calibration, "ms", {}, runs, COMMAND),
    ]


def _median_ms(work: Callable[[int], object], runs: int) -> float:
    work(0)
    taken = []
    for number in range(1, runs + 1):
        start = perf_counter()
        work(number)
        taken.append((perf_counter() - start) * 1000)
    return median(taken)
