"""The trust policy that a home keeps: the present members and log key, and every key that the log had before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.commands.answering import write

if TYPE_CHECKING:
    from ledger.note import Vkey
    from ledger.policy import Policy
    from ledger.rules import State
    from ledger.store import Store

_CHUNK = 4096


def renew_policy(path: Path, settled: Policy, before: Path | None = None) -> None:
    """Write a policy in which the log's earlier keys stay, for receipts of their time.

    Args:
        path: the policy's file.
        settled: of the members that are final.
        before: where the earlier policy is, if not in `path`.
    """
    from ledger.policy import Policy

    known, log = before or path, settled.logs[0]
    older = Policy.parse(known.read_text()).logs_named(log.name) if known.exists() else ()
    text = with_older(settled, older).text().encode()
    if not path.exists() or path.read_bytes() != text:
        write(path, text, replace=True)


def is_behind(settled: Policy, state: State, origin: str) -> bool:
    """Whether the newest entries change members or keys, and that is not final yet."""
    from ledger.finality import consortium_policy

    return consortium_policy(state, origin) != settled


def with_older(policy: Policy, older: tuple[Vkey, ...]) -> Policy:
    """The policy with earlier log keys after the present one."""
    return replace(policy, logs=(*policy.logs, *(vkey for vkey in older if vkey not in policy.logs)))


def log_keys(store: Store, origin: str, size: int) -> tuple[Vkey, ...]:
    """Every key that the log has had by its first `size` entries, the newest first."""
    from ledger.keys import PUBLIC_KEY_BYTES, PublicKey
    from ledger.note import Vkey
    from ledger.statement import decode_statement

    found: list[bytes] = []
    for start in range(0, size, _CHUNK):
        for raw in store.entries(start, min(start + _CHUNK, size)):
            if b"next_log" in raw:  # a field of those records that name a key of the log, and of no others
                record = decode_statement(raw).payload
                key = record["key"] if record["t"] == "rotate" else record["log"]
                if record["t"] == "policy" and record["founders"] is not None:
                    key = key or record["coordinator"][:PUBLIC_KEY_BYTES]
                found += [key] if key else []
    return tuple(Vkey.of_log(origin, PublicKey(key)) for key in reversed(found))
