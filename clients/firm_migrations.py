"""How a firm's home came to what it is: one migration a version."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from clients.firm_config import load_firm_config
from clients.homes import FIRM_CONFIG
from clients.migration import Act, Migration, folders
from ledger.homes import POLICY, SETTINGS, Settings
from ledger.policy import Policy, PolicyError
from ledger.whole_file import write_whole


def _settings(home: Path) -> None:
    """Fill in what `ledger.toml` lacks from `firm.toml` and the policy that the firm trusts, where it has joined."""
    if not (home / FIRM_CONFIG).is_file():
        return
    config = load_firm_config(home / FIRM_CONFIG)
    known = Settings.load(home)
    filled = replace(
        known,
        member=known.member or config.member,
        cid=known.cid or config.cid,
        founding=known.founding or config.founding or "",
        origin=known.origin or origin_of(home),
    )
    if filled != known:
        write_whole(home / SETTINGS, filled.toml().encode())


def origin_of(home: Path) -> str:
    """The name of the log that the home's policy trusts; empty where there is no policy that can be read."""
    with suppress(OSError, UnicodeError, PolicyError):
        return Policy.parse((home / POLICY).read_text(encoding="utf-8")).logs[0].name
    return ""


FIRM_MIGRATIONS = (
    Migration(
        0,
        1,
        (
            folders("run", "logs"),
            Act("write member, consortium and log into ledger.toml, where it lacks them", _settings),
        ),
        (SETTINGS,),
    ),
)
"""From the homes that had one process to those that a supervisor keeps."""
