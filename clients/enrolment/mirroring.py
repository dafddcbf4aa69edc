"""The first look of a new member at a ledger that others founded: fetched whole, and believed only as recomputed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from clients.certificates import AUTHORITY_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY
from clients.homes import SIGNING_KEY
from ledger.commands.policies import keep_policies
from ledger.homes import MIRROR
from ledger.keys import SigningKey
from ledger.note import Vkey
from ledger.rules import State
from ledger.service.client import LedgerClient
from ledger.service.tls import ClientTls
from ledger.service.tokens import Identity
from ledger.witness import Witness


def mirror_ledger(
    home: Path, member: str, cid: str, address: str, vkey: str, fingerprint: str, now: Callable[[], float]
) -> State:
    """Bring the home's mirror up to date with the ledger at `address`; its state.

    Args:
        vkey, fingerprint: the key that the log was founded with, and its founding's fingerprint.

    Raises:
        Unreachable: the service does not answer.
        Misbehaviour, WitnessRefusal: it shows another ledger.
    """
    key, log = SigningKey.load(home / SIGNING_KEY), Vkey.parse(vkey)
    tls = ClientTls.from_files(home / AUTHORITY_CERTIFICATE, home / TLS_KEY, home / TLS_CERTIFICATE)
    with (
        closing(LedgerClient(address, tls=tls, identity=Identity(member, key, log.name), clock=now)) as client,
        Witness(home / MIRROR, key, member, log, cid, now, founding=fingerprint) as witness,
    ):
        mirror = witness.mirror
        mirror.follow(client)
        mirror.learn_from(client)
        if mirror.final_size:
            keep_policies(home, mirror.settled, mirror.origin, cid, mirror.entries)
        return mirror.state
