"""Declared privacy spend: integer nano-RDP on a fixed grid of orders, held under the firm's own cap.

The ledger records what firms declare. It cannot see whether the noise was added.
"""

from dataclasses import replace

from ledger.rules.state import Cap, Refused, State
from ledger.statement import Statement


def apply_cap(state: State, statement: Statement, index: int) -> State:
    """Set, or lower, a firm's own cap for a task. No order and not the delta may rise."""
    payload = statement.payload
    org, task = payload["org"], payload["task"]
    if org != statement.issuer:
        raise Refused("issuer", index, f"{statement.issuer!r} cannot set the cap of {org!r}; each sets its own")
    if task not in state.tasks:
        raise Refused("task", index, f"the task {task!r} is not declared")
    if not payload["rdp_cap"]:
        raise Refused("cap", index, "a cap needs a limit for each order of the grid")
    asked = Cap(tuple(payload["rdp_cap"]), payload["delta"])
    known = state.caps.get((org, task))
    if known is not None:
        _require_same_grid(known.rdp, asked.rdp, index)
        if asked.delta > known.delta or any(new > old for new, old in zip(asked.rdp, known.rdp, strict=True)):
            raise Refused("cap", index, f"a cap may only fall; {org!r} asks for more than before")
    spent = state.spent.get((org, task))
    if spent is not None:
        _require_same_grid(spent, asked.rdp, index)
    return replace(state, caps=state.caps.set((org, task), asked))


def charge(state: State, org: str, task: str, rdp: tuple[int, ...], index: int) -> State:
    """Add a contribution's spend to what `org` has declared for `task`; refuse to go over its cap."""
    if not rdp:
        return state
    before = state.spent.get((org, task))
    if before is not None:
        _require_same_grid(before, rdp, index)
        rdp = tuple(old + new for old, new in zip(before, rdp, strict=True))
    cap = state.caps.get((org, task))
    if cap is not None:
        _require_same_grid(cap.rdp, rdp, index)
        over = next((place for place, (now, most) in enumerate(zip(rdp, cap.rdp, strict=True)) if now > most), None)
        if over is not None:
            raise Refused(
                "cap",
                index,
                f"{org!r} would have spent {rdp[over]} nano-RDP at order number {over} on {task!r}, "
                f"over its cap of {cap.rdp[over]}",
            )
    return state.having(spent=state.spent.set((org, task), rdp))


def _require_same_grid(known: tuple[int, ...], new: tuple[int, ...], index: int) -> None:
    if len(known) != len(new):
        raise Refused("grid", index, f"{len(new)} orders given, the grid in use has {len(known)}")
