"""A round's plan in words, for a firm's operator to decide by: who could read one update, and what a round costs."""

from __future__ import annotations

from collections.abc import Sequence

from clients.composition import tightest_epsilon
from clients.plan import MICRO, Plan
from clients.privacy_words import up


def trust_statement(plan: Plan, cohort: Sequence[str]) -> str:
    """Who can read one firm's update, plainly; see docs/secure-aggregation.md."""
    holder, few = plan.key_holder, plan.colluders
    side = "1 firm sides" if few == 1 else f"{few} firms side"
    if plan.aggregation == "masked":
        of = f"in each of {plan.groups} groups" if plan.groups > 1 else f"of {len(cohort)}"
        return (
            f"Updates are masked: sums of at least {plan.threshold} firms {of} are opened, and nobody reads a single "
            f"update, as long as no more than {side} with the coordinator. No member holds a key to updates."
        )
    if plan.aggregation == "encrypted":
        return (
            f"Updates are encrypted under a key that {holder} holds alone, and {holder} opens one sum of at least "
            f"{plan.threshold} firms of {len(cohort)}. Whoever holds that key can read every single update that it "
            f"gets hold of: {holder} together with the coordinator, or with one of the firms that check the sum "
            f"({few + 1} or more), reads every update of the round. That {holder} destroys the key when the sum is "
            f"open is its word; nobody can check it. While {holder} sides with nobody, none of the others reads a "
            f"single update, as long as no more than {side} with the coordinator. Masked sums need no such "
            "word."
        )
    return "Updates are not protected: the coordinator reads each of them."


def purpose_statement(plan: Plan, unit: str) -> str:
    """What a round's sum is made of, and what counts as one in it.

    Args:
        unit: the task's privacy unit in words.
    """
    each = f"All that {unit} contributes is bounded together, and protected as one."
    if not plan.measures:
        return f"It trains the model. {each}"
    what = {
        "units": "how many there are",
        "evaluation": "how well the model does: a histogram of its scores and their outcomes, or its errors",
        "columns": "how many records fall into each public bin of each column",
        "fairness": f"how well the model does for each value of {plan.measure_column!r}",
    }[plan.measures]
    held = f" on the {plan.held_out_micro / 10_000:g} % held out of training" if plan.held_out_micro else ""
    return f"It trains nothing: it measures {what}{held}, as a noisy sum over the firms. {each}"


def privacy_statement(plan: Plan) -> str:
    """What the round's noise promises, and what a round and its run cost."""
    if plan.privacy == "none":
        return "No noise is added: the model may reveal any record."
    whose = "each firm's own noise is enough by itself"
    if plan.privacy == "distributed":
        whose = f"only the sum has that much noise, and less if more than {plan.colluders} firms pool theirs"
    mechanism = plan.round_mechanism()
    once = tightest_epsilon([] if mechanism is None else [mechanism], plan.delta)
    whole = tightest_epsilon(plan.run_mechanisms(), plan.delta)
    costs = f"A round costs epsilon {up(once)} and all {plan.rounds} rounds {up(whole)}"
    return f"{costs}, at delta {plan.delta:g}; {whose}.{_in_a_round(plan)}"


def _in_a_round(plan: Plan) -> str:
    """What is special about a round of this plan; starts with a space where there is something to say."""
    if plan.local_steps > 1:
        return f" A round is {plan.local_steps} steps of each firm by itself, each with all of its noise and paid for."
    if plan.correlated is not None:
        bands = plan.correlated.bands
        return (
            f" Noise is correlated over {bands} rounds: each trains on one of {bands} parts of the units, and this "
            f"firm keeps its bare sums of up to {bands} rounds, readable by its owner alone, until the run is over."
        )
    if plan.sampling_micro < MICRO:
        return f" A round trains on {plan.sampling_rate:.3g} of the units, which this firm draws and nobody else knows."
    return ""
