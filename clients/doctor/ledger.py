"""Whether a member's own mirror keeps up with the ledger, and whether both stand on the policy that was confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from clients.doctor.check import Check, Finding, ok
from clients.enrolment.consortium import CONSORTIUM, TASKS, check_specs, policy_hash, read_policy
from ledger.commands.connecting import connected
from ledger.commands.places import mirror_standing
from ledger.homes import Settings

MUCH_BEHIND = 100
Sizes = Callable[[Path], int]


def served_size(home: Path) -> int:
    """Entries of the ledger, as its service says.

    Raises:
        Unreachable: it does not answer.
    """
    from ledger.checkpoint import SignedCheckpoint

    with connected(Settings.load(home).address, home, None) as client:
        return SignedCheckpoint.parse(client.checkpoint()).checkpoint.size


def ledger_checks(home: Path, role: str, served: Sizes = served_size) -> list[Check]:
    """The mirror, against what the service has."""
    return [Check("ledger", lambda: _ledger(home, role, served))]


def _ledger(home: Path, role: str, served: Sizes) -> Iterator[Finding]:
    if not Settings.load(home).address:
        yield Finding(
            "warn", f"{home}: there is no ledger yet", f"wait for the founding; `artesian {role} join` goes on"
        )
        return
    standing = mirror_standing(home)
    mine = 0 if standing is None else standing.state.size
    there = served(home)
    if mine > there:
        yield Finding(
            "fail",
            f"the mirror has {mine} entries, the service shows {there}: the ledger was cut back",
            f"show the other members, and take part in nothing meanwhile: artesian ledger audit --home {home}",
        )
    elif there - mine > MUCH_BEHIND or (there and not mine):
        what = f"the mirror has {mine} of {there} entries"
        run = "artesian firm up" if role == "firm" else "artesian ledger witness"
        yield Finding("warn", what, f"keep the witness running: {run} --home {home}")
    else:
        yield ok(f"the mirror has {mine} of {there} entries")


def policy_checks(home: Path, confirmed: str) -> list[Check]:
    """`consortium.toml` against the hash that was confirmed, the ledger's policy, and the task specs.

    Args:
        confirmed: hex SHA-256 of the file, as the invite said; empty where none is known.
    """
    return [Check("policy", lambda: _policy(home, confirmed))]


def _policy(home: Path, confirmed: str) -> Iterator[Finding]:
    path = home / CONSORTIUM
    if not path.exists():
        yield Finding("warn", f"{path}: is missing", "the coordinator sends it with the invite; run `join` again")
        return
    raw = path.read_bytes()
    found, policy = policy_hash(raw), read_policy(raw, str(path))
    standing = mirror_standing(home)
    terms = None if standing is None else standing.state.terms
    again = "have the coordinator send the file, and compare its hash with another member"
    fetch = (
        f"artesian firm take-policy --home {home} fetches it (a bank: artesian bank take-policy); where the join desk "
        "has another, ask the coordinator's operator"
    )
    if terms is not None and terms.config is not None and terms.config != found:
        what = f"{path}: its hash is {found.hex()[:16]}…, the ledger's policy names {terms.config.hex()[:16]}…"
        yield Finding("fail", what, fetch)
    elif (terms is None or terms.config is None) and confirmed and confirmed != found.hex():
        what = f"{path}: its hash is {found.hex()[:16]}…, the invite said {confirmed[:16]}…"
        yield Finding("fail", what, again)
    else:
        yield ok(f"{path.name} is the one that the members agreed on")
    specs = {one.name: home / TASKS / f"{one.name}.toml" for one in policy.task}
    check_specs(policy, {name: path.read_bytes() for name, path in specs.items() if path.exists()})
    if specs:
        yield ok(f"task specs as agreed: {', '.join(specs)}")
