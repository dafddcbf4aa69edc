"""What the entries say of rounds that are over: the rules keep only what they still need."""

from collections.abc import Iterable

from ledger.rules import Contribution
from ledger.statement import Statement


def contributions_of(statements: Iterable[Statement]) -> dict[bytes, dict[str, Contribution]]:
    """The contributions of every round, by its id and then by firm, in ledger order.

    Args:
        statements: all that the rules have admitted, from entry 0 on.
    """
    found: dict[bytes, dict[str, Contribution]] = {}
    for index, statement in enumerate(statements):
        record = statement.payload
        if record["t"] == "round":
            found[record["id"]] = {}
        elif record["t"] == "contribution":
            found[record["round"]][statement.issuer] = Contribution(index, statement.digest, record["commit"])
    return found
