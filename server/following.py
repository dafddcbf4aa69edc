"""Following an order to its end: one line for each thing that changes, until it is over or nobody carries it out."""

from __future__ import annotations

import time
from collections.abc import Callable

from server.errors import ServerError
from server.run_order import RunOrder, TaskWish
from server.run_orders import RunOrders
from server.runner import GONE_S
from server.words import clock_time, times_in_a_row

_POLL_S = 0.5


class NoRunner(ServerError):
    """Nobody carries out orders. The order stands."""

    exit_code = 3


def follow(
    orders: RunOrders,
    number: int,
    tell: Callable[[str], None],
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> RunOrder:
    """Tell what becomes of an order until it has ended; an interrupt ends only the telling.

    Returns:
        The order as it was last seen.

    Raises:
        NoRunner: for half a minute nobody has carried out anything.
    """
    began_s, told, told_pause = now(), "", 0.0
    order = _get(orders, number)
    try:
        while order.phase != "ended":
            wish, line = orders.wishes().get(order.task, TaskWish(order.task)), _line(order)
            paused = wish.wanted == "paused"
            if paused and wish.since_s != told_pause:
                tell(_pause_line(order, wish, now()))
                told_pause = wish.since_s
            if line != told and not (paused and order.phase == "waiting"):
                tell(line)
                told = line
            seen = orders.runner()
            if now() - max(began_s, 0.0 if seen is None else seen[0]) > GONE_S:
                raise NoRunner(
                    f"order {number} stands, and no runner is there: start artesian coordinator up, and before the "
                    "founding admit the founders"
                )
            sleep(_POLL_S)
            order = _get(orders, number)
    except KeyboardInterrupt:
        tell(f"{order.task}: order {number} goes on; artesian coordinator status shows it, pause or stop ends it")
    return order


def _get(orders: RunOrders, number: int) -> RunOrder:
    order = orders.get(number)
    assert order is not None, "orders are never deleted"
    return order


def _pause_line(order: RunOrder, wish: TaskWish, now_s: float) -> str:
    why = f" ({wish.reason})" if wish.reason else ""
    what = "the order waits" if order.phase == "waiting" else "its run is held when the present round is over"
    since = f"{order.task}: paused by the operator since {clock_time(wish.since_s, now_s)}{why}"
    return f"{since}: {what}; go on with: artesian coordinator resume {order.task}"


def _line(order: RunOrder) -> str:
    if order.phase == "waiting":
        waits = f"{order.task}: waits for {order.waits_for or 'its turn'}"
        return f"{waits}; failed {times_in_a_row(order.failures)}: {order.reason}" if order.failures else waits
    again = f" (failed {times_in_a_row(order.failures)})" if order.failures else ""
    return f"{order.task}: {order.step or 'the run is starting'}{again}"
