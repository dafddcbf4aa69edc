"""Who takes part and what they say: keys, founding statements, attestations; the same in every schedule, made once."""

import hashlib
from functools import cache
from typing import Any

from ledger.founding import founding_of
from ledger.genesis import Founder, enrol_payload, genesis_statements, record
from ledger.keys import SigningKey
from ledger.rules import COORDINATOR, LOG, State, approve, commitment
from ledger.statement import sign_statement

CID = "c-1"
ORIGIN = "artesian.example/c-1"
START_S = 1_800_000_000
MOST_GENERATIONS = 8


def member_name(number: int) -> str:
    return f"m-{number}"


@cache
def key_of(name: str, generation: int = 0) -> SigningKey:
    """The key of a party; a rotation takes the next generation."""
    return SigningKey.from_seed(hashlib.sha256(f"schedules: key {generation} of {name}".encode()).digest())


@cache
def generation_of(name: str, raw: bytes) -> int:
    """Which key of a party this is."""
    return next(number for number in range(MOST_GENERATIONS) if key_of(name, number).public.raw == raw)


def log_generation(state: State) -> int:
    """Which key signs the log's checkpoints over the entries of `state`; the first one before any is named."""
    return 0 if state.log is None else generation_of(LOG, state.log.key.raw)


def bytes_of(text: str, length: int) -> bytes:
    return hashlib.shake_128(text.encode()).digest(length)


def founder(name: str, generation: int = 0) -> Founder:
    return Founder(name, "firm", key_of(name, generation).public, name)


@cache
def founding(members: int) -> tuple[bytes, ...]:
    """The statements that found a consortium of so many."""
    counter = iter(range(1000))
    return tuple(
        genesis_statements(
            CID,
            key_of(COORDINATOR),
            [founder(member_name(number)) for number in range(members)],
            min_cohort=2,
            ts=START_S,
            entropy=lambda length: bytes_of(f"founding {members} {next(counter)}", length),
            log=key_of(LOG).public,
            next_log=commitment(key_of(LOG, 1).public),
        )
    )


@cache
def fingerprint(members: int) -> str:
    """What the founders compared."""
    return founding_of(ORIGIN, founding(members)).fingerprint


def payload_of(t: str, about: str, **fields: Any) -> dict[str, Any]:
    return record(t, cid=CID, record_id=bytes_of(f"{t} {about}", 16), ts=START_S, **fields)


@cache
def attestation(issuer: str, number: int, generation: int = 0) -> bytes:
    """One of the statements that members put on the ledger; allowed while the issuer is active with that key."""
    payload = payload_of("attest", f"{issuer} {number}", subject=f"batch {number}", artifact=bytes_of(str(number), 32))
    return sign_statement(payload, issuer=issuer, subject="batch", key=key_of(issuer, generation))


def change(kind: str, member: str, generation: int, parent: bytes | None) -> dict[str, Any]:
    """A record that changes the membership and follows the one with the digest `parent`; nobody has approved it."""
    about = f"{member} {generation} {(parent or b'').hex()}"
    match kind:
        case "suspend":
            return payload_of(kind, about, parent=parent, member=member, reason="left", approvals=[])
        case "rotate":
            key = key_of(member, generation).public.raw
            return payload_of(kind, about, parent=parent, member=member, key=key, approvals=[])
        case "enrol":
            return enrol_payload(
                CID,
                founder(member, generation),
                ts=START_S,
                entropy=lambda length: bytes_of(f"enrol {about}", length),
                parent=parent,
            )
    raise ValueError(kind)


def approved(payload: dict[str, Any], approvers: dict[str, int]) -> bytes:
    """The statement of a change, approved by these members with their keys of these generations."""
    approvals = [approve(payload, name, key_of(name, number)) for name, number in approvers.items()]
    return _by_coordinator({**payload, "approvals": approvals})


@cache
def log_rotation(generation: int, parent: bytes) -> bytes:
    """The log goes over to the key to which it committed; the one after it is committed to."""
    key, following = key_of(LOG, generation).public, key_of(LOG, generation + 1).public
    fields = {"member": LOG, "key": key.raw, "next_log": commitment(following), "approvals": []}
    return _by_coordinator(payload_of("rotate", f"log {generation} {parent.hex()}", parent=parent, **fields))


def _by_coordinator(payload: dict[str, Any]) -> bytes:
    return sign_statement(payload, issuer=COORDINATOR, subject=payload["member"], key=key_of(COORDINATOR))


@cache
def forgeries(members: int) -> tuple[bytes, ...]:
    """Statements that no rule allows, each for another reason."""
    first, last = member_name(0), member_name(members - 1)
    attest = payload_of("attest", "forged", subject="forged", artifact=bytes(32))
    foreign = {**payload_of("attest", "foreign", subject="s", artifact=bytes(32)), "cid": "c-2"}
    alone = change("suspend", last, 0, None)
    return (
        sign_statement(attest, issuer=first, subject="s", key=key_of("mallory")),
        sign_statement(attest, issuer="stranger", subject="s", key=key_of("stranger")),
        sign_statement(foreign, issuer=first, subject="s", key=key_of(first)),
        approved(alone, {}),
        approved(alone, {first: 0}),
        approved(change("enrol", "sock-puppet", 0, None), {}),
        b"nonsense",
    )
