"""Later members come by quorum, suspended ones are shut out, certificates are revoked: by the ledger's own rules."""

import datetime as dt
import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from join_world import BANK, FIRMS, JoinWorld, Organisation, join_world
from typer.main import get_command

import artesian
from clients.certificates import facts_of, request_certificate
from clients.enrolment.errors import NotAdmitted
from clients.enrolment.signed import BadRequest
from ledger.keys import SigningKey
from ledger.rules import approve
from ledger.service.access import NotAllowed
from ledger.service.peers import REVOKED, BadRevocations, PeerCheck, peers_of_home, revocations
from server.coordinator_commands import app
from server.engines import EngineError
from server.engines.control import Node
from server.enrolment.admission import Admission
from server.enrolment.book import EnrolmentBook, NoSuchRequest
from server.enrolment.enrolment_tables import OLD_KEY_GRACE_S, SAME_KEY_GRACE_S
from server.enrolment.inviting import CannotInvite
from server.enrolment.issuing import RENEWALS_A_DAY, KeyRevoked
from server.enrolment.ledger_access import LedgerAccess
from server.enrolment.proposing import CannotAdmit
from server.enrolment.registrations import apply_registrations, pending


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JoinWorld]:
    with join_world(tmp_path) as world:
        yield world


class Told:
    """A Control API that keeps what it was told."""

    def __init__(self) -> None:
        self.nodes_: dict[str, bytes] = {}
        self.refuses: set[str] = set()

    def nodes(self) -> list[Node]:
        known = enumerate(self.nodes_.items())
        return [Node(name, at, online=False, last_seen_s=None, public_key=key) for at, (name, key) in known]

    def register(self, name: str, public_key: bytes) -> None:
        if name in self.refuses:
            raise EngineError("SuperLink refused: it has this key already")
        self.nodes_[name] = public_key

    def unregister(self, name: str) -> None:
        self.nodes_.pop(name, None)


def certificate(world: JoinWorld, member: str) -> bytes:
    return world.admission.issuing.present(member)


def test_a_later_member_is_enrolled_when_a_quorum_has_approved(world: JoinWorld) -> None:
    everyone = world.found()
    world.invite("firm-9")
    late, standing = world.ask("firm-9")
    assert standing.phase == "asked"
    world.admission.admit("firm-9")
    assert world.desk.standing(late.sign("Standing", {})).detail.startswith("0 of 3 members that must approve")
    for count, member in enumerate(("firm-1", BANK), start=1):
        facts = world.approve(everyone[member], "enrol-firm-9")
        assert (len(facts.approved), facts.needed, facts.proposed.placed) == (count, 3, False)
    assert world.approve(everyone["firm-1"], "enrol-firm-9").approved == [BANK, "firm-1"]  # again is no second vote
    standing = world.desk.standing(late.sign("Standing", {}))
    assert (standing.phase, standing.certificate) == ("proposed", b"")
    assert world.approve(everyone["firm-2"], "enrol-firm-9").proposed.placed
    standing = world.desk.standing(late.sign("Standing", {}))
    assert standing.phase == "enrolled"
    assert facts_of(standing.certificate).identity.member == "firm-9"
    state = world.admission.ledger.state()
    assert state is not None
    assert state.is_enrolled("firm-9", "firm")
    assert world.approve(late, "enrol-firm-9").proposed.placed  # too late, and no harm


def test_an_approval_that_is_not_over_the_record_is_refused(world: JoinWorld) -> None:
    everyone = world.found()
    world.invite("firm-9")
    late, _ = world.ask("firm-9")
    world.admission.admit("firm-9")
    one, other = everyone["firm-1"], everyone["firm-2"]
    by_another = {"proposal": "enrol-firm-9", "approval": world.approval(other, "enrol-firm-9")}
    with pytest.raises(CannotAdmit, match="is not over the proposal"):
        world.desk.approve(one.sign("Approve", by_another))
    signature = approve({"t": "enrol"}, "firm-1", one.key)["signature"]
    with pytest.raises(CannotAdmit, match="is not over the proposal"):
        world.desk.approve(one.sign("Approve", {"proposal": "enrol-firm-9", "approval": signature}))
    with pytest.raises(CannotAdmit, match="there is no proposal"):
        world.desk.approve(one.sign("Approve", {"proposal": "enrol-firm-8", "approval": signature}))
    with pytest.raises(NotAdmitted, match="no active member"):
        world.approve(late, "enrol-firm-9")
    assert world.admission.proposing.all()[0].approved == []


def test_a_proposal_that_other_changes_made_void_is_made_anew(world: JoinWorld) -> None:
    everyone = world.found()
    for member in ("firm-8", "firm-9"):
        world.invite(member)
        world.ask(member)
        world.admission.admit(member)
    world.approve(everyone["firm-1"], "enrol-firm-9")
    for member in FIRMS:
        world.approve(everyone[member], "enrol-firm-8")
    world.admission.settle()
    nine = next(one for one in world.admission.proposing.all() if one.proposed.name == "enrol-firm-9")
    assert (nine.approved, nine.proposed.placed, nine.needed) == ([], False, 4)
    for member in (*FIRMS, BANK):
        facts = world.approve(everyone[member], "enrol-firm-9")
    assert facts.proposed.placed


def test_a_suspended_member_is_shut_out_everywhere(world: JoinWorld) -> None:
    everyone, control, check = world.found(), Told(), PeerCheck(world.home / REVOKED, world.clock)
    assert apply_registrations(world.book, control).told == list(FIRMS)  # type: ignore[arg-type]
    before = certificate(world, "firm-2")
    assert check.require_certificate(before, "firm-2") == "firm-2"
    with pytest.raises(CannotAdmit, match="no active member"):
        world.admission.proposing.suspend("firm-7", "left")
    world.admission.proposing.suspend("firm-2", "left")
    for member in ("firm-1", "firm-3", BANK):
        world.approve(everyone[member], "suspend-firm-2")
    with pytest.raises(NotAllowed, match="revoked"):
        check.require_certificate(before, "firm-2")
    assert check.require_certificate(certificate(world, "firm-1"), "firm-1") == "firm-1"
    out = everyone["firm-2"]
    with pytest.raises(NotAdmitted, match="is suspended"):
        world.desk.standing(out.sign("Standing", {}))
    with pytest.raises(NotAdmitted, match=r"no active member of .*: it is suspended, and comes back by a new invite"):
        world.desk.renew(out.sign("Renew", {"csr": request_certificate(out.home, "firm-2", key_file="new.key")}))
    assert pending(world.book)
    assert apply_registrations(world.book, control).told == ["firm-2"]  # type: ignore[arg-type]
    assert sorted(control.nodes_) == ["firm-1", "firm-3"]
    assert not pending(world.book)


def test_a_suspended_member_comes_back_by_a_new_invite_and_with_other_keys(world: JoinWorld) -> None:
    everyone = world.found()
    world.admission.proposing.suspend("firm-2", "left")
    for member in ("firm-1", "firm-3", BANK):
        world.approve(everyone[member], "suspend-firm-2")
    world.invite("firm-2")
    for name in ("tls.key", "node.key"):
        (world.root / "firm-2" / name).rename(world.root / "firm-2" / f"old-{name}")
    world.clock.now_s += 1
    back, standing = world.ask("firm-2")
    assert standing.phase == "asked"
    world.admission.admit("firm-2")
    assert world.desk.standing(back.sign("Standing", {})).phase == "proposed"
    for member in ("firm-1", "firm-3"):
        world.approve(everyone[member], "enrol-firm-2")
    standing = world.desk.standing(back.sign("Standing", {}))
    assert standing.phase == "enrolled"
    check = PeerCheck(world.home / REVOKED, world.clock)
    assert check.require_certificate(standing.certificate, "firm-2") == "firm-2"
    assert check.shut_out() == set()
    node = next(one for one in world.book.nodes() if one.member == "firm-2")
    assert (node.wanted, node.public_key) == (True, back.fields["node_key"])


def test_what_is_started_again_goes_on_where_it_was(world: JoinWorld) -> None:
    """A founding whose last file was not written, and a desk that died after the ledger had taken a proposal."""
    everyone = world.found()
    (world.home / "ledger.toml").unlink()
    again = Admission(world.home, world.book, LedgerAccess(world.home), world.clock)
    founded = again.found()
    assert founded is not None
    standing = again.ledger.standing()
    assert standing is not None
    assert standing.founding == founded.fingerprint
    world.admission.proposing.suspend("firm-2", "left")
    waiting = next(iter(world.book.proposals()))
    for member in ("firm-1", "firm-3", BANK):
        world.approve(everyone[member], "suspend-firm-2")
    placed = next(iter(world.book.proposals()))
    assert world.book.change_proposal(placed, placed.proposal, placed=False)
    world.admission.settle()
    assert next(iter(world.book.proposals())).placed
    assert not world.book.change_proposal(waiting, waiting.proposal, placed=False)


def test_who_has_not_asked_is_not_admitted_and_who_belongs_is_not_invited(world: JoinWorld) -> None:
    with pytest.raises(NoSuchRequest):
        world.admission.admit("firm-1")
    world.found()
    with pytest.raises(CannotInvite, match="member already"):
        world.invite("firm-1")


def test_a_request_that_waits_is_not_replaced_by_one_with_another_key(world: JoinWorld) -> None:
    one, _ = world.ask("firm-1")
    world.invite("firm-1")  # whoever has read this one too
    with pytest.raises(NotAdmitted, match="a request with another key waits"):
        world.ask("firm-1", "thief")
    assert world.book.requests()[0].key == one.key.public.raw
    assert world.ask("firm-1")[1].phase == "asked"  # by its own key it may ask again
    assert world.book.withdraw("firm-1")
    world.invite("firm-1")
    assert world.ask("firm-1", "thief")[1].phase == "asked"


def test_who_is_admitted_has_the_keys_that_were_looked_at(world: JoinWorld) -> None:
    seen = {member: world.ask(member)[0].key.public.raw for member in FIRMS}
    world.book.withdraw("firm-2")
    world.invite("firm-2")
    world.ask("firm-2", "thief")
    with pytest.raises(NoSuchRequest, match="not the one that was looked at"):
        world.admission.admit(*FIRMS, keys=seen)
    with pytest.raises(NoSuchRequest, match="nobody was admitted"):
        world.book.admit(seen)
    with pytest.raises(NoSuchRequest, match="not the one"):
        world.admission.admit("firm-1", keys={})
    assert not any(one.admitted for one in world.book.requests())
    world.admission.admit("firm-1", "firm-3", keys=seen)
    assert [one.member for one in world.book.requests() if one.admitted] == ["firm-1", "firm-3"]


def test_admitting_by_command_binds_to_the_key_that_was_told(world: JoinWorld) -> None:
    one, _ = world.ask("firm-1")
    world.ask("firm-2")
    fingerprint, other = one.key.public.fingerprint, SigningKey.generate().public.fingerprint

    def admit(*arguments: str) -> Result:
        return CliRunner().invoke(get_command(app), ["admit", "--home", str(world.home), *arguments])

    for wrong in (["firm-1", "--key", other], ["firm-1", "firm-2", "--key", fingerprint], ["--all", "--key", other]):
        assert isinstance(admit(*wrong).exception, CannotAdmit)
    assert not any(asked.admitted for asked in world.book.requests())
    assert admit("firm-1", "--key", fingerprint).exit_code == 0
    assert [asked.member for asked in world.book.requests() if asked.admitted] == ["firm-1"]
    (world.home / REVOKED).unlink()
    shown = admit("--all")
    assert "admitting firm-2 with the key" in shown.output
    assert "admitting firm-1" not in shown.output
    assert (world.home / REVOKED).exists()


def test_a_home_that_should_have_a_list_does_not_serve_without(world: JoinWorld, tmp_path: Path) -> None:
    assert peers_of_home(world.home) is not None
    (world.home / REVOKED).unlink()
    for missing in ("", "consortium.toml", "enrolment.db"):
        aside = world.home / f"{missing}.aside"
        if missing:
            (world.home / missing).rename(aside)
        with pytest.raises(BadRevocations, match="make it again"):
            peers_of_home(world.home)
        served = CliRunner().invoke(artesian.app, ["ledger", "serve", "--home", str(world.home), "--json"])
        assert served.exit_code == 2
        assert "coordinator admit" in served.output
        if missing:
            aside.rename(world.home / missing)
    assert peers_of_home(tmp_path) is None


def test_two_that_found_at_once(world: JoinWorld) -> None:
    """The second waits for the first, and finds the ledger founded."""
    for member in (*FIRMS, BANK):
        world.ask(member)
        world.admission.admit(member)
    waited: list[float] = []

    def wait(wait_s: float) -> None:
        waited.append(wait_s)
        if len(waited) == 3:
            holding.__exit__(None, None, None)

    first, ledger = world.admission, LedgerAccess(world.home)
    second = Admission(world.home, world.book, ledger, world.clock, sleep=wait)
    holding = alone(first.home)
    holding.__enter__()
    assert second.found() is not None
    assert len(waited) == 3
    assert first.found() is None
    with alone(first.home), pytest.raises(CannotAdmit, match="another process is founding"):
        Admission(world.home, world.book, ledger, world.clock, sleep=lambda _: None).found()


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Another process that founds the ledger."""
    with (home / ".founding.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_founder_who_does_not_come_can_be_left_out(world: JoinWorld) -> None:
    for member in FIRMS:
        world.ask(member)
        world.admission.admit(member)
    assert world.admission.missing() == [BANK]
    world.book.withdraw(BANK)
    assert world.admission.found() is not None


def test_a_revoked_certificate_is_refused_and_another_key_gets_another(world: JoinWorld) -> None:
    one, check = world.found()["firm-1"], PeerCheck(world.home / REVOKED, world.clock)
    lost = certificate(world, "firm-1")
    assert world.admission.issuing.revoke("firm-1") == 1
    with pytest.raises(NotAllowed, match="was revoked; get another with: artesian firm renew --new-key"):
        check.require_certificate(lost)
    world.admission.settle()
    assert certificate(world, "firm-1") == b""  # nothing is issued again by itself for a key that may be lost
    same = request_certificate(one.home, "firm-1")
    with pytest.raises(KeyRevoked, match="--new-key"):
        world.desk.renew(one.sign("Renew", {"csr": same}))
    other = request_certificate(one.home, "firm-1", key_file="tls.next.key")
    assert check.shut_out() == {"firm-1"}  # its SuperNode too
    fresh = world.desk.renew(one.sign("Renew", {"csr": other}))
    assert check.require_certificate(fresh, "firm-1") == "firm-1"
    with pytest.raises(NotAllowed):
        check.require_certificate(lost)
    assert check.shut_out() == set()


def test_revoking_by_command_says_when_nothing_was_revoked(world: JoinWorld) -> None:
    world.found()

    def revoke(member: str) -> Result:
        return CliRunner().invoke(get_command(app), ["revoke-certificate", member, "--home", str(world.home), "--json"])

    mistyped = revoke("firm-11").exception
    assert isinstance(mistyped, NoSuchRequest)
    assert mistyped.exit_code == 2
    assert json.loads(revoke("firm-1").stdout) == {"ok": True, "member": "firm-1", "revoked": 1}
    again = revoke("firm-1")
    assert (again.exit_code, json.loads(again.stdout)["ok"]) == (1, False)


@pytest.mark.parametrize(("key_file", "grace_s"), [("tls.key", SAME_KEY_GRACE_S), ("other.key", OLD_KEY_GRACE_S)])
def test_a_superseded_certificate_serves_a_little_longer(world: JoinWorld, key_file: str, grace_s: int) -> None:
    one, check = world.found()["firm-1"], PeerCheck(world.home / REVOKED, world.clock)
    old = certificate(world, "firm-1")
    new = world.desk.renew(one.sign("Renew", {"csr": request_certificate(one.home, "firm-1", key_file=key_file)}))
    world.clock.now_s += grace_s - 1
    assert [check.require_certificate(pem) for pem in (old, new)] == ["firm-1"] * 2
    world.clock.now_s += 1
    with pytest.raises(NotAllowed, match="superseded"):
        check.require_certificate(old)
    assert check.require_certificate(new) == "firm-1"


def test_a_year_of_renewals(world: JoinWorld) -> None:
    """By the same key and by others: there is always a certificate that serves, and what it replaced ends."""
    one, check = world.found()["firm-1"], PeerCheck(world.home / REVOKED, world.clock)
    served, key_file = certificate(world, "firm-1"), "tls.key"
    for turn in range(1, 7):
        world.clock.now_s += 60 * 86_400
        assert check.require_certificate(served, "firm-1") == "firm-1"
        key_file = "other.key" if turn == 4 else key_file
        before, served = served, world.desk.renew(one.sign("Renew", {"csr": csr_of(one, key_file)}))
        world.clock.now_s += SAME_KEY_GRACE_S
        with pytest.raises(NotAllowed):
            check.require_certificate(before)
        assert check.require_certificate(served, "firm-1") == "firm-1"
        assert world.desk.standing(one.sign("Standing", {})).certificate == served
    assert all(one.revoked_s is None for one in world.book.certificates("firm-1"))


def csr_of(one: Organisation, key_file: str) -> bytes:
    return request_certificate(one.home, one.invite.member, key_file=key_file)


def test_a_key_that_was_revoked_after_it_was_replaced_stays_refused(world: JoinWorld) -> None:
    one, issuing = world.found()["firm-1"], world.admission.issuing
    issuing.renew("firm-1", csr_of(one, "other.key"))
    world.clock.now_s += 91 * 86_400  # the first has run out, the second too
    assert issuing.revoke("firm-1") == 0
    for key_file in ("tls.key", "other.key"):
        with pytest.raises(KeyRevoked):
            issuing.renew("firm-1", csr_of(one, key_file))


def test_a_member_renews_only_so_often_a_day(world: JoinWorld) -> None:
    one, issuing = world.found()["firm-1"], world.admission.issuing
    csr = csr_of(one, "tls.key")
    world.clock.now_s += 60 * 86_400
    for _ in range(RENEWALS_A_DAY):
        issuing.renew("firm-1", csr)
    with pytest.raises(NotAdmitted, match="within a day"):
        issuing.renew("firm-1", csr)
    world.clock.now_s += 86_400
    assert issuing.renew("firm-1", csr)


def test_a_book_of_the_version_before_tells_what_renewals_ended(tmp_path: Path) -> None:
    """There, a superseded certificate stood as if it had been revoked."""
    path = tmp_path / "enrolment.db"
    with sqlite3.connect(path) as before:
        before.executescript(BOOK_1)
        rows = [
            ("a", 0, 100 + SAME_KEY_GRACE_S),
            ("b", 100, 500 + OLD_KEY_GRACE_S),
            ("c", 500, 700),
            ("d", 800, None),
        ]
        before.executemany("INSERT INTO coordinator_certificates VALUES (?, 'firm-1', x'', ?, 99999999, ?)", rows)
        before.execute("INSERT INTO coordinator_nodes VALUES ('firm-1', x'00', 1, 1)")
        before.execute("INSERT INTO coordinator_proposals VALUES ('suspend-firm-1', x'00', 1, 0)")
    with EnrolmentBook(tmp_path) as book:
        found = {one.serial: (one.revoked_s, one.superseded_s) for one in book.certificates()}
        assert [node.refused for node in book.nodes()] == [""]
        assert [one.refused for one in book.proposals()] == [""]
    assert found == {
        "a": (None, 100 + SAME_KEY_GRACE_S),
        "b": (None, 500 + OLD_KEY_GRACE_S),
        "c": (700, None),
        "d": (None, None),
    }


BOOK_1 = """
CREATE TABLE coordinator_schema_version (part TEXT PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO coordinator_schema_version VALUES ('enrolment', 1);
CREATE TABLE coordinator_certificates (serial TEXT PRIMARY KEY, member TEXT NOT NULL, pem BLOB NOT NULL,
    issued_s BIGINT NOT NULL, until_s BIGINT NOT NULL, revoked_s BIGINT);
CREATE TABLE coordinator_nodes (member TEXT PRIMARY KEY, public_key BLOB NOT NULL, wanted BOOLEAN NOT NULL,
    applied BOOLEAN NOT NULL);
CREATE TABLE coordinator_proposals (name TEXT PRIMARY KEY, proposal BLOB NOT NULL, made_s BIGINT NOT NULL,
    placed BOOLEAN NOT NULL);
"""


def test_a_list_that_cannot_be_read_lets_nobody_in(world: JoinWorld) -> None:
    world.found()
    path, good = world.home / REVOKED, certificate(world, "firm-1")
    check = PeerCheck(path, world.clock)
    assert check.require_certificate(good) == "firm-1"
    members = b'{"version": 1, "since": {}, "members": "firm-1"}'
    other = b'{"version": 2, "since": {}}', b'{"version": 1, "since": {"xyz": 1}}'
    for content in (b"", b"[]", *other, members, b"\xff"):
        path.write_bytes(content)
        with pytest.raises(NotAllowed, match="nobody is let in") as refused:
            check.require_certificate(good)
        assert str(world.home) not in str(refused.value)
        with pytest.raises(BadRevocations):
            check.shut_out()
        with pytest.raises(BadRevocations):
            revocations(content)
    path.unlink()
    with pytest.raises(NotAllowed, match="nobody is let in") as refused:
        check.require_certificate(good)
    assert str(world.home) not in str(refused.value)


def test_a_connection_of_one_member_carries_no_calls_of_another(world: JoinWorld) -> None:
    world.found()
    check = PeerCheck(world.home / REVOKED, world.clock)
    with pytest.raises(NotAllowed, match="connection is firm-1's and the call firm-2's"):
        check.require_certificate(certificate(world, "firm-1"), "firm-2")
    with pytest.raises(NotAllowed, match="names no member"):
        check.require_certificate(without_name(), "firm-1")


def without_name() -> bytes:
    """A certificate (PEM) that names no member."""
    key = ec.generate_private_key(ec.SECP256R1())
    now, name = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + dt.timedelta(1))
    names = x509.SubjectAlternativeName([x509.DNSName("firm-1")])
    return (
        builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )


def test_what_has_run_out_is_not_listed(world: JoinWorld) -> None:
    world.found()
    world.admission.issuing.revoke("firm-1")
    assert len(json.loads((world.home / REVOKED).read_bytes())["since"]) == 1
    world.clock.now_s += 91 * 86_400
    world.admission.issuing.publish()
    assert json.loads((world.home / REVOKED).read_bytes())["since"] == {}


def test_a_signing_request_must_be_one(world: JoinWorld) -> None:
    one = world.found()["firm-1"]
    with pytest.raises(BadRequest, match="not a certificate signing request"):
        world.desk.renew(one.sign("Renew", {"csr": b"no request"}))
    with pytest.raises(NotAdmitted, match="at most"):
        world.desk.renew(one.sign("Renew", {"csr": bytes(5000)}))


def test_the_book_is_shared_by_processes(world: JoinWorld) -> None:
    world.ask("firm-1")
    with EnrolmentBook(world.home) as other:
        assert [one.member for one in other.requests()] == ["firm-1"]
        other.admit({"firm-1": other.requests()[0].key})
    assert world.book.requests()[0].admitted


def test_a_suspended_member_keeps_its_node_out_also_when_flower_was_not_there(world: JoinWorld) -> None:
    world.found()
    node = world.book.nodes()[0]
    world.book.want_node(node.member, None)
    world.book.node_applied(node)  # of the earlier wish: it does not count for this one
    assert pending(world.book)
