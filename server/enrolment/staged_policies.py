"""Policies that the coordinator's operator proposes: kept in the home until one is on the ledger, or is withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import cbor2

from clients.enrolment.consortium import (
    CONSORTIUM,
    ConsortiumPolicy,
    check_specs,
    policy_hash,
    policy_of_home,
    read_policy,
)
from clients.enrolment.errors import BadConsortium
from clients.taking_policy import keep_policy, nearest_specs
from ledger.rules import State
from ledger.whole_file import write_whole

FOLDER = "proposed-policies"
KEEP_S = 3600.0
"""How long a policy that nobody asks for any more is kept: whoever puts it on the ledger just now needs it still."""


@dataclass(frozen=True)
class Staged:
    """A policy that is proposed: its bytes, what they say, and its task specs (TOML) by task."""

    raw: bytes
    policy: ConsortiumPolicy
    specs: Mapping[str, bytes]


class StagedPolicies:
    """The folder of them in a coordinator's home: one file each, named by the hash of its `consortium.toml`."""

    def __init__(self, home: Path) -> None:
        self._home, self._folder = home, home / FOLDER

    def load(self, file: Path) -> Staged:
        """Read a policy, with the specs in `tasks/` beside it, or else in the home.

        Raises:
            BadConsortium: it cannot be used, or is another consortium's.
        """
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise BadConsortium(f"{file}: cannot be read: {error.strerror}") from None
        policy, present = read_policy(raw, str(file)), policy_of_home(self._home)
        if present is not None and policy.cid != present.cid:
            raise BadConsortium(f"{file}: is of the consortium {policy.cid!r}, this is {present.cid!r}")
        specs = nearest_specs(policy, file.parent, self._home)
        check_specs(policy, specs)
        return Staged(raw, policy, specs)

    def keep(self, staged: Staged) -> None:
        """Keep it until it is installed or nobody asks for it any more."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        content = cbor2.dumps({"policy": staged.raw, "specs": dict(staged.specs)})
        write_whole(self._path(policy_hash(staged.raw)), content)

    def read(self, sha256: bytes) -> Staged | None:
        """A policy by its hash; None if it is not here."""
        try:
            document = cbor2.loads(self._path(sha256).read_bytes())
        except FileNotFoundError:
            return None
        raw, specs = bytes(document["policy"]), {str(name): bytes(one) for name, one in document["specs"].items()}
        return Staged(raw, read_policy(raw), specs)

    def install(self, state: State | None) -> None:
        """Put the policy that the ledger names in place, if it is one of these; done again, it does nothing.

        Raises:
            BadConsortium, OSError: it cannot be; it stays here.
        """
        named = None if state is None else state.terms.config
        staged = None if named is None else self.read(named)
        if named is not None and staged is not None:
            keep_policy(self._home, staged.raw, staged.specs, state, CONSORTIUM, replace_specs=True)
            self._path(named).unlink(missing_ok=True)

    def prune(self, asked_for: Collection[bytes], now_s: float) -> None:
        """Remove what is proposed no more, some time after it was kept.

        Args:
            asked_for: hashes of what is.
        """
        kept = {self._path(sha256) for sha256 in asked_for}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path not in kept and path.stat().st_mtime < now_s - KEEP_S:
                path.unlink(missing_ok=True)

    def _path(self, sha256: bytes) -> Path:
        return self._folder / f"{sha256.hex()}.cbor"
