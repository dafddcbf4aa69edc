"""How a bank's home came to what it is: one migration a version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clients.certificates import TLS_CERTIFICATE, Identity, identity_of
from clients.connection import CONNECTION, load_connection
from clients.firm_migrations import origin_of
from clients.migration import Act, Migration, folders
from ledger.homes import SETTINGS, Settings
from ledger.whole_file import write_whole


def _settings(home: Path) -> None:
    """Fill in what `ledger.toml` lacks from `connection.toml`, or where there is none from the certificate."""
    founding, address, known = "", "", Settings.load(home)
    if (home / CONNECTION).is_file():
        at = load_connection(home)
        holder, founding, address = Identity(at.cid, at.member), at.founding, at.ledger
    elif (home / TLS_CERTIFICATE).is_file():
        holder = identity_of((home / TLS_CERTIFICATE).read_bytes())
    else:
        return
    filled = replace(
        known,
        member=known.member or holder.member,
        cid=known.cid or holder.cid,
        founding=known.founding or founding,
        address=known.address or address,
        origin=known.origin or origin_of(home),
    )
    if filled != known:
        write_whole(home / SETTINGS, filled.toml().encode())


BANK_MIGRATIONS = (
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
"""From the homes that were given their certificate by hand to those that join by an invite."""
