"""Whether what a firm is asked for is what the members have agreed on: the policy whose hash the ledger names."""

from __future__ import annotations

from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, policy_hash, policy_of_home
from clients.errors import ClientError
from ledger.rules import State


class PolicyNotTaken(ClientError):
    """The members have changed the policy, and this firm has not got the new one yet. Nothing was read or spent."""

    exit_code = 1


class TaskNotAgreed(ClientError):
    """The policy names no such task, or it with another spec. Nothing was read or spent."""

    exit_code = 1


def is_taken(home: Path, state: State | None) -> bool:
    """Whether the home's policy is the one that the ledger names; also where the ledger names none."""
    named = None if state is None else state.terms.config
    path = home / CONSORTIUM
    return named is None or (path.is_file() and policy_hash(path.read_bytes()) == named)


def require_agreed(home: Path, state: State | None, task: str, spec: bytes | None = None) -> None:
    """Insist that the members have agreed on a task, by the policy of now; where the ledger names none, on nothing.

    Args:
        state: of the firm's own mirror; None where there is no ledger.
        spec: the hash of the task's spec, 32 bytes; None where it is not known yet.

    Raises:
        PolicyNotTaken, TaskNotAgreed: they have not, or this firm does not know.
        BadConsortium: the policy cannot be read.
    """
    if state is None or state.terms.config is None:
        return
    if not is_taken(home, state):
        raise PolicyNotTaken(
            "the members have changed the consortium's policy, and this firm has not taken it yet; if it does not by "
            "itself, its operator does: artesian firm take-policy"
        )
    policy = policy_of_home(home)
    specs = {} if policy is None else {one.name: one.spec_sha256 for one in policy.task}
    if task not in specs:
        raise TaskNotAgreed(f"the consortium's policy names no task {task!r}; it names: {', '.join(specs) or 'none'}")
    if spec is not None and spec.hex() != specs[task]:
        raise TaskNotAgreed(
            f"the consortium's policy has the task {task!r} with the spec {specs[task][:16]}…, not {spec.hex()[:16]}…"
        )
