"""Tasks and rounds: open, collected, aggregated, published, or aborted."""

from dataclasses import replace

from ledger.rules.persistent import Map
from ledger.rules.privacy import charge
from ledger.rules.state import Contribution, Phase, Refused, Release, Round, State, Task
from ledger.statement import Statement


def apply_task(state: State, statement: Statement, index: int) -> State:
    """Declare a task. A changed spec is another task with another name."""
    name = statement.payload["task"]
    if name in state.tasks:
        raise Refused("task", index, f"the task {name!r} exists; give the new spec another name")
    return replace(state, tasks=state.tasks.set(name, Task(name, statement.payload["spec"])))


def apply_round(state: State, statement: Statement, index: int) -> State:
    """Open a task's next round on an allowed parent model, for a cohort of active firms."""
    payload = statement.payload
    task = state.tasks.get(payload["task"])
    if task is None:
        raise Refused("task", index, f"the task {payload['task']!r} is not declared; append its task record first")
    last = state.rounds.get(task.latest) if task.latest is not None else None
    if last is not None and last.phase is Phase.OPEN:
        raise Refused("phase", index, f"the task's round at entry {last.index} is still open; close it first")
    cohort = {name: place for place, name in enumerate(payload["cohort"])}
    _require_cohort(state, payload["cohort"], cohort, index)
    _require_parent_model(state, task, payload["parent_model"], index)
    opened = Round(payload["id"], task.name, index, statement.digest, cohort, payload["parent_model"])
    return replace(
        state,
        rounds=state.rounds.set(opened.id, opened),
        tasks=state.tasks.set(task.name, replace(task, latest=opened.id, rounds=task.rounds + 1)),
    )


def apply_contribution(state: State, statement: Statement, index: int) -> State:
    """Log a cohort firm's one contribution to an open round, and charge its declared spend."""
    payload, firm = statement.payload, statement.issuer
    current = _round(state, payload["round"], index, Phase.OPEN)
    if firm not in current.cohort:
        raise Refused("cohort", index, f"{firm!r} is not in the cohort of the round at entry {current.index}")
    if firm in current.contributions:
        known = current.contributions.get(firm)
        raise Refused("once", index, f"{firm!r} has contributed already{f', entry {known.index}' if known else ''}")
    if payload["parent"] != current.digest:
        raise Refused("parent", index, "the contribution's parent is not the digest of its round's statement")
    state = charge(state, firm, current.task, tuple(payload["rdp"]), index)
    logged = Contribution(index, statement.digest, payload["commit"])
    contributions = current.contributions.set(firm, logged)
    changed = replace(current, contributions=contributions, contributed=current.contributed + 1)
    return state.having(rounds=state.rounds.set(changed.id, changed))


def apply_aggregate(state: State, statement: Statement, index: int) -> State:
    """Close an open round with the model of exactly the logged contributions."""
    payload = statement.payload
    current = _round(state, payload["round"], index, Phase.OPEN)
    inputs = current.inputs()
    if payload["inputs"] != inputs:
        raise Refused(
            "inputs",
            index,
            f"the inputs must be the round's {len(inputs)} logged contributions, in ledger order",
        )
    if len(inputs) < state.terms.min_cohort:
        raise Refused(
            "cohort",
            index,
            f"{len(inputs)} contributions are fewer than the {state.terms.min_cohort} of the policy",
        )
    changed = replace(_closed(current, Phase.AGGREGATED), model=payload["model"])
    task = _task(state, current.task)
    return replace(
        state,
        rounds=state.rounds.set(changed.id, changed),
        tasks=state.tasks.set(task.name, replace(task, model=payload["model"])),
    )


def apply_publish(state: State, statement: Statement, index: int) -> State:
    """Publish a round's model: the very one that its aggregate recorded."""
    payload = statement.payload
    current = _round(state, payload["round"], index, Phase.AGGREGATED)
    model = payload["model"]
    if model != current.model:
        raise Refused("model", index, "the published model is not the one that the round's aggregate recorded")
    if model in state.releases:
        raise Refused("model", index, "this model has been published before")
    task = _task(state, current.task)
    release = Release(model, payload["manifest"], task.name, current.id, index)
    return replace(
        state,
        rounds=state.rounds.set(current.id, replace(current, phase=Phase.PUBLISHED)),
        tasks=state.tasks.set(task.name, replace(task, published=task.published + 1)),
        releases=state.releases.set(model, release),
    )


def apply_abort(state: State, statement: Statement, index: int) -> State:
    """Give up a round that is not published; what it aggregated is no parent for later rounds."""
    current = state.rounds.get(statement.payload["round"])
    if current is None or current.phase not in (Phase.OPEN, Phase.AGGREGATED):
        raise Refused("phase", index, "only a round that is open or aggregated can be aborted")
    task = _task(state, current.task)
    if current.phase is Phase.AGGREGATED:
        if task.latest != current.id:
            raise Refused("phase", index, "a later round has started from this one; revoke or retrain instead")
        task = replace(task, model=current.parent_model)
    return replace(
        state,
        rounds=state.rounds.set(current.id, _closed(current, Phase.ABORTED)),
        tasks=state.tasks.set(task.name, task),
    )


def apply_revoke(state: State, statement: Statement, index: int) -> State:
    """Withdraw a published model: no query may name it, and no round may start from it."""
    model = statement.payload["model"]
    release = state.releases.get(model)
    if release is None or release.revoked is not None:
        raise Refused("model", index, "only a published model that is not revoked yet can be revoked")
    task = _task(state, release.task)
    kept = replace(
        task,
        published=task.published - 1,
        model=None if task.model == model else task.model,
    )
    return replace(
        state,
        releases=state.releases.set(model, replace(release, revoked=index)),
        tasks=state.tasks.set(task.name, kept),
    )


def _round(state: State, round_id: bytes, index: int, phase: Phase) -> Round:
    current = state.rounds.get(round_id)
    if current is None:
        raise Refused("round", index, f"the round {round_id.hex()} is not on the ledger")
    if current.phase is not phase:
        raise Refused("phase", index, f"the round at entry {current.index} is {current.phase}, it must be {phase}")
    return current


def _closed(current: Round, phase: Phase) -> Round:
    """The round without what only an open one needs: the state stays small however long the ledger grows."""
    return replace(current, phase=phase, cohort={}, contributions=Map())


def _task(state: State, name: str) -> Task:
    task = state.tasks.get(name)
    assert task is not None, "a round is only ever opened for a declared task"
    return task


def _require_cohort(state: State, listed: list[str], cohort: dict[str, int], index: int) -> None:
    if len(cohort) != len(listed):
        raise Refused("cohort", index, "the cohort lists a firm twice")
    if len(cohort) < state.terms.min_cohort:
        raise Refused(
            "cohort",
            index,
            f"the cohort has {len(cohort)} firms, the policy asks for {state.terms.min_cohort}",
        )
    for name in listed:
        if not state.is_enrolled(name, "firm"):
            raise Refused("cohort", index, f"{name!r} is not an active firm; leave it out of the cohort")


def _require_parent_model(state: State, task: Task, parent: bytes | None, index: int) -> None:
    release = state.releases.get(parent) if parent is not None else None
    if release is not None and release.revoked is not None:
        raise Refused("parent", index, f"the parent model was revoked at entry {release.revoked}")
    last = state.releases.get(task.model) if task.model is not None else None
    usable = task.model is not None and (last is None or last.revoked is None)
    known = (usable and parent == task.model) or (release is not None and release.task == task.name)
    if not known and (usable or task.published):
        raise Refused("parent", index, "the parent model is neither the last aggregate's nor a published one")
