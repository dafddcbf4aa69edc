"""What `artesian firm up` runs: witness, SuperNode and executor, what renews certificates, and metrics if wanted."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from clients.certificates import TLS_CERTIFICATE
from clients.connection import CONNECTION, load_connection
from clients.firm_config import FirmConfigInvalid, metrics_port
from clients.flower.node_home import flower_environment
from clients.flower.programs import firm_programs as flower_programs
from clients.homes import FIRM_CONFIG
from clients.proxy import proxy_environment
from clients.supervision.program import Program
from ledger.homes import POLICY, SETTINGS


def firm_programs(home: Path, python: str = sys.executable) -> list[Program]:
    """All processes of a firm. Each only calls out: to the ledger, to the fence, to the join desk.

    Those that need what admission brings wait for it; the one that fetches it, and certificates later, starts at once.

    Raises:
        ConnectionInvalid: the home has not joined.
    """
    home = home.resolve()
    environment = {**flower_environment(), **proxy_environment(load_connection(home).proxy)}
    artesian = (python, "-m", "artesian")
    admitted = tuple(home / name for name in (TLS_CERTIFICATE, POLICY, SETTINGS))
    certificates = (home / TLS_CERTIFICATE, home / CONNECTION)
    renewal = Program("renewal", (*artesian, "firm", "renew", "--watch", "--home", str(home)))
    witness = Program("witness", (*artesian, "ledger", "witness", "--home", str(home)), reads=certificates)
    config = home / FIRM_CONFIG
    scraped = (*artesian, "firm", "metrics", "--configured", "--home", str(home))
    metrics = Program("metrics", scraped, reads=(config,), essential=False)
    waiting = (
        replace(one, after=admitted, after_words="this firm to be admitted")
        for one in (witness, *flower_programs(home, python), metrics)
    )
    witness, supernode, executor, metrics = waiting
    programs = [
        renewal,
        witness,
        # A SuperNode that was killed is refused for up to a minute, until Flower counts its key as gone.
        replace(supernode, reads=(home / CONNECTION,), retry_at_most_s=10.0),
        replace(executor, reads=(config,)),
        *([metrics] if _wants_metrics(home) else []),
    ]
    return [replace(one, environment={**one.environment, **environment}) for one in programs]


def _wants_metrics(home: Path) -> bool:
    """Whether `firm.toml` names a port for them; of a file that is wrong, the programs that read it say so."""
    try:
        return metrics_port(home) is not None
    except FirmConfigInvalid:
        return False
