"""What a proposed policy would change, for the member that is asked to approve it: it reads the text, not a hash."""

from __future__ import annotations

from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, check_specs, policy_hash, read_policy
from clients.enrolment.desk_client import DeskClient
from clients.enrolment.errors import BadConsortium
from clients.policy_difference import difference
from ledger.keys import SigningKey
from ledger.proposal import Proposal


def changes(home: Path, proposal: Proposal, desk: DeskClient, cid: str, member: str, key: SigningKey) -> list[str]:
    """The lines that differ between this home's `consortium.toml` and specs and the proposed ones.

    Nothing for a proposal that is no policy, or names no file.

    Raises:
        BadConsortium: what the desk shows is not what the record names, so nobody can know what is approved.
        OlderDesk, NotAdmitted, DeskUnreachable: it does not show it.
    """
    payload = proposal.payload
    if payload["t"] != "policy" or payload["config"] is None:
        return []
    raw, specs = desk.policy(cid, member, key, payload["config"])
    if policy_hash(raw) != payload["config"]:
        raise BadConsortium(
            "the policy that the join desk shows is not the one that the record names; do not approve it"
        )
    policy = read_policy(raw, f"the proposed {CONSORTIUM}")
    for name, value in {"min_cohort": policy.min_cohort, "signatures": policy.signatures, "cid": policy.cid}.items():
        if payload[name] != value:
            said = f"says {name} = {value!r}, the record {payload[name]!r}"
            raise BadConsortium(f"the proposed {CONSORTIUM} {said}; do not approve it")
    check_specs(policy, specs)
    return difference(home, raw, specs)
