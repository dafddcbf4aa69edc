"""What a release's manifest says of privacy: what its run costs one unit, and what all rounds of the task do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clients.cost import Cost, Total
from clients.plan import Plan, PlanInvalid
from clients.privacy_facts import Facts, RunFacts, SpentFacts, UnitFacts
from clients.privacy_statement import statement
from clients.tasks.spec import TaskSpec
from ledger.open_ledger import OpenLedger
from ledger.rules import Phase
from ledger.statement import decode_statement

_MADE = (Phase.AGGREGATED, Phase.PUBLISHED)


def release_privacy(
    plans: Sequence[Plan], task: str, spec: TaskSpec, cohort_size: int, ledger: OpenLedger | None
) -> dict[str, Any]:
    """What the manifest says of privacy, in numbers and in words: of the run, and of the ledger if there is one."""
    plan, recorded = plans[-1], _recorded(task, ledger)
    run, private = Total.of(map(_cost, _run(plans, recorded))), plan.privacy != "none"
    lifetime = _lifetime(run, recorded, task, plan.delta, ledger)
    spent = SpentFacts.of("ledger", lifetime, plan.delta) if private else None
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


def _recorded(task: str, ledger: OpenLedger | None) -> list[tuple[Phase, Plan]] | None:
    """Every round of the task on the ledger, oldest first; None where one cannot be read by this version."""
    if ledger is None:
        return []
    rounds = sorted((one.index, one.phase) for one in ledger.state.rounds.values() if one.task == task)
    payloads = [decode_statement(ledger.entries(index, index + 1)[0]).payload for index, _ in rounds]
    try:
        return [(phase, Plan.from_map(one["plan"])) for (_, phase), one in zip(rounds, payloads, strict=True)]
    except PlanInvalid:
        return None


def _run(plans: Sequence[Plan], recorded: Sequence[tuple[Phase, Plan]] | None) -> Sequence[Plan]:
    """The rounds that made the model, as they ran: a stream of correlated noise may have begun anew in between."""
    made = [plan for phase, plan in recorded or () if phase in _MADE and not plan.measures]
    return made[-len(plans) :] if len(made) >= len(plans) else plans


def _lifetime(
    run: Total, recorded: Sequence[tuple[Phase, Plan]] | None, task: str, delta: float, ledger: OpenLedger | None
) -> Total:
    """What one unit has paid whose firm was in every round of the task that the ledger has, those that failed included.

    Where a firm has declared more than that, or a plan cannot be read, it is that of what firms declared.
    """
    if ledger is None:
        return run
    found = (ledger.state.spent.get((member.member, task)) for member in ledger.state.active("firm"))
    rounds = Total.of(_cost(plan) for _, plan in recorded or ())
    declared = [Total.of([Cost(spent)]) for spent in found if spent]
    beyond = [one for one in declared if any(map(int.__gt__, one.nano_rdp, rounds.nano_rdp))]
    return max((run, rounds, *beyond), key=lambda one: one.epsilon(delta))


def _cost(plan: Plan) -> Cost:
    mechanism = plan.round_mechanism()
    return Cost.of(*(() if mechanism is None else (mechanism,)))
