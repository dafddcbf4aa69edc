"""The coordinates of canaries in opened sums, as scores: for full batches, sampled rounds and correlated noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from experiments.privacy_audit.audited_run import Opened
from experiments.privacy_audit.canaries import CanaryTask
from experiments.privacy_audit.estimates import Estimate, estimate
from experiments.privacy_audit.sampled import estimate_sampled


def claimed_mu(opened: Opened) -> float:
    """What the plans promise of Gaussian differential privacy: all rounds together, or one of them if sampled."""
    mechanisms = [one for plan in opened.plans if (one := plan.round_mechanism()) is not None]
    if opened.plans[0].sampling_rate < 1:
        return 1.0 / mechanisms[0].noise_multiplier
    return math.sqrt(sum(one.steps / one.noise_multiplier**2 for one in mechanisms))


def measured(
    opened: Opened, task: CanaryTask, included: NDArray[np.bool_], delta: float, confidence: float
) -> Estimate:
    """What the sums of a run give away of its canaries."""
    plan, usable = opened.plans[0], opened.usable
    sums = opened.sums[:, task.coordinates[usable]] / plan.clip
    if plan.sampling_rate < 1:
        mechanism = plan.round_mechanism()
        assert mechanism is not None
        return estimate_sampled(sums, included[usable], mechanism, delta, confidence)
    weights = np.ones(len(sums))
    if plan.correlated is not None:  # a unit of the first part is in each row, with a known coefficient
        weights = np.array([plan.correlated.sensitivity_micro(one.row) for one in opened.plans], dtype=np.float64)
    return estimate(weights @ sums, included[usable], claimed_mu(opened), delta, confidence)
