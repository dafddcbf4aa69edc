"""How long the bytes are kept from which a finished round can be recomputed: the policy that members agree on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from server.errors import ServerError

DAY_S = 86_400
DISPUTE_DAYS = 30
"""No policy deletes anything sooner: so long after a release anyone can dispute how it came about."""
MOST_DAYS = 100_000
_DELETED = ["masked values", "opened seeds", "pair hashes"]


class RetentionRefused(ServerError):
    """A policy that deletes too soon, or more than may be deleted."""


class DeletionInvalid(ServerError):
    """A record of a deletion that does not justify it."""

    exit_code = 1


@dataclass(frozen=True)
class RetentionPolicy:
    """What a deletion is done under; its encoding is an artifact that a record of a deletion names.

    Attributes:
        days: how long after the release artifacts are kept.

    Raises:
        RetentionRefused: fewer than `DISPUTE_DAYS`.
    """

    days: int

    def __post_init__(self) -> None:
        if not DISPUTE_DAYS <= self.days <= MOST_DAYS:
            raise RetentionRefused(
                f"retention: {self.days} days; a release can be disputed for {DISPUTE_DAYS} days, keep it at least "
                f"as long, and at most {MOST_DAYS}"
            )

    def to_bytes(self) -> bytes:
        """The policy as JSON with sorted keys."""
        return (json.dumps(self._document(), sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> RetentionPolicy:
        """Read what `to_bytes` gave.

        Raises:
            DeletionInvalid: something else, or a policy that deletes too soon.
        """
        try:
            policy = cls(int(json.loads(raw)["days"]))
        except (ValueError, KeyError, TypeError):
            raise DeletionInvalid("retention policy: it is not one") from None
        except RetentionRefused as refused:
            raise DeletionInvalid(str(refused)) from None
        if policy.to_bytes() != raw:
            raise DeletionInvalid("retention policy: it is not one")
        return policy

    def _document(self) -> dict[str, Any]:
        return {"days": self.days, "deleted": _DELETED}


def require_policy(agreed: RetentionPolicy | None, days: int | None) -> RetentionPolicy:
    """The policy to delete under: the one agreed, or a longer one.

    Args:
        agreed: what `coordinator.toml` says.
        days: what the operator asks for; None asks for what was agreed.

    Raises:
        RetentionRefused: nothing is agreed or asked for, or less is to be kept than was agreed.
    """
    wanted = agreed if days is None else RetentionPolicy(days)
    if wanted is None:
        raise RetentionRefused(
            "retention: coordinator.toml has no [retention], so everything is kept; add it with days = 400, or give "
            "--older-than DAYS"
        )
    if agreed is not None and wanted.days < agreed.days:
        raise RetentionRefused(
            f"retention: coordinator.toml promises to keep {agreed.days} days, not {days}; change it there first"
        )
    return wanted
