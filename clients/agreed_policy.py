"""A policy that the members have changed, taken into a member's home: the file that the ledger names, and its specs."""

from __future__ import annotations

from pathlib import Path

from clients.certificates import keep_file
from clients.enrolment.consortium import (
    CONSORTIUM,
    ConsortiumPolicy,
    check_specs,
    policy_hash,
    read_policy,
)
from clients.enrolment.errors import BadConsortium
from clients.errors import ClientError
from ledger.rules import State


class NotOnLedger(ClientError):
    """The ledger, as this member's own copy has it, does not name this policy."""

    exit_code = 1


def take_policy(home: Path, file: Path, state: State | None) -> tuple[ConsortiumPolicy, list[str]]:
    """Put a `consortium.toml` in the place of the home's own, with the task specs that it names.

    Specs are looked for in `tasks/` beside the file, then in the home. Specs are written first and the policy last: cut
    short, it is given again.

    Args:
        file: as the coordinator sent it.
        state: of the home's mirror; None where there is none yet.

    Returns:
        The policy, and the tasks whose spec is new to the home.

    Raises:
        NotOnLedger: a quorum has not approved it, or the mirror has not seen that.
        BadConsortium: the file or a spec cannot be used, or is missing.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise BadConsortium(f"{file}: cannot be read: {error.strerror}") from None
    policy, found = read_policy(raw, str(file)), policy_hash(raw)
    named = None if state is None else state.terms.config
    if named != found:
        said = "no policy" if named is None else f"{named.hex()[:16]}…"
        raise NotOnLedger(
            f"{file}: its hash is {found.hex()[:16]}…, the ledger's policy as this home's mirror has it names {said}; "
            "either a quorum has not approved it yet, or the mirror is behind: see artesian ledger status"
        )
    specs = {task.name: _spec(task.file, file.parent, home) for task in policy.task}
    check_specs(policy, {name: spec for name, spec in specs.items() if spec is not None})
    fresh = []
    for task in policy.task:
        path, content = home / task.file, specs[task.name]
        if content is not None and (not path.exists() or path.read_bytes() != content):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            keep_file(path, content)
            fresh.append(task.name)
    keep_file(home / CONSORTIUM, raw)
    return policy, fresh


def _spec(name: str, *folders: Path) -> bytes | None:
    found = (folder / name for folder in folders)
    return next((path.read_bytes() for path in found if path.is_file()), None)
