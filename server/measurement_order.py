"""What a measurement is asked to be: the order that an operator writes, and that a run carries."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.measuring.statistic import statistic_of
from clients.plan_record import MEASUREMENTS
from clients.tasks.spec import load_spec
from server.coordinator import CoordinatorConfig
from server.errors import ServerError

BINS = 20


class OrderInvalid(ServerError):
    """A measurement that cannot be ordered as it is written."""


class Order(BaseModel):
    """What to measure, and what the round may cost every unit.

    `bins` are score bins, for evaluation and fairness; `column` is whose values fairness compares.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    epsilon: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    bins: int = Field(default=BINS, ge=2, le=1000)
    column: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an order as a run config holds it: `what=evaluation epsilon=0.1 bins=20`.

        Raises:
            OrderInvalid: naming the word that is wrong.
        """
        orders = cls.parse_all(text)
        if len(orders) != 1:
            raise OrderInvalid(f"measure: {len(orders)} orders where one is wanted: {text!r}")
        return orders[0]

    @classmethod
    def parse_all(cls, text: str) -> list[Self]:
        """Read orders with semicolons between them; a name with a space or a semicolon in it stands in quotes.

        Raises:
            OrderInvalid: naming the word that is wrong.
        """
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";")
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            tokens = list(lexer)
        except ValueError as error:
            raise OrderInvalid(f"measure: {text!r}: {error}") from None
        orders = list[list[str]]([[]])
        for token in tokens:
            if token.strip(";"):
                orders[-1].append(token)
            else:
                orders.append([])
        return [cls._read(words) for words in orders if words]

    @classmethod
    def _read(cls, tokens: Iterable[str]) -> Self:
        words = [token.partition("=") for token in tokens]
        odd = next((name for name, _, _ in words if name not in cls.model_fields), None)
        if odd is not None:
            raise OrderInvalid(f"measure: {odd!r} is none of {', '.join(cls.model_fields)}")
        order = cls.of(**{name: value for name, _, value in words})
        if order.what not in MEASUREMENTS:
            raise OrderInvalid(f"measure: what must be one of {', '.join(MEASUREMENTS)}, not {order.what!r}")
        return order

    @classmethod
    def of(cls, **values: Any) -> Self:
        """An order of these values.

        Raises:
            OrderInvalid: naming the one that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = error.errors()[0]
            where = " ".join(map(str, wrong["loc"]))
            raise OrderInvalid(f"measure: {where} {wrong['input']!r}: {wrong['msg']}") from None

    def text(self) -> str:
        """The order as a run config holds it."""
        given = self.model_dump(exclude_none=True).items()
        return " ".join(shlex.quote(f"{name}={value}") for name, value in given if value != "")


def check_order(home: Path, config: CoordinatorConfig, task_name: str, order: Order) -> None:
    """Refuse an order that no run could carry out, before there is one.

    Raises:
        OrderInvalid, PlanInvalid: naming what is wrong.
    """
    task = next((one for one in config.task if one.name == task_name), None)
    if task is None:
        raise OrderInvalid(f"measure: {home} has no task {task_name!r}")
    if task.privacy.mode != "none" and order.epsilon is None and task.privacy.epsilon is None:
        raise OrderInvalid("measure: give --epsilon, what it may cost every unit")
    statistic_of(load_spec(home / task.spec), order.what, order.bins, order.column)
