"""Taking the policy that the members have agreed on into a home: the file that the ledger names, and its task specs.

A quorum decides which policy holds, and the ledger says which by its hash; so it does not matter who hands the file
over. What a task computes from a firm's records is not the quorum's to change, though: where a spec that a home has
already is another now, the member's operator takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from clients.agreed_policy import is_taken
from clients.connection import load_connection
from clients.enrolment.consortium import CONSORTIUM, TASKS, ConsortiumPolicy, check_specs, policy_hash, read_policy
from clients.enrolment.errors import BadConsortium
from clients.errors import ClientError
from clients.homes import SIGNING_KEY
from clients.policy_difference import difference
from clients.renewal import desk_of
from clients.tasks.spec import TaskSpec, TaskSpecInvalid, load_spec
from ledger.commands.places import mirror_standing
from ledger.keys import SigningKey
from ledger.rules import State
from ledger.whole_file import write_whole


class NotOnLedger(ClientError):
    """The ledger, as this home has it, does not name this policy."""

    exit_code = 1


class SpecChanged(ClientError):
    """The new policy changes the spec of a task that this home has; its operator has not said yes.

    Attributes:
        lines: what it changes, to be printed.
    """

    exit_code = 1

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self.lines = lines


def take_policy(
    home: Path, file: Path, state: State | None, *, replace_specs: bool
) -> tuple[ConsortiumPolicy, list[str]]:
    """Put a `consortium.toml` in the place of the home's own, with the task specs that it names.

    Specs are looked for in `tasks/` beside the file, then in the home.

    Args:
        file: as the coordinator sent it.
        state: of the home's ledger or mirror; None where there is none yet.
        replace_specs: whether specs that the home has may become others.

    Returns:
        The policy, and the tasks whose spec is new to the home.

    Raises:
        NotOnLedger: a quorum has not approved it, or the mirror has not seen that.
        SpecChanged: they may not, and would; nothing is taken.
        BadConsortium: the file or a spec cannot be used, or is missing.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise BadConsortium(f"{file}: cannot be read: {error.strerror}") from None
    found = read_policy(raw, str(file))
    return keep_policy(
        home, raw, nearest_specs(found, file.parent, home), state, str(file), replace_specs=replace_specs
    )


def fetch_policy(
    home: Path, now: Callable[[], float], *, replace_specs: bool
) -> tuple[ConsortiumPolicy, list[str]] | None:
    """Take the policy from the join desk if the home's mirror names another than the home has.

    Args:
        replace_specs: whether the member's operator asks for it: specs that the home has may become others.

    Returns:
        As `take_policy`; None where the home has it.

    Raises:
        ConnectionInvalid: the home has not joined.
        SpecChanged: they may not, and would; nothing is taken.
        OlderDesk, NotAdmitted, DeskUnreachable: the desk does not hand it out.
        NotOnLedger: it hands out another.
        BadConsortium: it cannot be used.
    """
    connection, standing = load_connection(home), mirror_standing(home)
    if standing is None:
        raise NotOnLedger(
            f"{home}: has no copy of the ledger yet, which says what was agreed; see: artesian ledger witness"
        )
    state = standing.state
    if is_taken(home, state):
        return None
    key = SigningKey.load(home / SIGNING_KEY)
    with desk_of(home, now) as desk:
        raw, specs = desk.policy(connection.cid, connection.member, key)
    where = f"the policy at {connection.enrolment}"
    return keep_policy(home, raw, specs, state, where, replace_specs=replace_specs)


def keep_policy(
    home: Path, raw: bytes, specs: Mapping[str, bytes], state: State | None, where: str, *, replace_specs: bool
) -> tuple[ConsortiumPolicy, list[str]]:
    """Put a policy and its specs in place; the specs first and the policy last: cut short, it is done again.

    Args:
        raw: the bytes of `consortium.toml`; `where` names them in errors.
        specs: TOML by task.

    Returns, raises:
        As `fetch_policy`.
    """
    policy, found = read_policy(raw, where), policy_hash(raw)
    named = None if state is None else state.terms.config
    if named != found:
        said = "no policy" if named is None else f"{named.hex()[:16]}…"
        raise NotOnLedger(
            f"{where}: its hash is {found.hex()[:16]}…, the ledger as {home} has it names {said}; "
            "either a quorum has not approved it yet, or the mirror is behind: see artesian ledger status"
        )
    fresh = _changed(home, policy, check_specs(policy, specs))
    known = [task for task in fresh if (home / TASKS / f"{task}.toml").exists()]
    if known and not replace_specs:
        raise SpecChanged(
            f"the members have changed the consortium's policy, and with it what is computed for {', '.join(known)}; "
            f"read it, and take it: artesian firm take-policy --home {home} (a bank: artesian bank take-policy)",
            difference(home, raw, specs),
        )
    for task in fresh:
        (home / TASKS).mkdir(mode=0o700, exist_ok=True)
        write_whole(home / TASKS / f"{task}.toml", specs[task])
    write_whole(home / CONSORTIUM, raw)
    return policy, fresh


def _changed(home: Path, policy: ConsortiumPolicy, specs: Mapping[str, TaskSpec]) -> list[str]:
    """The tasks whose spec in the home is another than the policy's, or missing; however it is spelled."""
    found = []
    for task in policy.task:
        try:
            same = load_spec(home / task.file).hash == specs[task.name].hash
        except TaskSpecInvalid:
            same = False
        if not same:
            found.append(task.name)
    return found


def nearest_specs(policy: ConsortiumPolicy, *folders: Path) -> dict[str, bytes]:
    """The specs (TOML) of a policy's tasks by task, each from the first of the folders that has it, if one has."""
    found = {}
    for task in policy.task:
        path = next((folder / task.file for folder in folders if (folder / task.file).is_file()), None)
        if path is not None:
            found[task.name] = path.read_bytes()
    return found
