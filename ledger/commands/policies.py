"""The trust policies that a home keeps: `policy.txt` is the present one, `policies/` has all that were in force."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.commands.answering import UsageError, make_folder, tell, write
from ledger.commands.places import load_policy
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.electorate import Membership
    from ledger.memberships import Read
    from ledger.policies import Policies
    from ledger.policy import Policy
    from ledger.rules import State


def load_policies(path: Path) -> Policies:
    """Read the policies that a file, a folder of them or a home holds.

    Raises:
        UsageError: there is none, or one of them cannot be read.
    """
    from ledger.policies import Policies, policy_files

    files = policy_files(path)
    if not files:
        raise UsageError(
            f"{path}: holds no policy; give its file, a folder of policies (*.txt), or a home that keeps any"
        )
    return Policies({str(file): load_policy(file) for file in files})


def keep_policies(home: Path, settled: Membership, origin: str, cid: str, read: Read) -> None:
    """Keep the policy of every membership up to the settled one, if its policy is not in the home yet.

    Args:
        settled: who belongs by what is final; of others no policy is handed out.
        read: the ledger's entries; they are read only when members or keys have changed.

    Raises:
        UsageError: a file cannot be written, or is there with something else in it.
    """
    from ledger.homes import POLICIES, POLICY

    present = home / POLICIES / f"{settled.since}.txt"
    if present.is_file():
        _put(home / POLICY, present.read_bytes(), replace=True)
    else:
        write_policies(home, policies_until(settled, origin, cid, read))


def say_not_kept(home: Path, error: LedgerError) -> None:
    """Say that policies could not be kept: neither the log nor a witness stops for that."""
    tell(f"the policies are not kept: {error}; then: artesian ledger policy --home {home} --write")


def policies_until(settled: Membership, origin: str, cid: str, read: Read) -> Mapping[int, Policy]:
    """The policy of every membership up to the settled one, by the size from which on it holds, oldest first."""
    from ledger.memberships import memberships, policies

    return policies(memberships(read, settled.since, cid, origin), origin)


def write_policies(home: Path, known: Mapping[int, Policy]) -> None:
    """Write policies into a home, the newest as the present one. What is there is never overwritten.

    The oldest is written first: where the file of the present policy is, those of all before it are.

    Raises:
        UsageError: as `keep_policies`.
    """
    from ledger.homes import POLICIES, POLICY

    folder, text = home / POLICIES, b""
    make_folder(folder)
    for since, policy in known.items():
        text = policy.text().encode()
        _put(folder / f"{since}.txt", text, replace=False)
    _put(home / POLICY, text, replace=True)


def _put(path: Path, text: bytes, *, replace: bool) -> None:
    if path.is_file() and path.read_bytes() == text:
        return
    try:
        write(path, text, replace=replace)
    except UsageError:
        if not path.is_file() or path.read_bytes() != text:  # another process of this home may have been quicker
            raise


def is_behind(settled: Policy, state: State, origin: str) -> bool:
    """Whether the newest entries change members or keys, and that is not final yet."""
    from ledger.finality import consortium_policy

    return consortium_policy(state, origin) != settled
