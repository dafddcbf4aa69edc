"""`artesian firm what-if`: what trainings on the same data come to together, and how many of them a cap holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clients.mechanism import Mechanism

_MOST_TIMES = 1_000_000


def what_if(
    epsilons: Annotated[
        list[float],
        typer.Argument(help="What each training costs by itself.", metavar="EPSILON...", min=1e-3, max=100.0),
    ],
    cap: Annotated[float, typer.Option(help="The lifetime cap.", min=1e-3, max=100.0)] = 8.0,
    delta: Annotated[float, typer.Option(help="The delta of all of them.")] = 1e-5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Work out a cap before it is set: what trainings come to together, how often they fit, and what that means.

    For trainings with all units in every round, however many rounds; needs no home and spends nothing.
    """
    from clients.privacy_words import percent

    facts = outcome(epsilons, cap, delta)
    if as_json:
        typer.echo(json.dumps({"ok": True, **facts}))
        return
    one = " and ".join(f"{value:g}" for value in epsilons)
    come, them = ("come", "them") if len(epsilons) > 1 else ("comes", "it")
    by_sum = f"; their sum is {facts['sum']:.4g}" if len(epsilons) > 1 else ""
    typer.echo(f"On the same data, epsilon {one} {come} to {facts['together']:.4g} at delta {delta:g}{by_sum}.")
    many = facts["times_within_cap"]
    if many:
        times = "once" if many == 1 else f"{many} times"
        typer.echo(f"A cap of {cap:g} holds {them} {times}; by the sum it would be {facts['times_by_sum']}.")
    else:
        typer.echo(f"A cap of {cap:g} does not fit: it does not hold {them} even once.")
    for words, key in (("that together", "together"), ("all of the cap", "cap")):
        typer.echo(
            f"At {words} a bet on whether one unit was there is right in at most {percent(facts['guess'][key])} % of "
            f"cases (a coin: 50 %); two units, or one at two firms, have at most epsilon {facts['of_two'][key]:.4g}."
        )


def outcome(epsilons: list[float], cap: float, delta: float) -> dict[str, Any]:
    """The same as JSON can hold it.

    Raises:
        PrivacyError: an epsilon, the cap or delta is out of range.
    """
    from clients.composition import tightest_epsilon
    from clients.privacy_facts import most_right

    parts, allowed = [_mechanism(one, delta) for one in epsilons], [_mechanism(cap, delta)]
    together = tightest_epsilon(parts, delta)

    def fits(times: int) -> bool:
        return tightest_epsilon([one.times(times) for one in parts], delta) <= cap

    low, high = 0, 1
    while fits(high) and high < _MOST_TIMES:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return {
        "epsilons": epsilons,
        "delta": delta,
        "together": together,
        "sum": sum(epsilons),
        "cap": cap,
        "times_within_cap": low,
        "times_by_sum": int(cap / sum(epsilons)),
        "guess": {"together": most_right(parts), "cap": most_right(allowed)},
        "of_two": {
            "together": tightest_epsilon([one.times(4) for one in parts], delta),
            "cap": tightest_epsilon([one.times(4) for one in allowed], delta),
        },
    }


def _mechanism(epsilon: float, delta: float) -> Mechanism:
    from clients.calibration import noise_micro_for
    from clients.mechanism import MICRO, Mechanism

    return Mechanism(noise_micro_for(epsilon, delta, MICRO, 1))
