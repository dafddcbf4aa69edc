"""Who does not belong knocks at every door of a running consortium, each a process of its own, and none opens.

| who, with what | Control and Runtime API | Fleet API | join desk | ledger: append, read | scores |
|---|---|---|---|---|---|
| an outsider, with the CA certificate | 401, 404 | 401 | no member's signature; no invite | no connection | the same |
| an impostor, with keys and a certificate of its own making | 401, 404 | 401 | the same | no connection | the same |
| a firm, a bank, whose certificate was revoked | 401, 404 | 401 | no renewal for the same key | refused | refused |
| a firm, a bank, that was suspended | 401, 404 | 401 | refused | refused | refused |

Members find the same doors open, and who was shut out by a revocation finds them open again with another certificate:
what keeps others out is no failure. What a firm without a certificate may still do at the desk is asking
for one for another key, and seeing and approving proposals: all that is signed with the key that the ledger knows.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice

import doors
import grpc
import pytest
from click.testing import CliRunner
from doors import CID, REFUSALS, Ask, Caller, is_refusal, new_node_key
from federation_world import LIMITS, SPEC, TASK, tables, training

from artesian import app
from clients.enrolment.desk_client import DeskClient
from experiments.tiny_consortium import COORDINATOR, Design, TinyConsortium
from ledger.keys import SigningKey
from ledger.proposal import Proposal
from ledger.rules import approve
from ledger.store import Store
from server.certificates import CertificateAuthority, install_certificate, request_certificate
from server.engines.flower_control import FlowerControl

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

MEMBER, SUSPENDED, REVOKED, BANK = "firm-1", "firm-2", "firm-3", "bank-1"
Door = Callable[[TinyConsortium, Caller], Generator[Ask, None, None]]
DOORS: tuple[Door, ...] = (
    doors.control,
    doors.runtime,
    doors.fleet,
    doors.desk,
    doors.join,
    doors.append,
    doors.read,
    doors.score,
)
MEMBERS_DOORS = doors.desk, doors.append, doors.read


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyConsortium]:
    home = tmp_path_factory.mktemp("outsiders")
    config = training(1).model_dump(mode="json", exclude_none=True)
    design = Design(TASK, SPEC, tables(3), config, LIMITS, 1, banks=(BANK,))
    with TinyConsortium(home, design, 380.0) as consortium:
        consortium.found()
        control = control_of(consortium)
        consortium.wait_for(lambda: consortium.is_ready(COORDINATOR) and len(control.nodes()) == 3, "all to be ready")
        yield consortium


def renewal(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """The desk's first question alone."""
    yield from islice(doors.desk(consortium, who), 1)


def control_of(consortium: TinyConsortium) -> FlowerControl:
    return FlowerControl(consortium.coordinator, consortium.network)


def entries(consortium: TinyConsortium) -> int:
    store = Store(str(consortium.coordinator / "ledger.db"), read_only=True)
    try:
        return store.size()
    finally:
        store.close()


def knock(consortium: TinyConsortium, door: Door, who: Caller) -> None:
    """Nothing of what the door can be asked is granted, and nothing comes of it."""
    before, nodes, asked = entries(consortium), control_of(consortium).nodes(), 0
    for ask in door(consortium, who):
        with pytest.raises(REFUSALS) as caught:
            ask()
        assert is_refusal(caught.value), repr(caught.value)
        asked += 1
    assert asked
    assert (entries(consortium), control_of(consortium).nodes()) == (before, nodes)


@pytest.fixture(scope="module")
def outsider(consortium: TinyConsortium, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    home = tmp_path_factory.mktemp("outsider")
    shutil.copyfile(consortium.coordinator / "ca.crt", home / "ca.crt")
    return Caller(home, MEMBER, SigningKey.generate(), new_node_key())


@pytest.fixture(scope="module")
def impostor(consortium: TinyConsortium, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """Has a certificate in a member's name, by a CA of its own with the consortium's name."""
    home, moment = tmp_path_factory.mktemp("impostor"), dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create(home / "authority", CID, moment)
    request = request_certificate(home, MEMBER)
    install_certificate(home, authority.issue_member(request, MEMBER, moment), authority.certificate_pem)
    shutil.copyfile(consortium.coordinator / "ca.crt", home / "ca.crt")
    return Caller(home, MEMBER, SigningKey.generate(), new_node_key())


@pytest.fixture(scope="module")
def revoked(consortium: TinyConsortium) -> dict[str, Caller]:
    """A firm and a bank, with all their keys, after their certificates were revoked."""
    for name in (REVOKED, BANK):
        consortium.run(COORDINATOR, "revoke-certificate", name, "--home", consortium.coordinator)
    return {name: Caller.of_home(consortium.member(name)) for name in (REVOKED, BANK)}


def suspend(consortium: TinyConsortium, out: str, members: Iterable[Caller]) -> None:
    """Have a quorum of the members shut one of them out."""
    consortium.run(COORDINATOR, "suspend", out, "--reason", "left", "--home", consortium.coordinator)
    name, network = f"suspend-{out}", consortium.network
    for member in members:
        with DeskClient(network.address(network.enrolment_port), member.authority) as desk:
            (found,) = (one for one in desk.proposals(CID, member.member, member.key) if one.name == name)
            signature = approve(Proposal.from_bytes(found.raw).payload, member.member, member.key)["signature"]
            after = desk.approve(CID, member.member, member.key, name, signature)
    assert after.placed


@pytest.fixture(scope="module")
def suspended(consortium: TinyConsortium, revoked: dict[str, Caller]) -> Caller:
    """A firm, with all its keys, after a quorum of the others has suspended it."""
    suspend(consortium, SUSPENDED, (Caller.of_home(consortium.member(MEMBER)), *revoked.values()))
    control = control_of(consortium)
    consortium.wait_for(lambda: SUSPENDED not in {one.name for one in control.nodes()}, "its node to be unregistered")
    return Caller.of_home(consortium.member(SUSPENDED))


@pytest.mark.parametrize("door", [doors.fleet, *MEMBERS_DOORS])
def test_members_find_the_doors_open(consortium: TinyConsortium, door: Door) -> None:
    with closing(door(consortium, Caller.of_home(consortium.member(MEMBER)))) as asks:
        next(asks)()


def score_answer(consortium: TinyConsortium) -> tuple[grpc.StatusCode, str]:
    """What the score service says to the bank."""
    asks = doors.score(consortium, Caller.of_home(consortium.member(BANK)))
    with closing(asks), pytest.raises(grpc.RpcError) as answered:
        next(asks)()
    return answered.value.code(), answered.value.details()


def test_a_bank_finds_the_score_service_open(consortium: TinyConsortium) -> None:
    code, _ = score_answer(consortium)
    assert code is grpc.StatusCode.NOT_FOUND  # whoever belongs is told that nothing is released yet


@pytest.mark.parametrize("door", DOORS)
def test_an_outsider_who_has_the_ca_certificate(consortium: TinyConsortium, outsider: Caller, door: Door) -> None:
    knock(consortium, door, outsider)


@pytest.mark.parametrize("door", DOORS)
def test_an_impostor_with_keys_of_its_own(consortium: TinyConsortium, impostor: Caller, door: Door) -> None:
    knock(consortium, door, impostor)


@pytest.mark.parametrize("door", [doors.control, doors.runtime, doors.fleet, doors.append, doors.read])
def test_a_firm_whose_certificate_was_revoked(
    consortium: TinyConsortium, revoked: dict[str, Caller], door: Door
) -> None:
    knock(consortium, door, revoked[REVOKED])


def test_a_bank_whose_certificate_was_revoked(consortium: TinyConsortium, revoked: dict[str, Caller]) -> None:
    knock(consortium, doors.score, revoked[BANK])


def test_a_revoked_key_gets_no_other_certificate(consortium: TinyConsortium, revoked: dict[str, Caller]) -> None:
    for one in revoked.values():
        knock(consortium, renewal, one)


@pytest.mark.parametrize("door", DOORS)
def test_a_firm_that_was_suspended(consortium: TinyConsortium, suspended: Caller, door: Door) -> None:
    knock(consortium, door, suspended)


@pytest.mark.usefixtures("suspended")
def test_whose_certificate_was_revoked_finds_the_doors_open_with_another(
    consortium: TinyConsortium, revoked: dict[str, Caller]
) -> None:
    consortium.run("firm", "renew", "--new-key", "--home", revoked[REVOKED].home)
    for door in (doors.fleet, *MEMBERS_DOORS):
        with closing(door(consortium, Caller.of_home(revoked[REVOKED].home))) as asks:
            next(asks)()


@pytest.fixture(scope="module")
def suspended_bank(consortium: TinyConsortium, revoked: dict[str, Caller], suspended: Caller) -> Caller:
    """The bank, with another certificate in place of the revoked one, after all that were left have suspended it."""
    consortium.run("bank", "renew", "--new-key", "--home", revoked[BANK].home)
    assert score_answer(consortium)[0] is grpc.StatusCode.NOT_FOUND
    suspend(consortium, BANK, (Caller.of_home(consortium.member(MEMBER)), revoked[REVOKED]))
    consortium.wait_for(lambda: score_answer(consortium)[0] is not grpc.StatusCode.NOT_FOUND, "the news to arrive")
    return Caller.of_home(consortium.member(BANK))


@pytest.mark.parametrize("door", [*MEMBERS_DOORS, doors.score])
def test_a_bank_that_was_suspended(consortium: TinyConsortium, suspended_bank: Caller, door: Door) -> None:
    knock(consortium, door, suspended_bank)


@pytest.mark.usefixtures("suspended_bank")
def test_the_score_service_says_that_the_bank_is_no_member(consortium: TinyConsortium) -> None:
    assert score_answer(consortium) == (
        grpc.StatusCode.PERMISSION_DENIED,
        f"{BANK} is not an enrolled bank of {CID}",
    )


@pytest.mark.parametrize(
    ("role", "name", "keys"), [("firm", SUSPENDED, "tls.key and node.key"), ("bank", BANK, "tls.key")]
)
@pytest.mark.usefixtures("suspended_bank")
def test_the_doctor_says_how_who_was_suspended_comes_back(
    consortium: TinyConsortium, role: str, name: str, keys: str
) -> None:
    home = consortium.member(name)
    done = CliRunner().invoke(app, [role, "doctor", "--home", str(home), "--json"])
    failed = [one for one in json.loads(done.stdout)["checks"] if one["level"] == "fail"]
    assert done.exit_code == 1
    assert [(one["check"], f"{name} is suspended" in one["what"]) for one in failed] == [("membership", True)]
    again = f"move {keys} away, then: artesian {role} join INVITE --again --home {home}"
    assert again in failed[0]["mend"]
    assert "renew" not in done.stdout
