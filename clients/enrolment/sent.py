"""Why each thing that the join client sends may leave: names, public keys and signatures, and nothing of a table.

The door for what rounds send is `clients.disclosure`; this is the one for the join desk, whose client is kept to this
table. Grounds are two of that closed list: `key` (keys, signatures, names that they are enrolled under) and `protocol`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from clients.enrolment.errors import BadConsortium

Ground = tuple[Literal["key", "protocol"], str]

SENT: Mapping[str, Mapping[str, Ground]] = {
    "Join": {
        "kind": ("key", "firm or bank, as the invite says"),
        "name": ("key", "the organisation's name, as the invite says"),
        "key": ("key", "the public signing key"),
        "csr": ("key", "a signing request for the public TLS key"),
        "node_key": ("key", "the SuperNode's public key"),
        "token_sha256": ("protocol", "which invite is used"),
        "policy_sha256": ("protocol", "which policy was confirmed"),
    },
    "Standing": {},
    "Renew": {"csr": ("key", "a signing request for the public TLS key")},
    "Proposals": {},
    "Approve": {
        "proposal": ("protocol", "the proposal's name"),
        "approval": ("key", "the member's signature over the record"),
    },
    "Policy": {"sha256": ("protocol", "which policy, or empty for that of now")},
    "State": {"extension": ("protocol", "which release of the program the member runs")},
}


def require_grounds(rpc: str, fields: Iterable[str]) -> None:
    """Raise `BadConsortium` unless a call carries exactly what the table says."""
    if rpc not in SENT or set(fields) != SENT[rpc].keys():
        raise BadConsortium(f"the call {rpc} would send other fields than may leave; this is a fault of the program")
