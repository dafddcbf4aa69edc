"""A privacy statement in English: one paragraph for each thing that a reader may ask.

Numbers that bound something are rounded up, so that no text promises more than the facts do.
"""

from __future__ import annotations

import math

from clients.privacy_facts import Facts, IssuerFacts, RunFacts, SpentFacts, UnitFacts

Paragraph = tuple[str, str]
"""A heading and what stands under it."""


def up(value: float) -> str:
    """A bound to three digits, rounded up but for what is below a part in 100,000 of it."""
    if value <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.ceil(value / unit - 1e-5 * (value / unit)) * unit:.3g}"


def percent(share: float) -> str:
    """A share rounded up to a tenth of a percent."""
    return f"{min(100.0, math.ceil(share * 1000 - 1e-6) / 10):.1f}"


def english(facts: Facts) -> list[Paragraph]:
    """All that a statement says."""
    run = facts.run
    said = [] if facts.issuer is None else [("Whose statement", _issuer_en(facts.issuer, run))]
    said.append(("What is protected", _unit_en(facts.unit)))
    if run is None:
        said.append(("How much", f"Nothing can be said yet: this firm has seen no round of the task {facts.task}."))
    else:
        members = f"Every such unit in the tables of the {run.firms} firms that train the task {facts.task}."
        said += [
            ("For whom", members),
            ("Against whom", _against_en(run, facts.spent)),
            ("How much", _how_much_en(run)),
        ]
    if facts.spent is not None:
        said.append(("What was spent", _spent_en(facts.spent)))
    if run is not None and run.mode != "none":
        said.append(("What has to be true", _assumptions_en(run)))
    return [*said, ("What is not covered", _limits_en(run))]


def _issuer_en(issuer: IssuerFacts, run: RunFacts | None) -> str:
    said = f"{issuer.member} of {issuer.consortium}, from its own files as of {issuer.date}."
    last = issuer.round
    if last is None or run is None:
        return said
    said += (
        f" The latest round that it knows is {last.id[:12]}, number {last.number} of {run.rounds}, entry {last.entry}"
    )
    return said + (f"; the latest release is the model {last.release[:12]}." if last.release else "; none is released.")


def _unit_en(unit: UnitFacts) -> str:
    return {
        "row": "One row of a table: all that it contributes to training.",
        "entity": f"All rows of one {unit.column}: at most {unit.most_rows} of them are used, and what they contribute "
        "is clipped together.",
        "block": f"{unit.days} days in a row of one {unit.column}, a block: all that the block contributes is clipped "
        "together, and no block shares a day with another.",
        "series": f"The whole series of one {unit.column}: all that it contributes is clipped together.",
    }[unit.kind]


def _against_en(run: RunFacts, spent: SpentFacts | None) -> str:
    if run.mode == "none":
        return "Nobody. No noise is added (mode none): whoever sees a model or an update may learn any record."
    if run.mode == "local":
        return (
            "Everybody, at any time: the coordinator, all other firms together, banks, and whoever gets a model or an "
            "update. Each firm's own noise is enough by itself (mode local)."
        )
    groups = f" in each of {run.groups} groups" if run.groups > 1 else ""
    helped = {0: "without any of the firms", 1: "together with at most 1 firm"}.get(
        run.colluders, f"together with up to {run.colluders} of the firms"
    )
    return (
        "Everybody who sees opened sums or models, at any time: banks and the public; and, as long as the encryption "
        f"that hides single updates is not broken, the coordinator {helped}. Each firm adds a share of the noise, and "
        f"only the sum has enough of it (mode distributed). {_sum_en(run)} of at least {run.threshold} firms{groups} "
        f"are ever opened, but for {_opened_en(spent)}."
    )


def _opened_en(spent: SpentFacts | None) -> str:
    own = "updates that firms open to an auditor in a dispute, each its own"
    if spent is None or spent.by == "ledger":
        return f"{own}, which their wallets pay for"
    if spent.openings == 0:
        return f"{own}; this firm has opened none from this data"
    return f"{own}; this firm has opened {spent.openings} from this data, and who sees one can show it to others"


def _sum_en(run: RunFacts) -> str:
    if run.aggregation == "encrypted":
        return f"Updates are encrypted (aggregation encrypted), {run.key_holder} alone holds the key, and only sums"
    return f"Updates are masked (aggregation {run.aggregation}), and only sums"


def _how_much_en(run: RunFacts) -> str:
    if run.mode == "none":
        return f"Nothing is promised: there is no epsilon for these {run.rounds} rounds."
    sampled = "" if run.sampling_rate == 1 else f", each with a random {run.sampling_rate * 100:.3g} % of the units"
    return (
        f"Differential privacy with epsilon {up(run.epsilon)} at delta {run.delta:g} for the whole run: {run.rounds} "
        f"rounds with {run.steps} noisy sums{sampled}, noise multiplier {run.noise_multiplier:.4g}. By this run "
        "alone, somebody who knows all other data and bets from even odds on whether one unit was there is right in at "
        f"most {percent(run.guess)} % of the cases; a coin is right in 50 %."
    )


def _spent_en(spent: SpentFacts) -> str:
    if spent.by == "ledger":
        return (
            f"All rounds of this task on the ledger, those that failed included, come to epsilon {up(spent.epsilon)} "
            f"at delta {spent.delta:g} for a unit whose firm was in each of them. Other tasks on the same data add "
            f"to that in each firm's own wallet, and each firm sets its own lifetime cap.{_together_en(spent)}"
        )
    assert spent.cap is not None
    past = (
        "That is past the cap: the firm's wallet refuses everything more."
        if spent.epsilon > spent.cap
        else "The firm's wallet refuses what would pass the cap."
    )
    year = "" if spent.year is None else f" At most epsilon {spent.year:g} of it may be paid in any 365 days."
    return (
        f"This data set has paid epsilon {up(spent.epsilon)} of its lifetime cap of {spent.cap:g} at delta "
        f"{spent.delta:g}, over all tasks, runs and consortia together.{_together_en(spent)}{year} {past}"
    )


def _together_en(spent: SpentFacts) -> str:
    """What all that was paid means, beside what one run does."""
    if spent.epsilon == 0:
        return ""
    said = f" By all of it together, a bet from even odds on one unit is right in at most {percent(spent.guess)} %"
    if spent.epsilon_of_two is not None:
        said += f", and two units have epsilon {up(spent.epsilon_of_two)}"
    if spent.openings:
        many = "1 opened update" if spent.openings == 1 else f"{spent.openings} opened updates"
        said += f"; it counts {many}, epsilon {up(spent.openings_epsilon)} beside what the rounds cost"
    return f"{said}."


def _assumptions_en(run: RunFacts) -> str:
    share = _honest_en(run.colluders) if run.mode == "distributed" else ""
    holder = (
        f" {run.key_holder} sides with nobody: whoever has its key and single updates can read them."
        if run.key_holder
        else ""
    )
    return (
        "Firms run this software unchanged, with random bits from the secure source of their machines, which nobody "
        "can predict: the ledger records the noise that a firm declares, and cannot prove that it was added."
        f"{share}{holder} The task's unit fits the data: what belongs to one unit has one name, and is at one firm."
    )


def _honest_en(colluders: int) -> str:
    who = {
        0: "No firm in an opened sum passes on what it knows or leaves its noise out; if one does",
        1: "At most 1 firm in an opened sum passes on what it knows or leaves its noise out; if more do",
    }.get(
        colluders,
        f"At most {colluders} of the firms in an opened sum pass on what they know or leave their noise out; "
        "if more do",
    )
    return (
        f" {who}, there is less noise than is stated. The encryption that hides single updates (key agreement and AES "
        "for masks and messages, or encrypted aggregation's own) holds, also later against who kept what was sent, and "
        "its secrets are not stolen: else updates can be read that have less noise than is stated."
    )


def _limits_en(run: RunFacts | None) -> str:
    two = "Several units of one person or company are protected less"
    if run is not None and run.epsilon_of_two is not None and run.mode != "none":
        two += f": two together, or one put in another's place, by epsilon {up(run.epsilon_of_two)} in this run alone"
    return (
        f"{two}; so is one that is at several firms. Totals of a firm, its declared size and that it takes part are "
        "not protected, nor what is true of everybody, which a model is there to learn. Settings that were chosen by "
        "looking at results are not counted. A model that a firm trains for itself on top of the federated one never "
        "leaves it, and what the firm does with its own answers is not covered."
    )
