"""The `firm.toml` that joining writes: the one file that a firm's operator edits, so it explains itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

from clients.enrolment.consortium import ConsortiumPolicy

DEFAULT_UNITS = 1000


def firm_toml(
    member: str, policy: ConsortiumPolicy, units: Mapping[str, int] | None = None, data: Mapping[str, str] | None = None
) -> str:
    """The file.

    Args:
        units: declared privacy units, by task.
        data: where the table is, by task.
    """
    tasks = [
        _TASK.format(
            name=json.dumps(task.name),
            spec=json.dumps(task.file),
            data=json.dumps((data or {}).get(task.name, f"tables/{task.name}.csv"), ensure_ascii=False),
            units=(units or {}).get(task.name, DEFAULT_UNITS),
        )
        for task in policy.task
    ]
    return _FIRM.format(member=json.dumps(member), cid=json.dumps(policy.cid), least=policy.min_cohort) + "".join(tasks)


_FIRM = """\
# What this firm takes part in, and what it will never agree to. This file never leaves the firm.
# After an edit: artesian firm check --home THIS-FOLDER (the tables), artesian firm doctor --home THIS-FOLDER (all else)
member = {member}
cid = {cid}

# A plan that asks for more than this is refused, and costs nothing.
[limits]
epsilon = 8.0            # all that one table may ever spend of its privacy; the smaller, the more private
delta = 1e-5             # at this delta; well below one in the number of your records
# epsilon_round = 1.0    # the most that a single round may cost
# epsilon_year = 4.0     # the most that a table may spend within 365 days
min_cohort = {least}           # fewest firms among which this firm's update is hidden
colluders = 1            # so many of them may side with a lying coordinator
# measurements = ["evaluation"]   # what may be measured on your tables: units, evaluation, columns, fairness

# For this firm's own Prometheus, on this machine: figures, what is left in the wallet among them. Off without a port.
# [metrics]
# port = 9465

# The most memory that one message may take on this machine; by default three quarters of what it has, at least 4096.
# [machine]
# memory_mib = 4096
"""
_TASK = """
# Leave the whole block out to take no part in this task.
[[task]]
name = {name}
spec = {spec}   # what is learned, from which columns; its hash is the one that the consortium agreed on
data = {data}   # your table: CSV or Parquet (paths are relative to this folder)
units = {units}   # about how many privacy units it has, a round figure that others see; no exact count
# A table in a database: leave `data` out, name the account of its records in the wallet, and give a query that reads.
# dataset = "customers"        # the same name for every query of the same people, and when the table grows
# [task.sql]
# url = "postgresql://USER@HOST/DATABASE"   # or sqlite:///FILE; never with a password in it
# password_file = "db.password"             # mode 0600; or password_env = "VARIABLE"
# query = "select ... from customers"       # its columns are found by the names in the spec
"""
