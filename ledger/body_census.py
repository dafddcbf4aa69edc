"""How many entries of a log name a body, and where these bodies are.

Mirrors and exports have none: a log that was rebuilt from one lacks them until their issuers hand them in again.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ledger.kept_bodies import BodyState, names_body
from ledger.statement import decode_statement
from ledger.store import Store

_NEEDLE = b"body_sha256"
_CHUNK = 1024


@dataclass(frozen=True)
class BodyCensus:
    """What was counted.

    Attributes:
        named: entries that name a body.
        kept: of these, how many bodies are there.
        erased: how many were erased.
        missing: by issuer, how many are not there and were not erased here.
    """

    named: int
    kept: int
    erased: int
    missing: Mapping[str, int]

    @property
    def words(self) -> list[str]:
        """For people, a line; none when no entry names a body."""
        by = ", ".join(f"{issuer} {number}" for issuer, number in sorted(self.missing.items()))
        missing = f"{sum(self.missing.values())} missing{f' ({by})' if by else ''}"
        return [f"Sealed bodies: {self.kept} kept, {self.erased} erased, {missing}."] if self.named else []


def count_bodies(store: Store) -> BodyCensus:
    """Count the bodies that the entries in `store` name. Only entries with that field's name in them are decoded.

    Raises:
        StatementError, Damaged: an entry cannot be read.
    """
    states, missing, size = Counter[BodyState](), Counter[str](), store.size()
    for start in range(0, size, _CHUNK):
        found = (decode_statement(raw) for raw in store.entries(start, min(start + _CHUNK, size)) if _NEEDLE in raw)
        named = [statement for statement in found if names_body(statement)]
        kept = store.kept([statement.digest for statement in named])
        for statement in named:
            one = kept.get(statement.digest)
            states[BodyState.MISSING if one is None else one.state] += 1
            missing.update([statement.issuer] if one is None else [])
    return BodyCensus(states.total(), states[BodyState.KEPT], states[BodyState.ERASED], dict(missing))
