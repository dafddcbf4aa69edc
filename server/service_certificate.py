"""The coordinator's own certificate: issued anew for the same key before it runs out.

The join desk, and whatever else reads its files again, takes it at the next connection. Processes that read it only
when they start are started again by whoever watches them: `run/certificate.json` says since when there is another.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from clients.certificates import CertificateFacts, facts_of
from ledger.rules import COORDINATOR
from ledger.whole_file import write_whole
from server.certificates import (
    TLS_CERTIFICATE,
    CertificateAuthority,
    install_certificate,
    request_certificate,
)
from server.initialising import hosts_of
from server.network import load_network

MARKER = Path("run") / "certificate.json"


def renew_service_certificate(home: Path, now_s: float, *, force: bool = False) -> CertificateFacts | None:
    """Issue the certificate anew if two thirds of its life are over; None if nothing was due.

    Args:
        force: also when it is not due: after a change of `host` or `bind`.

    Raises:
        BadCertificate: the authority or the key cannot be used.
    """
    path = home / TLS_CERTIFICATE
    if not force and path.exists() and now_s < facts_of(path.read_bytes()).due_s:
        return None
    moment = datetime.fromtimestamp(now_s, UTC)
    authority, network = CertificateAuthority.open(home), load_network(home)
    request = request_certificate(home, COORDINATOR)
    pem = authority.issue_server(request, COORDINATOR, moment, hosts_of(network), client_too=True)
    install_certificate(home, pem, authority.certificate_pem)
    facts = facts_of(pem)
    (home / MARKER.parent).mkdir(mode=0o700, exist_ok=True)
    write_whole(home / MARKER, json.dumps({"serial": f"{facts.serial:x}", "since_s": int(now_s)}).encode())
    return facts
