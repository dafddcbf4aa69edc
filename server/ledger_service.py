"""`[ledger_service]` in `coordinator.toml`: another process has this home's ledger; how this one uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from ledger.homes import POLICY, Settings
from ledger.keys import SigningKey
from ledger.policy import Policy
from ledger.rules import COORDINATOR
from server.certificates import AUTHORITY_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY
from server.errors import ServerError

if TYPE_CHECKING:
    from ledger.service.served import ServedLedger

MIRRORS = "mirrors"
"""The folder of the copies that this home's processes keep of the served ledger, one each."""


class NoPolicy(ServerError):
    """The home has no policy that says whose ledger it is: there is none before the founding."""


class LedgerService(BaseModel):
    """`artesian ledger serve` has the ledger; without this table, each process opens its database itself, in turns.

    Attributes:
        address: HOST:PORT, as its certificate names it; empty for `localhost` and the `ledger_port` of `[network]`.
        final_s: how long to wait until the members' witnesses have made final what a run needs, in seconds.
        witness_s: once it is final, how long more for those witnesses of the cohort that are not so far yet.
        reach_s: how long to try again while the service cannot be reached.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = ""
    final_s: float = Field(default=60.0, gt=0, le=86_400)
    witness_s: float = Field(default=3.0, ge=0, le=3600)
    reach_s: float = Field(default=60.0, gt=0, le=86_400)

    def at(self, port: int) -> str:
        """HOST:PORT to connect to, where `port` is the ledger's in `[network]`."""
        return self.address or f"localhost:{port}"


def connect(home: Path, cid: str, service: LedgerService, port: int, key: SigningKey) -> ServedLedger:
    """The served ledger, in the coordinator's name and with a mirror of this process's own.

    Args:
        port: the ledger's in `[network]`.
        key: the coordinator's signing key.

    Raises:
        NoPolicy: the consortium is not founded.
        Unreachable: the service does not answer within `reach_s`.
        LedgerError: it shows another ledger than this home's policy names, or the mirror cannot be used.
    """
    from ledger.service.client import LedgerClient
    from ledger.service.served import ServedLedger, own_mirror
    from ledger.service.tls import ClientTls
    from ledger.service.tokens import Identity

    try:
        policy = Policy.parse((home / POLICY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NoPolicy(
            f"{home / POLICY}: is not there: the consortium is not founded yet; have its members join"
        ) from None
    log = policy.logs[-1]  # the key that it was founded with
    own = (home / TLS_KEY, home / TLS_CERTIFICATE)
    certificates = own if all(file.is_file() for file in own) else ()
    authority = home / AUTHORITY_CERTIFICATE
    tls = ClientTls.from_files(authority, *certificates) if authority.is_file() else None
    founding = Settings.load(home).founding or None
    mirror = own_mirror(home / MIRRORS, log, cid, founding=founding, seal=key)
    try:
        client = LedgerClient(service.at(port), tls=tls, identity=Identity(COORDINATOR, key, log.name))
    except BaseException:
        mirror.close()
        raise
    return ServedLedger(client, mirror, reach_s=service.reach_s)
