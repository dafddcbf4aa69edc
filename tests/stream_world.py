"""One firm in a stream of correlated noise, round by round, with its table in its hands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consortium_world import Consortium, a_plan

from clients import participation
from clients.firm import Firm
from clients.plan import Plan

ME = "firm-2"


def row(number: int) -> Plan:
    """Round `number` of four, all of one stream."""
    return a_plan(number=number, rounds=4, correlation="1000000 500000", stream_from=1)


def take_part(world: Consortium, plan: Plan) -> Any:
    """What the firm answers in a round of this plan."""
    statement = world.open_round(plan)
    try:
        return participation.train(world.firms[ME], world.request(ME, statement))
    finally:
        world.abort(statement)


def restart(world: Consortium) -> Firm:
    """The firm, as the process that handles the next message opens it."""
    world.firms[ME].close()
    world.firms[ME] = Firm(world.firms[ME].home)
    return world.firms[ME]


def table_of(firm: Firm) -> Path:
    """Its table's file."""
    return firm.home / str(firm.config.task[0].data)
