"""The sentences and number formats of a report: what each figure means, said without a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

ABSENT = "–"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Measure:
    """How one kind of task is measured: the keys of its figures in a summary, and what to call them.

    `rows` are (key, label, note) of its table, in order; every other number of the summary follows them.
    """

    key: str
    title: str
    metric: str
    higher_is_better: bool
    meaning: str
    alone: str
    rows: tuple[tuple[str, str, str], ...]

    @property
    def prefix(self) -> str:
        """What the keys of its figures begin with."""
        return self.metric.lower()


CREDIT = Measure(
    "credit",
    "Credit risk",
    "AUC",
    True,
    "Take one applicant who defaulted and one who paid, at random. AUC is how often the model gives the defaulter the "
    "higher risk: 0.5 is a coin, 1 is never wrong.",
    "a logistic regression on the firm's own records",
    (
        ("auc_federated", "AUC, federated", "the published model"),
        ("auc_central", "AUC, all data in one place", "a regular model without privacy noise"),
        ("auc_central_tuned", "… its strength tuned", "chosen on a fifth of the training records"),
        ("auc_local_mean", "AUC, a firm alone, mean", "each firm trains on its own records only"),
        ("auc_local_tuned_mean", "… its strength tuned", "the fairer comparison for a careful firm"),
        ("auc_local_worst", "AUC, a firm alone, worst", "the firm that gains most from taking part"),
        ("brier", "Brier score", "mean squared error of the probability; lower is better"),
        ("brier_central", "Brier score, all data in one place", ""),
        ("ece", "Calibration error (ECE)", "how far stated and observed default rates are apart, on average"),
    ),
)
DEMAND = Measure(
    "demand",
    "Demand",
    "WAPE",
    False,
    "WAPE adds up how far the forecasts were off, over all open days, and divides by what was sold: 0.08 means off by "
    "8 % of sales. Lower is better.",
    "a ridge regression on the firm's own series",
    (
        ("wape_federated", "WAPE, federated", "the published model"),
        ("wape_central", "WAPE, all data in one place", "a regular model of another kind, without privacy noise"),
        ("wape_local_mean", "WAPE, a firm alone, mean", "each firm trains on its own series only"),
        ("wape_seasonal_naive", "WAPE, seasonal naive", "repeats the same weekday of the week before"),
        ("coverage_80", "Coverage of the 80 % range", "share of days inside it; 0.80 is right, more is too cautious"),
        ("wape_own_local", "WAPE, own ensemble without the federation", "of each firm, on its own series"),
        ("wape_own_ensemble", "WAPE, own ensemble on the federated model", "kept at the firm, costs no privacy"),
        ("wape_own_personal", "WAPE, what each firm chose", "by validation on its own earlier days"),
        ("coverage_own_80", "Coverage of the firms' own 80 % range", "0.80 is right"),
    ),
)
MEASURES = (CREDIT, DEMAND)


def number(value: object) -> float | None:
    """A finite number, or None for anything else: absent, not a number, infinite, true or false."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def numbers(value: object) -> list[float]:
    """A list of numbers with NaN where there is none; empty for anything that is not a list."""
    if not isinstance(value, (list, tuple)):
        return []
    return [math.nan if (one := number(item)) is None else one for item in value]


def shown(value: object) -> str:
    """A value as a table shows it: whole numbers grouped, others to four digits, true and false as yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return ABSENT
        return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value)
    return ABSENT if value is None else str(value)


def epsilon_words(epsilon: float) -> str:
    """Rounded up: a bound is never told smaller than it is."""
    return f"{math.ceil(epsilon * 100 - 1e-6) / 100:.2f}"


def delta_words(delta: float) -> str:
    """Without an exponent: 0.00001."""
    return format(Decimal(repr(delta)), "f")


def humanised(key: str) -> str:
    """A key of the summary as words: `round_median` is `Round median`."""
    words = key.replace("_", " ").replace(".", " · ").strip()
    return words[:1].upper() + words[1:]


def standing(measure: Measure, part: Mapping[str, Any]) -> list[str]:
    """How the federated model compares, in a few sentences; nothing that the summary does not hold."""

    def of(suffix: str) -> float | None:
        return number(part.get(f"{measure.prefix}_{suffix}"))

    together = of("federated")
    if together is None:
        return []
    said = [f"The model that the firms trained together reaches {measure.metric} {together:.3f}."]
    alone = [one for one in numbers(part.get(f"{measure.prefix}_local")) if math.isfinite(one)]
    if alone:
        beaten = sum(together > one if measure.higher_is_better else together < one for one in alone)
        all_of_them = f"each of the {len(alone):,} firms has"
        those = all_of_them if beaten == len(alone) else f"{beaten:,} of the {len(alone):,} firms have"
        said.append(f"It is better than what {those} alone.")
    if (mean := of("local_mean")) is not None:
        tuned = of("local_tuned_mean")
        aside = (
            "" if tuned is None else f" ({tuned:.3f} where each tunes its model: {_apart(measure, together, tuned)})"
        )
        apart = _apart(measure, together, mean)
        said.append(f"A firm alone has {mean:.3f} on average: the federated model is {apart}{aside}.")
    if (naive := of("seasonal_naive")) is not None:
        apart = _apart(measure, together, naive)
        said.append(f"Repeating last week has {naive:.3f}: the federated model is {apart}.")
    if (central := of("central")) is not None:
        tuned = of("central_tuned")
        aside = "" if tuned is None else f" ({tuned:.3f} with its strength tuned)"
        said.append(
            "With all records in one place, which no firm is asked for, an ordinary model without privacy has "
            f"{central:.3f}{aside}: the federated one is {_apart(measure, together, central)}."
        )
    return said


def setting(measure: Measure, part: Mapping[str, Any]) -> list[str]:
    """How many firms, rounds, days ahead and set-aside records the figures of a task stand on."""
    said = [f"{shown(part[key])} {key}" for key in ("firms", "rounds") if number(part.get(key)) is not None]
    if number(part.get("horizon_days")) is not None:
        said.append(f"{shown(part['horizon_days'])} days ahead")
    if number(part.get("held_out_records")) is not None:
        what = " (the last days of every series, and the days that forecasts start from)" if measure is DEMAND else ""
        said.append(f"{shown(part['held_out_records'])} records set aside{what}")
    return said


def _apart(measure: Measure, one: float, other: float) -> str:
    difference = round(one, 3) - round(other, 3)
    if abs(difference) < 5e-4:
        return "equal to three digits"
    better = (difference > 0) == measure.higher_is_better
    return f"{abs(difference):.3f} {'better' if better else 'worse'}"


def promise(part: Mapping[str, Any]) -> list[str]:
    """What the privacy statement of one task says to somebody whose data was used."""
    epsilon, delta = number(part.get("epsilon")), number(part.get("delta"))
    if epsilon is None:
        return ["No privacy noise was added. Nothing is promised about what the model or the updates reveal."]
    unit = str(part.get("unit") or "one privacy unit")
    apart = "" if delta is None else f", up to a remainder (delta) of {delta_words(delta)}"
    right = min(1.0, (math.exp(min(epsilon, 50.0)) + (delta or 0.0)) / (math.exp(min(epsilon, 50.0)) + 1.0))
    ratio = math.exp(min(epsilon, 50.0))
    factor = f"{ratio:,.1f}" if ratio < 100 else f"{ratio:,.0f}"
    said = [
        f"The unit is {unit}. Whether one such unit is in a firm's training data or not, nothing that training "
        f"released is more than {factor} times as likely in the one case as in the other{apart}.",
        f"In the worst case, somebody who knows all other data and bets on whether the unit was there is right "
        f"at most {_share(right)} of the time; a coin is right 50 %.",
    ]
    if right > 0.99:
        said.append(
            "At this epsilon the bound by itself says little. Known attacks find far less, but that is not a promise."
        )
    return said + _against(part)


def _share(value: float) -> str:
    """A share rounded up, so that a bound is never told smaller than it is."""
    digits = 1 if value < 0.99 else 2
    return f"{min(100.0, math.ceil(value * 100 * 10**digits) / 10**digits):.{digits}f} %"


def _against(part: Mapping[str, Any]) -> list[str]:
    mode, firms, colluders = part.get("mode"), number(part.get("firms")), number(part.get("colluders"))
    if mode == "local":
        return ["Each firm's own noise is enough by itself: this holds whatever all the others do together."]
    if mode != "distributed":
        return []
    among = "" if firms is None else f" of the {firms:,.0f}"
    some = "the assumed number" if colluders is None else f"{colluders:,.0f}"
    return [
        "Each firm adds a share of the noise, and only the masked sum is opened. This assumes that at most "
        f"{some}{among} firms drop out or pool what they know with the coordinator. If more do, the noise is less "
        "than is stated here."
    ]


def limits(summary: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the privacy statements do not promise, said as plainly."""
    seeded = summary.get("noise_seeded", "config" in summary)
    private = any(number(part.get("epsilon")) is not None for part in parts)
    config = summary.get("config")
    aggregation = config.get("aggregation") if isinstance(config, Mapping) else None
    kind = aggregation.get("kind") if isinstance(aggregation, Mapping) else None
    said = []
    if private:
        said += [
            "It covers one unit. Whoever has several units in the data is covered for each, and they add up; "
            "totals of a firm are not covered.",
            "It counts adding or removing a unit. Changing one into another counts as both, and costs more.",
            "It bounds what is learned because a unit was used; what is true of everybody can be learned all the same.",
            "Choosing settings by looking at results, over several runs, is not counted in epsilon.",
            "The ledger records the noise that firms declare. It cannot prove that a firm added it.",
        ]
    if private and seeded:
        said.append(
            "The noise of this simulation was drawn from its seed, so that it can be repeated: whoever knows the seed "
            "can take it off. A firm in operation draws it from the secure source of its machine."
        )
    if kind == "plain":
        said.append("Updates were added up in the open here: the coordinator could read each firm's.")
    return [
        *said,
        "The figures of this report were measured on records that were set aside, without noise, and are not covered. "
        "Nor are the models of a firm alone or of all data in one place: they exist only to compare with.",
        "A firm can lie in its own data. Privacy does not make a model right.",
    ]
