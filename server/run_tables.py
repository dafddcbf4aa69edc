"""The tables behind `server.run_orders`: tasks, orders, their tries, and when the runner was last there."""

from __future__ import annotations

import sqlalchemy as sa

from server.store import PREFIX, Part

_METADATA = sa.MetaData()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _moment(name: str) -> sa.Column[float]:
    """Seconds since 1970."""
    return sa.Column(name, sa.Double, nullable=True)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")


TASKS = sa.Table(
    f"{PREFIX}tasks",
    _METADATA,
    sa.Column("task", sa.Text, primary_key=True),
    _text("wanted"),
    sa.Column("since_s", sa.Double, nullable=False),
    _text("reason"),
    sa.Column("at_once", sa.Boolean, nullable=False),
    _moment("anchor_s"),
    _text("schedule"),
)
ORDERS = sa.Table(
    f"{PREFIX}orders",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _text("task"),
    _text("origin"),
    sa.Column("rounds", sa.Integer),
    _text("measure"),
    sa.Column("ordered_s", sa.Double, nullable=False),
    sa.Column("due_s", sa.Double, nullable=False),
    sa.Column("phase", sa.Text, nullable=False, index=True),
    sa.Column("ticket", sa.Text, nullable=False, server_default="", index=True),
    _text("run_id"),
    _count("attempts"),
    _count("failures"),
    sa.Column("not_before_s", sa.Double, nullable=False, server_default="0"),
    _moment("waits_since_s"),
    _text("waits_for"),
    _moment("begun_s"),
    sa.Column("until", sa.Integer),
    _count("done"),
    _count("total"),
    _text("step"),
    _moment("step_s"),
    _text("said"),
    _text("said_why"),
    _text("outcome"),
    _text("reason"),
    _moment("ended_s"),
    _text("carried_by"),
    sqlite_autoincrement=True,
)
ATTEMPTS = sa.Table(
    f"{PREFIX}attempts",
    _METADATA,
    sa.Column("order", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _text("run_id"),
    sa.Column("begun_s", sa.Double, nullable=False),
    sa.Column("ended_s", sa.Double, nullable=False),
    _text("outcome"),
    _text("reason"),
)
RUNNER = sa.Table(
    f"{PREFIX}runner",
    _METADATA,
    sa.Column("seen_s", sa.Double, primary_key=True),
    _text("problem"),
)


def _name_what_carries_out(connection: sa.Connection) -> None:
    """Version 2: orders know the run of the round journal that carries them out."""
    connection.execute(sa.text(f"ALTER TABLE {ORDERS.name} ADD COLUMN carried_by TEXT NOT NULL DEFAULT ''"))


PART = Part("runs", _METADATA, 2, {2: _name_what_carries_out})
