"""How a coordinator's home came to what it is: one migration a version; `clients.migration` carries them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clients.firm_migrations import origin_of
from clients.migration import Act, Migration, folders
from ledger.homes import LEDGER, SETTINGS, Settings
from ledger.rules import COORDINATOR
from ledger.whole_file import write_whole
from server.network import CONFIG_FILE


def _settings(home: Path) -> None:
    """Fill in what `ledger.toml` lacks from `coordinator.toml` and the policy, where a ledger is founded."""
    if not (home / LEDGER).is_file():
        return
    from server.coordinator import load_coordinator_config  # a home comes forward once, and a supervisor stays small

    config = load_coordinator_config(home / CONFIG_FILE)
    known = Settings.load(home)
    filled = replace(
        known,
        member=known.member or COORDINATOR,
        cid=known.cid or config.cid,
        origin=known.origin or origin_of(home),
        database=known.database or LEDGER,
    )
    if filled != known:
        write_whole(home / SETTINGS, filled.toml().encode())


COORDINATOR_MIGRATIONS = (
    Migration(
        0,
        1,
        (
            folders("run", "logs", "flower"),
            Act("write the coordinator's place on the ledger into ledger.toml, where it lacks it", _settings),
        ),
        (SETTINGS,),
    ),
)
"""From the homes that had one process to those that a supervisor keeps."""
