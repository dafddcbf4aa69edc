"""Joining a consortium from an organisation's own home: keys made here, a request sent, and what came of it checked.

Everything can be repeated: what is there already is used, and no key is ever replaced. `ledger.toml` is written last:
a home that has it has joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from clients.certificates import (
    AUTHORITY_CERTIFICATE,
    facts_of,
    install_certificate,
    read_pem,
    request_certificate,
)
from clients.connection import CONNECTION, NODE_KEY, Connection, load_connection
from clients.enrolment.consortium import CONSORTIUM, TASKS, policy_hash
from clients.enrolment.desk_client import DeskClient, Standing, Terms
from clients.enrolment.errors import BadConsortium, NotAdmitted, OtherConsortium, StillWaiting
from clients.enrolment.invite import Invite
from clients.firm_template import firm_toml
from clients.homes import FIRM_CONFIG, SIGNING_KEY, HomeExists
from clients.migration import VERSION_FILE, folders, write_version
from clients.node_key import node_public_key
from clients.scoring.proof import SCORER_KEY_FILE
from ledger.electorate import Electorate
from ledger.errors import LedgerError
from ledger.founding import founding_of
from ledger.homes import POLICY, SETTINGS, Settings
from ledger.keys import SigningKey
from ledger.replay import Replayed, step
from ledger.rules import HYBRID, State
from ledger.statement import decode_statement
from ledger.whole_file import write_whole

POLL_S = 1.0
Mirrored = Callable[["Checked"], State]


@dataclass(frozen=True)
class Checked:
    """A founding that the desk has shown, as this home has recomputed it.

    Attributes:
        origin: the log's name.
        fingerprint: of the founding.
        vkey: the key of the log, as policy files write it.
        state: what the rules make of the founding entries.
        policy: text of the founding members' policy.
        address: HOST:PORT of the ledger's service.
    """

    origin: str
    fingerprint: str
    vkey: str
    state: State
    policy: str
    address: str


@dataclass(frozen=True)
class Joined:
    """A member's home that is ready.

    Attributes:
        connection: what stands in its `connection.toml`.
        fingerprint: of the founding, to compare by another way.
    """

    connection: Connection
    fingerprint: str


def joined(home: Path) -> Joined | None:
    """What a home has joined already; None if it has not."""
    settings = Settings.load(home)
    if not settings.founding or not (home / CONNECTION).exists():
        return None
    return Joined(load_connection(home), settings.founding)


def require_same(home: Path, invite: Invite) -> None:
    """Raise `HomeExists` if the home is another member's, or of another consortium."""
    if not (home / CONNECTION).exists():
        return
    known = load_connection(home)
    mine = (known.cid, known.member, known.kind, known.authority_sha256)
    if mine != (invite.cid, invite.member, invite.kind, invite.fingerprint):
        raise HomeExists(
            f"{home}: belongs to {known.member} of {known.cid}, the invite is for {invite.member} of {invite.cid}; "
            "choose another directory"
        )


def ask(
    home: Path,
    invite: Invite,
    terms: Terms,
    desk: DeskClient,
    units: Mapping[str, int],
    data: Mapping[str, str],
    proxy: str = "",
) -> Standing:
    """Make what is missing in the home, and send the request. Only public keys and the member's id and name leave.

    Args:
        units, data: by task, for `firm.toml`.
        proxy: URL of the HTTP proxy that the home's processes go through; empty keeps what the home has.

    Raises:
        HomeExists: the home is another's.
        NotAdmitted, DeskUnreachable: the desk refuses, or does not answer.
    """
    require_same(home, invite)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any((home / name).exists() for name in (CONNECTION, FIRM_CONFIG, SETTINGS, VERSION_FILE)):
        folders("run", "logs").do(home)
        write_version(home)  # it is made as this release makes it, so there is nothing to bring forward
    key, node_key = signing_key(home, hybrid=terms.policy.signatures == HYBRID), b""
    csr = request_certificate(home, invite.member)
    if invite.kind == "firm":
        node_key = node_public_key(home / NODE_KEY)
    standing = desk.join(invite, key, csr, node_key)
    write_whole(home / AUTHORITY_CERTIFICATE, invite.authority_pem)
    write_whole(home / CONSORTIUM, terms.raw)
    (home / TASKS).mkdir(exist_ok=True)
    for task in terms.policy.task:  # its names, which the policy's form has checked, say where anything is written
        write_whole(home / task.file, terms.specs[task.name])
    if invite.kind == "firm" and not (home / FIRM_CONFIG).exists():
        write_whole(home / FIRM_CONFIG, firm_toml(invite.member, terms.policy, units, data).encode())
    connection = Connection(
        member=invite.member,
        kind=invite.kind,
        cid=invite.cid,
        authority_sha256=invite.fingerprint,
        policy_sha256=policy_hash(terms.raw).hex(),
        proxy=proxy or (load_connection(home).proxy if (home / CONNECTION).exists() else ""),
        **{**standing.addresses, "enrolment": invite.desk},
    )
    write_connection(home, connection)
    return standing


def wait(
    home: Path,
    desk: DeskClient,
    *,
    wait_s: float,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
    say: Callable[[str], None],
) -> Standing:
    """Ask until the ledger names this member, for at most `wait_s`.

    Raises:
        StillWaiting: it does not yet; nothing is lost, and the same command goes on.
        NotAdmitted: the desk refuses.
    """
    connection = load_connection(home)
    end_s, told, pause_s = monotonic() + wait_s, "", POLL_S
    while True:
        standing = look(home, desk)
        if standing.phase == "enrolled":
            return standing
        if standing.detail != told:
            told = standing.detail
            say(f"{connection.member} has asked; {told}")
        if monotonic() + pause_s > end_s:
            raise StillWaiting(
                f"{connection.member} has asked, and is not a member yet after {wait_s:.0f} s: {told}; "
                f"to go on waiting: artesian {connection.kind} join --home {home}"
            )
        sleep(pause_s)
        pause_s = min(pause_s * 1.5, 10.0)


def look(home: Path, desk: DeskClient) -> Standing:
    """How the home's request stands.

    Raises:
        NotAdmitted, DeskUnreachable: the desk refuses, or does not answer.
    """
    connection = load_connection(home)
    return desk.standing(connection.cid, connection.member, SigningKey.load(home / SIGNING_KEY))


def complete(home: Path, standing: Standing, mirrored: Mirrored) -> Joined:
    """Check what the desk shows of the ledger, and make the home ready.

    Args:
        mirrored: for a member that was enrolled after the founding: fetches the ledger into the home's mirror, checks
            it, and gives its state.

    Raises:
        OtherConsortium: the ledger is not the one that the policy belongs to, or does not name this home's key.
        NotAdmitted: the certificate was revoked.
        BadCertificate: it is not for this home's key.
    """
    connection, key = load_connection(home), SigningKey.load(home / SIGNING_KEY)
    if not standing.certificate:
        raise NotAdmitted(
            f"there is no certificate for this TLS key: it was revoked; make another with: "
            f"artesian {connection.kind} renew --new-key --home {home}"
        )
    authority = read_pem(home / AUTHORITY_CERTIFICATE)
    if facts_of(authority).fingerprint != connection.authority_sha256:
        raise OtherConsortium(f"{home / AUTHORITY_CERTIFICATE}: is not the CA certificate of the invite")
    identity = install_certificate(home, standing.certificate, authority)
    if (identity.cid, identity.member) != (connection.cid, connection.member):
        raise OtherConsortium(f"the certificate is {identity.uri}'s, not {connection.member}'s of {connection.cid}")
    checked = check_founding(connection, standing)
    state, founder = checked.state, checked.state.members.get(connection.member)
    if founder is None:
        state = mirrored(checked)
    enrolled = state.members.get(connection.member)
    if enrolled is None or not enrolled.active or enrolled.key != key.public:
        raise OtherConsortium(
            f"the ledger {checked.origin} does not name this home's key for {connection.member}; "
            "ask the coordinator, and compare key fingerprints"
        )
    if state.terms.config is None or state.terms.config.hex() != connection.policy_sha256:
        raise OtherConsortium(
            f"the ledger {checked.origin} is under another policy than the {CONSORTIUM} of this home; "
            "ask the coordinator for another invite"
        )
    if founder is not None or not (home / POLICY).exists():
        write_whole(home / POLICY, checked.policy.encode())
    if connection.kind == "bank" and state.coordinator is not None:
        write_whole(home / SCORER_KEY_FILE, f"{state.coordinator.ed25519.raw.hex()}\n".encode())
    ready = connection.model_copy(update={"founding": checked.fingerprint})
    write_connection(home, ready)
    settings = Settings(
        connection.member, connection.cid, checked.origin, founding=checked.fingerprint, address=checked.address
    )
    write_whole(home / SETTINGS, settings.toml().encode())
    return Joined(ready, checked.fingerprint)


def check_founding(connection: Connection, standing: Standing) -> Checked:
    """Recompute the founding that the desk shows.

    Raises:
        OtherConsortium: it is none, or another consortium's, or was not signed as it should be.
    """
    try:
        found = founding_of(standing.origin, standing.founding)
        at, electorate = Replayed.nothing(found.cid), Electorate(standing.origin)
        for raw in standing.founding[: found.size]:
            at, _ = step(at, decode_statement(raw), verify=True)
            electorate = electorate.after(at.state)
        policy = electorate.policy(at.state.size)
    except LedgerError as error:
        raise OtherConsortium(f"what the desk shows is no founding of a ledger: {error}") from None
    if found.cid != connection.cid:
        raise OtherConsortium(f"the ledger is of the consortium {found.cid!r}, this home's is {connection.cid!r}")
    address = connection.ledger or standing.addresses["ledger"]
    return Checked(standing.origin, found.fingerprint, str(found.log), at.state, policy.text(), address)


def signing_key(home: Path, *, hybrid: bool) -> SigningKey:
    """The home's signing key, made now if there is none.

    Raises:
        BadConsortium: the key that is there is not of the kind that the consortium asks for.
    """
    path = home / SIGNING_KEY
    if not path.exists():
        SigningKey.generate(hybrid).save(path)
    key = SigningKey.load(path)
    if key.public.is_hybrid != hybrid:
        raise BadConsortium(
            f"{path}: this consortium asks for {'a hybrid' if hybrid else 'an Ed25519'} key, and it is another; "
            "choose another directory, or move the key away"
        )
    return key


def write_connection(home: Path, connection: Connection) -> None:
    """Write `connection.toml`, whole or not at all."""
    write_whole(home / CONNECTION, tomli_w.dumps(connection.model_dump()).encode())
