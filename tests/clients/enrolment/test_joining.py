"""A home joins through a real desk: it trusts the CA of its invite alone, resumes, and never sends a private key."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from join_world import FIRMS, START_S, Clock, JoinWorld

from artesian import app
from clients import renewal
from clients.certificates import facts_of, finish_coming, load_key, request_certificate
from clients.connection import load_connection
from clients.coordinator_view import say_release
from clients.enrolment import desk_client
from clients.enrolment.consortium import MOST_BYTES
from clients.enrolment.desk_client import DeskClient, Standing
from clients.enrolment.errors import BadConsortium, DeskUnreachable, NotAdmitted, OtherConsortium, StillWaiting
from clients.enrolment.invite import Invite
from clients.firm_config import load_firm_config
from clients.firm_migrations import FIRM_MIGRATIONS
from clients.homes import HomeExists
from clients.joining import ask, complete, joined, wait
from clients.migration import pending
from clients.renewal import keep_renewed, renew
from clients.tasks.spec import load_spec
from clients.versions import SOFTWARE
from ledger.homes import Settings
from ledger.keys import SigningKey
from ledger.policy import Policy
from ledger.service.access import NotAllowed
from ledger.service.peers import REVOKED, PeerCheck
from server.enrolment.desk import JoinDesk
from server.enrolment.service import serving
from server.heard import heard
from server.store import StateStore


class Served:
    """A world whose desk answers at an address, and homes that ask it."""

    def __init__(self, root: Path, stack: ExitStack, members: tuple[str, ...] = FIRMS) -> None:
        self.world = JoinWorld(root, members)
        stack.callback(self.world.close)
        self.address = stack.enter_context(serving(self.world.home, now=self.world.clock))

    def invite(self, member: str) -> Invite:
        return replace(self.world.invites[member], desk=self.address)

    def desk(self, invite: Invite) -> DeskClient:
        return DeskClient(self.address, invite.authority_pem, now=self.world.clock)

    def ask(self, member: str, **units: int) -> Path:
        home, invite = self.world.root / member, self.invite(member)
        with self.desk(invite) as desk:
            ask(home, invite, desk.terms(invite), desk, units, {})
        return home

    def wait(self, home: Path, wait_s: float = 0.5) -> Standing:
        slept: list[float] = []
        with DeskClient(self.address, (home / "ca.crt").read_bytes(), now=self.world.clock) as desk:
            return wait(home, desk, wait_s=wait_s, monotonic=lambda: sum(slept), sleep=slept.append, say=lambda _: None)

    def found(self) -> dict[str, Path]:
        homes = {member: self.ask(member) for member in self.world.invites}
        for member in homes:
            self.world.admission.admit(member)
        self.world.admission.found()
        for home in homes.values():
            complete(home, self.wait(home), lambda _: pytest.fail("founders need no mirror"))
        return homes


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with ExitStack() as stack:
        yield Served(tmp_path, stack)


def test_a_home_that_has_joined_is_whole(served: Served) -> None:
    homes = served.found()
    home = homes["firm-1"]
    connection, settings, config = load_connection(home), Settings.load(home), load_firm_config(home / "firm.toml")
    assert (
        (connection.member, connection.cid, connection.kind)
        == ("firm-1", "acme", "firm")
        == (
            config.member,
            config.cid,
            "firm",
        )
    )
    assert connection.founding == settings.founding == Settings.load(served.world.home).founding
    assert connection.authority_sha256 == served.invite("firm-1").fingerprint
    assert config.limits.min_cohort == 3
    assert load_spec(home / config.task[0].spec).name == config.task[0].name == "credit"
    policy = Policy.parse((home / "policy.txt").read_text())
    assert policy == Policy.parse((served.world.home / "policy.txt").read_text())
    assert facts_of((home / "tls.crt").read_bytes()).identity.uri == "artesian://acme/firm-1"
    done = joined(home)
    assert done is not None
    assert done.fingerprint == settings.founding
    for name in ("signing.pem", "tls.key", "node.key"):
        assert (home / name).stat().st_mode & 0o077 == 0
    assert not pending(home, FIRM_MIGRATIONS)
    assert all((home / name).is_dir() for name in ("run", "logs"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--units", "-4"), "--units -4: give a whole number, at least 1"),
        (("--units", "0"), "--units 0: give a whole number, at least 1"),
        (("--units", "many"), "--units many: give a whole number"),
        (("--data", "nowhere.csv"), "--data nowhere.csv: no such file"),
        (("--data", __file__), "not a table that is read"),
        (("--units", "demand=3"), "the consortium has no task 'demand'"),
    ],
)
def test_what_would_be_wrong_in_firm_toml_is_refused_before_anything_is_made(
    served: Served, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    home, file = tmp_path / "late", tmp_path / "firm-1.txt"
    file.write_text(served.invite("firm-1").line())
    refused = CliRunner().invoke(app, ["firm", "join", str(file), "--home", str(home), "--yes", *words])
    assert (refused.exit_code, says in refused.stderr) == (2, True), refused.stderr
    assert not home.exists()


def test_what_was_edited_is_kept_and_the_member_is_told(served: Served, tmp_path: Path) -> None:
    home, file = served.ask("firm-1"), tmp_path / "firm-1.txt"
    file.write_text(served.invite("firm-1").line())
    words = ["--home", str(home), "--yes", "--wait-s", "0", "--units", "700"]
    before = (home / "firm.toml").read_bytes()
    again = CliRunner().invoke(app, ["firm", "join", str(file), *words])
    assert "firm.toml is there already" in again.stderr
    assert (home / "firm.toml").read_bytes() == before


def test_an_older_home_that_joins_again_is_still_brought_forward(served: Served) -> None:
    home = served.ask("firm-1")
    (home / "version.json").unlink()
    served.ask("firm-1")
    assert pending(home, FIRM_MIGRATIONS)


def test_joining_again_replaces_nothing(served: Served) -> None:
    home = served.ask("firm-1", credit=2000)
    (home / "firm.toml").write_text((home / "firm.toml").read_text().replace("epsilon = 8.0", "epsilon = 2.0"))
    kept = {name: (home / name).read_bytes() for name in ("signing.pem", "tls.key", "node.key", "firm.toml")}
    served.ask("firm-1", credit=3000)
    assert {name: (home / name).read_bytes() for name in kept} == kept
    assert load_firm_config(home / "firm.toml").task[0].units == 2000


def test_who_is_not_admitted_yet_waits_and_goes_on_later(served: Served) -> None:
    home = served.ask("firm-1")
    assert joined(home) is None
    with pytest.raises(StillWaiting, match="has not admitted it yet; to go on waiting: artesian firm join --home"):
        served.wait(home, 30.0)
    served.world.admission.admit("firm-1")
    with pytest.raises(StillWaiting, match="missing: firm-2, firm-3"):
        served.wait(home)


def test_a_desk_with_another_ca_is_not_asked(served: Served, tmp_path: Path) -> None:
    other = JoinWorld(tmp_path / "other", ("firm-1",))
    other.close()
    invite = replace(other.invites["firm-1"], desk=served.address)
    with served.desk(invite) as desk, pytest.raises(OtherConsortium, match="no certificate by the CA of the invite"):
        desk.terms(invite)


def test_another_policy_than_the_invites_is_refused(served: Served) -> None:
    invite = served.invite("firm-1")
    with served.desk(invite) as desk, pytest.raises(OtherConsortium, match="not the one of the invite"):
        desk.terms(replace(invite, policy=bytes(32)))
    with served.desk(invite) as desk, pytest.raises(OtherConsortium, match="the invite is to 'acme-2'"):
        desk.terms(replace(invite, cid="acme-2"))


def test_a_spec_that_is_not_the_policys_is_refused(served: Served) -> None:
    path = served.world.home / "tasks" / "credit.toml"
    path.write_text(path.read_text().replace("base_rate = 0.", "base_rate = 0.1", 1))
    invite = served.invite("firm-1")
    with served.desk(invite) as desk, pytest.raises(BadConsortium, match="it was changed after the policy was made"):
        desk.terms(invite)


@pytest.mark.parametrize("name", ["../firm", "/absolute", "other"])
def test_specs_of_other_tasks_than_the_policys_are_refused(
    served: Served, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Their names would say where files are written."""
    honest = JoinDesk.terms

    def false(self: JoinDesk, token_sha256: bytes) -> tuple[bytes, dict[str, bytes]]:
        policy, specs = honest(self, token_sha256)
        where = name.replace("/absolute", str(served.world.root / "absolute"))
        return policy, {**specs, where: b"evil = 1"}

    monkeypatch.setattr(JoinDesk, "terms", false)
    invite = served.invite("firm-1")
    with served.desk(invite) as desk, pytest.raises(BadConsortium, match="of other tasks than the policy's"):
        desk.terms(invite)
    assert not list(served.world.root.rglob("absolute.toml"))


def test_only_the_policys_tasks_say_where_specs_are_written(served: Served) -> None:
    home, invite = served.world.root / "firm-1", served.invite("firm-1")
    with served.desk(invite) as desk:
        terms = desk.terms(invite)
        ask(home, invite, replace(terms, specs={**terms.specs, "../firm": b"evil = 1"}), desk, {}, {})
    assert [path.name for path in (home / "tasks").iterdir()] == ["credit.toml"]
    assert load_firm_config(home / "firm.toml").member == "firm-1"


def test_a_spec_that_is_too_large_is_refused(served: Served) -> None:
    path = served.world.home / "tasks" / "credit.toml"
    path.write_text(path.read_text() + "#" * MOST_BYTES)
    invite = served.invite("firm-1")
    with served.desk(invite) as desk, pytest.raises(BadConsortium, match="at most"):
        desk.terms(invite)


def test_another_members_home_is_left_alone(served: Served) -> None:
    home = served.ask("firm-1")
    invite = served.invite("firm-2")
    with served.desk(invite) as desk, pytest.raises(HomeExists, match="belongs to firm-1 of acme"):
        ask(home, invite, desk.terms(invite), desk, {}, {})


@pytest.mark.parametrize("what", ["certificate", "founding", "origin", "cid", "policy", "key"])
def test_what_a_false_desk_shows_is_refused(served: Served, tmp_path: Path, what: str) -> None:
    homes = {member: served.ask(member) for member in FIRMS}
    for member in FIRMS:
        served.world.admission.admit(member)
    served.world.admission.found()
    home, other = homes["firm-1"], homes["firm-2"]
    standing, others = served.wait(home), served.wait(other)
    connection = load_connection(home)
    match what:
        case "certificate":
            standing = replace(standing, certificate=others.certificate)
        case "founding":
            standing = replace(standing, founding=(*standing.founding[:-1], standing.founding[-2]))
        case "origin":
            standing = replace(standing, origin="artesian/acme-2", founding=standing.founding[1:])
        case "cid":
            write(home, connection.model_copy(update={"cid": "acme-2"}))
        case "policy":
            write(home, connection.model_copy(update={"policy_sha256": "0" * 64}))
        case _:
            (home / "signing.pem").unlink()
            SigningKey.generate().save(home / "signing.pem")
    with pytest.raises(Exception, match=r"firm|ledger|founding") as refused:
        complete(home, standing, lambda checked: checked.state)
    assert getattr(refused.value, "exit_code", 0) in (1, 2)
    assert joined(home) is None


def write(home: Path, connection: Any) -> None:
    from clients.joining import write_connection

    write_connection(home, connection)


def test_no_private_key_is_ever_sent(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte that goes through the client's stub, against every form of every private key of the home."""
    sent: list[bytes] = []
    before = desk_client.DeskClient._call

    def kept(self: DeskClient, rpc: str, request: Any) -> Any:
        sent.append(request.SerializeToString())
        return before(self, rpc, request)

    monkeypatch.setattr(desk_client.DeskClient, "_call", kept)
    home = served.found()["firm-1"]
    served.world.clock.now_s += 61 * 86_400
    assert renew(home, served.world.clock).done
    assert renew(home, served.world.clock, new_key=True).done
    everything = b"".join(sent)
    assert len(sent) > 8
    assert b"PRIVATE" not in everything
    for name in ("signing.pem", "node.key"):
        pem = (home / name).read_text()
        body = "".join(re.sub("-----[^-]*-----", "", pem).split())
        assert len(body) > 60
        assert body[-40:].encode() not in everything
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    secrets = [load_pem_private_key((home / "signing.pem").read_bytes(), None).private_bytes_raw()]  # type: ignore[union-attr]
    for key in (load_key(home / "tls.key"), load_ssh_private_key((home / "node.key").read_bytes(), None)):
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        number = key.private_numbers().private_value
        secrets.append(number.to_bytes((key.key_size + 7) // 8, "big"))
    for secret in secrets:
        assert len(secret) in (32, 48)
        assert secret not in everything
        assert secret.hex().encode() not in everything


def test_a_certificate_is_renewed_when_two_thirds_of_its_life_are_over(served: Served) -> None:
    home, clock = served.found()["firm-1"], served.world.clock
    key, first = (home / "tls.key").read_bytes(), facts_of((home / "tls.crt").read_bytes())
    assert not renew(home, clock).done
    clock.now_s = first.due_s - 1
    assert not renew(home, clock).done
    clock.now_s = first.due_s
    done = renew(home, clock)
    second = facts_of((home / "tls.crt").read_bytes())
    assert done.done
    assert second.serial != first.serial
    assert done.until_s == second.until_s > first.until_s
    assert (home / "tls.key").read_bytes() == key


def test_another_key_takes_the_place_of_the_present_one_whole(served: Served) -> None:
    home, clock = served.found()["firm-1"], served.world.clock
    key = (home / "tls.key").read_bytes()
    served.world.admission.issuing.revoke("firm-1")
    with pytest.raises(NotAdmitted, match="--new-key"):
        renew(home, clock, force=True)
    assert renew(home, clock, new_key=True).done
    assert (home / "tls.key").read_bytes() != key
    coming = sorted(path.name for path in home.glob("*.next.*"))
    assert coming == []
    crashed = (home / "tls.crt").read_bytes(), (home / "tls.key").read_bytes()
    (home / "tls.next.crt").write_bytes(crashed[0])  # as if it had died between the two renames
    (home / "tls.crt").write_bytes(b"old")
    assert not renew(home, clock).done
    assert ((home / "tls.crt").read_bytes(), (home / "tls.key").read_bytes()) == crashed
    (home / "tls.next.key").write_bytes(crashed[1])  # as if a power cut had kept the second rename alone
    (home / "tls.key").write_bytes(key)
    assert finish_coming(home)
    assert ((home / "tls.crt").read_bytes(), (home / "tls.key").read_bytes()) == crashed
    assert not finish_coming(home)
    request_certificate(home, "firm-1", key_file="tls.next.key")  # a key that has no certificate yet stays
    assert not finish_coming(home)
    assert (home / "tls.key").read_bytes() == crashed[1]


def test_an_exchange_of_keys_that_was_cut_off_is_finished(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the desk's answer and what is done with it here: the old certificate ends in 15 minutes."""
    home, clock = served.found()["firm-1"], served.world.clock
    check = PeerCheck(served.world.home / REVOKED, clock)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def cut_off() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(renewal, "install_coming", killed)
            with pytest.raises(KeyboardInterrupt):
                renew(home, clock, new_key=True)
        clock.now_s += 901

    cut_off()
    with pytest.raises(NotAllowed, match="superseded; get another with: artesian firm renew "):
        check.require_certificate((home / "tls.crt").read_bytes())
    coming = (home / "tls.next.key").read_bytes()
    assert renew(home, clock).done
    assert (home / "tls.key").read_bytes() == coming
    assert check.require_certificate((home / "tls.crt").read_bytes()) == "firm-1"
    assert not renew(home, clock).done
    cut_off()
    served.world.admission.issuing.revoke("firm-1")  # the key that never served, too
    with pytest.raises(NotAdmitted, match="--new-key"):
        renew(home, clock)
    assert renew(home, clock, new_key=True).done
    assert check.require_certificate((home / "tls.crt").read_bytes()) == "firm-1"


def test_a_certificate_that_the_desk_has_replaced_or_revoked_is_due(served: Served) -> None:
    """Its answer was lost, or the home is an older copy: what it issued is fetched, not issued once more."""
    home, clock = served.found()["firm-1"], served.world.clock
    served.world.admission.issuing.renew("firm-1", request_certificate(home, "firm-1"))
    before = len(served.world.book.certificates("firm-1"))
    assert renew(home, clock).done
    assert (home / "tls.crt").read_bytes() == served.world.admission.issuing.present("firm-1")
    assert len(served.world.book.certificates("firm-1")) == before
    assert not renew(home, clock).done
    served.world.admission.issuing.revoke("firm-1")
    told: list[str] = []
    turns = iter([True, False])
    keep_renewed(home, clock, lambda _: next(turns), told.append)
    assert "--new-key" in told[0]
    write(home, load_connection(home).model_copy(update={"enrolment": "127.0.0.1:1"}))
    assert not renew(home, clock).done  # a desk that is away has said nothing


def test_watching_renews_when_due_and_survives_a_desk_that_is_away(served: Served) -> None:
    home, clock = served.found()["firm-1"], served.world.clock
    told, waited = [], []

    def pause(wait_s: float) -> bool:
        waited.append(wait_s)
        clock.now_s += 30 * 86_400
        return len(waited) < 4

    keep_renewed(home, clock, pause, told.append)
    assert sum("was renewed" in line for line in told) == 1
    assert all(wait_s <= 3600 for wait_s in waited)
    write(home, load_connection(home).model_copy(update={"enrolment": "127.0.0.1:1"}))
    told.clear(), waited.clear()
    clock.now_s += 60 * 86_400
    keep_renewed(home, clock, pause, told.append)
    assert "trying again every 300 s" in told[0]
    assert len(told) == 1
    assert waited[1] == 300.0


def test_watching_finishes_joining_first(served: Served) -> None:
    home, answers = served.found()["firm-1"], iter([False, False, True])
    waited: list[float] = []

    def pause(wait_s: float) -> bool:
        waited.append(wait_s)
        return len(waited) < 5

    keep_renewed(home, served.world.clock, pause, lambda _: None, lambda: next(answers))
    assert waited[:3] == [0.0, 3.0, 3.0]
    assert waited[3] > 60


def test_who_watches_tells_its_release(served: Served) -> None:
    home, waited = served.found()["firm-1"], []

    def pause(wait_s: float) -> bool:
        waited.append(wait_s)
        return len(waited) < 2

    clock = served.world.clock
    keep_renewed(home, clock, pause, lambda _: None, tell=lambda: say_release(home, clock))
    with StateStore.of_home(served.world.home) as store:
        assert {one.member: one.release for one in heard(store).values()} == {"firm-1": SOFTWARE}


def test_a_clock_that_is_off_is_named(served: Served) -> None:
    home = served.ask("firm-1")
    key = SigningKey.load(home / "signing.pem")
    with (
        DeskClient(served.address, (home / "ca.crt").read_bytes(), now=Clock(served.world.clock() + 4000)) as desk,
        pytest.raises(NotAdmitted, match=r"4000 s after now by the desk's clock; set the member's clock"),
    ):
        desk.standing("acme", "firm-1", key)


@pytest.mark.parametrize("off_s", [-200 * 86_400, 2 * 86_400], ids=["ran out", "not yet"])
def test_a_certificate_that_does_not_hold_now_is_told_from_a_wrong_one(tmp_path: Path, off_s: float) -> None:
    world = JoinWorld(tmp_path, ("firm-1",), START_S + off_s)
    with closing(world), serving(world.home, now=world.clock) as address:
        invite = replace(world.invites["firm-1"], desk=address)
        with (
            DeskClient(address, invite.authority_pem) as desk,
            pytest.raises(DeskUnreachable, match="set the clock"),
        ):
            desk.terms(invite)


def test_too_many_calls_from_one_address_are_turned_away(served: Served) -> None:
    invite = served.invite("firm-1")

    def ask_for_ever(desk: DeskClient) -> None:
        for _ in range(1000):
            desk.terms(invite)

    with served.desk(invite) as desk, pytest.raises(DeskUnreachable, match="ask again in"):
        ask_for_ever(desk)
