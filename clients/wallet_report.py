"""What a wallet's accounts were spent on, what more would cost, and when the cap is reached: in words, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from clients.accounts import Account
from clients.allowance import YEAR_MS, within_a_year
from clients.cost import Cost, Total
from clients.mechanism import Mechanism
from clients.plan import Plan
from clients.privacy import epsilon_under_cap
from clients.privacy_words import up
from clients.wallet_row import Cap, Reservation

PlanOf = Callable[[str], Plan | None]
"""The plan of the round with this id, in hexadecimal, as far as the firm knows the ledger."""

_OPENING = "opening"
_MOST_ROUNDS = 1 << 20
_LEAST_SPAN_MS = 28 * 24 * 3600 * 1000  # a shorter past says nothing about the pace
_FURTHEST_MS = 100 * YEAR_MS


@dataclass
class Run:
    """What was spent one after the other on one run of a task, or on openings of one task.

    Attributes:
        what: `rounds`, or `measurements of` something, or `openings`, or what else the rows say.
    """

    what: str
    consortium: str
    task: str
    spent: list[Reservation] = field(default_factory=list)

    def goes_on_with(self, one: Reservation) -> bool:
        """Whether a spend is the next one of this run: its number does not fall; a round may be tried again."""
        return one.occasion.number >= self.spent[-1].occasion.number

    def to_json(self, delta: float) -> dict[str, Any]:
        """What it cost, at `delta`."""
        total, first, last = Total.of(one.cost for one in self.spent), self.spent[0], self.spent[-1]
        return {
            "what": self.what,
            "measures": last.occasion.measures or None,
            "consortium": self.consortium or None,
            "task": self.task,
            "paid": len(self.spent),
            "last_round": None if last.occasion.measures else last.occasion.number or None,
            "rounds": None if last.occasion.measures else last.occasion.rounds or None,
            "from": day(first.at_ms),
            "to": day(last.at_ms),
            "mechanisms": [_mechanism(one) for one in total.mechanisms],
            "named": not total.unnamed,
            "epsilon": total.epsilon(delta),
        }


def runs_of(spent: Iterable[Reservation]) -> list[Run]:
    """All that was spent, by run, in the order of their first rows."""
    runs: list[Run] = []
    open_runs: dict[tuple[str, str, str, int], Run] = {}
    for one in spent:
        what, task = _what(one)
        key = what, one.occasion.consortium, task, one.occasion.rounds
        run = open_runs.get(key)
        if run is None or not run.goes_on_with(one):
            run = open_runs[key] = Run(what, one.occasion.consortium, task)
            runs.append(run)
        run.spent.append(one)
    return runs


def account_report(
    account: Account, spent: Sequence[Reservation], cap: Cap, now_ms: int, plan_of: PlanOf, year: float | None
) -> dict[str, Any]:
    """One account in full.

    Args:
        spent: all that the account has paid, oldest first.
        cap: what it may pay; where none was ever set, what `firm.toml` says.
        plan_of: finds the plan of the last round, for what the rest of its run would cost.
        year: most that it may pay in 365 days; None for no limit.
    """
    total, delta = account.total, cap.delta
    rounds = [one for one in spent if _what(one)[0] == "rounds"]
    lately = Total.of(one.cost for one in within_a_year(_at(now_ms, account), spent))
    return {
        "unit": account.unit,
        "dataset": account.dataset,
        "cap": {"epsilon": cap.epsilon, "delta": delta},
        "spent_epsilon": total.epsilon(delta),
        "accounting": _accounting(total),
        "settled": account.settled,
        "open_reservations": account.open,
        "last_365_days": {"epsilon": lately.epsilon(delta), "limit": year},
        "spent_on": [run.to_json(delta) for run in runs_of(spent)],
        "next": _next(total, rounds, cap, now_ms, plan_of) if rounds else None,
    }


def _next(total: Total, rounds: Sequence[Reservation], cap: Cap, now_ms: int, plan_of: PlanOf) -> dict[str, Any]:
    last = rounds[-1]
    rest = _rest_of_run(last, plan_of)
    again = last.cost if rest is None or not rest else Cost.of(rest[0])
    further = further_rounds(total, again, cap)
    reached = _date_of(further, rounds, now_ms)
    return {
        "one_more_round": _after(total, again, cap),
        "rest_of_run": None if not rest else {"rounds": len(rest), **_after(total, Cost.of(*rest), cap)},
        "further_rounds": further,
        "cap_reached": None if reached is None else day(reached),
    }


def further_rounds(total: Total, cost: Cost, cap: Cap) -> int | None:
    """How many more rounds of this cost the cap allows; None for no end in sight.

    Where units are sampled, as many as nano-RDP can show: there may be a few more.
    """

    def fits(rounds: int) -> bool:
        more = Cost(tuple(rounds * nano for nano in cost.nano_rdp), tuple(one.times(rounds) for one in cost.mechanisms))
        after = total.with_(more)
        by_rdp = rounds > 1 and not after.full_batch
        return _by_rdp(after, cap) if by_rdp else after.within(cap.epsilon, cap.delta)

    if not fits(1):
        return 0
    low, high = 1, 2
    while fits(high):
        low, high = high, high * 2
        if high > _MOST_ROUNDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def day(at_ms: int) -> str:
    """The date of a time in milliseconds since 1970, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def _by_rdp(total: Total, cap: Cap) -> bool:
    return epsilon_under_cap(total.nano_rdp, cap.epsilon, cap.delta) <= cap.epsilon


def _after(total: Total, cost: Cost, cap: Cap) -> dict[str, Any]:
    together = total.with_(cost)
    return {"epsilon_after": together.epsilon(cap.delta), "within_cap": together.within(cap.epsilon, cap.delta)}


def _rest_of_run(last: Reservation, plan_of: PlanOf) -> list[Mechanism] | None:
    """What the rounds after the last one release; None where its plan is not known."""
    plan, number = plan_of(last.purpose.rpartition("/")[2]), last.occasion.number
    if plan is None or plan.round_mechanism() is None:
        return None if not number else list(last.cost.mechanisms) * (last.occasion.rounds - number)
    rest = (replace(plan, number=later).round_mechanism() for later in range(plan.number + 1, plan.rounds + 1))
    return [one for one in rest if one is not None]


def _date_of(further: int | None, rounds: Sequence[Reservation], now_ms: int) -> int | None:
    """When so many more rounds are over, at the pace of the last 365 days; None where that says nothing."""
    lately = [one.at_ms for one in rounds if now_ms - YEAR_MS < one.at_ms <= now_ms]
    if further is None or not lately or now_ms - lately[0] < _LEAST_SPAN_MS:
        return None
    ahead = further * (now_ms - lately[0]) // len(lately)
    return None if ahead > _FURTHEST_MS else now_ms + ahead


def _at(now_ms: int, account: Account) -> Reservation:
    return Reservation(0, account.unit, account.dataset, "", Cost.of(), at_ms=now_ms)


def _what(one: Reservation) -> tuple[str, str]:
    """What a spend was for, and on which task, by its purpose: `TASK/ROUND`, `opening/TASK/ROUND`, or another."""
    head, _, _ = one.purpose.rpartition("/")
    if one.occasion.measures:
        return f"measurements of {one.occasion.measures}", head
    kind, slash, task = head.partition("/")
    if slash:
        return ("openings" if kind == _OPENING else kind), task
    return ("rounds", head) if head else ("other", one.purpose)


def _accounting(total: Total) -> str:
    if total.unnamed:
        return "renyi"
    return "exact" if total.full_batch else "loss distributions"


def _mechanism(one: Mechanism) -> dict[str, Any]:
    return {"noise_multiplier": one.noise_multiplier, "sampling_rate": one.sampling_rate, "steps": one.steps}


def lines_of(account: Mapping[str, Any]) -> Iterator[str]:
    """The same in words."""
    cap, held = account["cap"], account["open_reservations"]
    yield (
        f"{account['dataset']}, {account['unit']}: epsilon {up(account['spent_epsilon'])} of {cap['epsilon']:g} spent "
        f"at delta {cap['delta']:g}, in {account['settled']} {_kinds(account['spent_on'])}"
        + (f"; {held} reservations open, counted as spent" if held else "")
    )
    yield from (f"  {_run_line(run)}" for run in account["spent_on"])
    lately = account["last_365_days"]
    if lately["limit"] is not None:
        yield f"  In the last 365 days epsilon {up(lately['epsilon'])} of {lately['limit']:g}."
    if account["next"] is not None:
        yield from (f"  {line}" for line in _next_lines(account["next"], cap["epsilon"]))


def _kinds(runs: Sequence[Mapping[str, Any]]) -> str:
    measured = any(run["measures"] for run in runs)
    return "rounds, measurements and openings" if measured else "rounds and openings"


def _run_line(run: Mapping[str, Any]) -> str:
    of = f" of {run['rounds']}" if run["rounds"] else ""
    released = ", ".join(
        f"{one['steps']} x noise {one['noise_multiplier']:.4g}"
        + (f" at rate {one['sampling_rate']:g}" if one["sampling_rate"] < 1 else "")
        for one in run["mechanisms"][:3]
    )
    more = f" and {len(run['mechanisms']) - 3} other kinds" if len(run["mechanisms"]) > 3 else ""
    where = f" in {run['consortium']}" if run["consortium"] else ""
    when = run["from"] if run["from"] == run["to"] else f"{run['from']} to {run['to']}"
    return (
        f"{run['task']}{where}, {when}: {run['paid']}{of} {run['what']}, epsilon {up(run['epsilon'])} by themselves"
        + (f" ({released}{more})" if released else "")
    )


def _next_lines(coming: Mapping[str, Any], cap: float) -> Iterator[str]:
    once, rest = coming["one_more_round"], coming["rest_of_run"]
    over = "" if once["within_cap"] else ", over the cap: it will be refused"
    line = f"One more round brings epsilon to {up(once['epsilon_after'])}{over}"
    if rest is not None:
        many = "the last round" if rest["rounds"] == 1 else f"all {rest['rounds']} that are left of the run"
        over = "" if rest["within_cap"] else ", over the cap"
        line += f"; {many} to {up(rest['epsilon_after'])}{over}"
    yield f"{line}."
    further = coming["further_rounds"]
    if further:
        when = f", at the pace of the last year until {coming['cap_reached']}" if coming["cap_reached"] else ""
        yield f"The cap of {cap:g} has room for {further} more rounds like it{when}."
