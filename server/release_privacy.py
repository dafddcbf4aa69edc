"""What a release's manifest says of privacy: what its run costs one unit, and what all rounds of the task do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clients.cost import Cost, Total
from clients.plan import Plan, PlanInvalid
from clients.privacy_facts import Facts, RunFacts, SpentFacts, UnitFacts
from clients.privacy_words import statement
from clients.tasks.spec import TaskSpec
from ledger.log import Log
from ledger.statement import decode_statement


def release_privacy(
    plans: Sequence[Plan], task: str, spec: TaskSpec, cohort_size: int, ledger: Log | None
) -> dict[str, Any]:
    """What the manifest says of privacy, in numbers and in words: of the run, and of the ledger if there is one."""
    plan = plans[-1]
    run, private = Total.of(map(_cost, plans)), plan.privacy != "none"
    spent = SpentFacts("ledger", _lifetime(run, task, plan.delta, ledger), plan.delta) if private else None
    facts = Facts(task, UnitFacts.of(spec), RunFacts.of(plan, cohort_size, run.mechanisms), spent)
    return {
        "mode": plan.privacy,
        "unit": spec.privacy.words(spec.series),
        "epsilon": run.epsilon(plan.delta) if private else None,
        "epsilon_lifetime": None if spent is None else spent.epsilon,
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
        "sampling_rate": plan.sampling_rate,
        "colluders": plan.colluders,
        "groups": plan.groups,
        "noise_excess": round(plan.excess(cohort_size), 4),
        "statement": statement(facts),
    }


def _lifetime(run: Total, task: str, delta: float, ledger: Log | None) -> float:
    """Epsilon of one unit whose firm was in every round of the task that the ledger has, those that failed included.

    Where a firm has declared more than that, or a plan is of another version, it is that of what firms declared.
    """
    if ledger is None:
        return run.epsilon(delta)
    state = ledger.state
    found = (state.spent.get((member.member, task)) for member in state.active("firm"))
    declared = [Total.of([Cost(spent)]) for spent in found if spent]
    entries = [one.index for one in state.rounds.values() if one.task == task]
    payloads = (decode_statement(ledger.entries(index, index + 1)[0]).payload for index in entries)
    try:
        rounds = Total.of(_cost(Plan.from_map(one["plan"])) for one in payloads if isinstance(one["plan"], dict))
    except PlanInvalid:
        rounds = run
    beyond = [one for one in declared if any(map(int.__gt__, one.nano_rdp, rounds.nano_rdp))]
    return max(one.epsilon(delta) for one in (run, rounds, *beyond))


def _cost(plan: Plan) -> Cost:
    mechanism = plan.round_mechanism()
    return Cost.of(*(() if mechanism is None else (mechanism,)))
