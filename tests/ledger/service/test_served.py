"""A ledger that another process serves, used as if it were open here: nothing lost, doubled or just believed."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from consortium_simulator import CID, ORIGIN, Consortium
from service_world import Service, served

from ledger.checkpoint import NotFinal, SignedCheckpoint
from ledger.errors import Locked, StoreFull
from ledger.mirror import Mirror
from ledger.open_ledger import OpenLedger
from ledger.receipt import verify_receipt
from ledger.rules import Refused
from ledger.service.access import NotAllowed
from ledger.service.client import LedgerClient, Unreachable
from ledger.service.following import keep_witnessing
from ledger.service.limits import Settings
from ledger.service.served import STALE_S, FollowerFailed, NotShown, ServedLedger, Stale, own_mirror
from ledger.service.server import serving
from ledger.service.tokens import Identity
from ledger.source import WitnessRefusal
from ledger.statement import decode_statement
from ledger.witness import Witness

SOON_S = 20.0


def mirror_of(made: Consortium, location: Path | None = None) -> Mirror:
    return Mirror(location, made.log.vkey, CID, made.clock)


@contextmanager
def used(service: Service, *, location: Path | None = None, **options: Any) -> Iterator[ServedLedger]:
    """The served ledger as the coordinator's other processes have it."""
    mirror = mirror_of(service.made, location)
    with ServedLedger(service.client("coordinator"), mirror, **{"reach_s": SOON_S, **options}) as ledger:
        yield ledger


@contextmanager
def witnessing(service: Service, *names: str) -> Iterator[None]:
    """Live witnesses of these members, each in a thread of its own."""
    stop, threads = threading.Event(), list[threading.Thread]()
    for name in names or service.made.members:
        client = service.client(name)
        arguments = (service.made.witness(name), client)
        thread = threading.Thread(target=keep_witnessing, args=arguments, kwargs={"stop": stop, "for_s": SOON_S})
        threads.append(thread)
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(SOON_S)


def test_what_is_appended_is_there_at_once_and_final_when_live_witnesses_have_cosigned() -> None:
    with served(heartbeat_s=0.1) as service, used(service) as ledger, witnessing(service):
        raw = service.attest()
        [place] = ledger.append([raw])
        assert (place, ledger.size, ledger.state.size) == (6, 7, 7)
        assert ledger.entries(6, 7) == [raw]
        assert ledger.index_of(decode_statement(raw).digest) == 6
        assert ledger.wait_final(7, SOON_S)
        note = ledger.final()
        assert note is not None
        assert SignedCheckpoint.parse(note).checkpoint.size == ledger.final_size == 7
        assert verify_receipt(ledger.receipt(6), raw, service.made.log.policy).index == 6


def test_it_is_used_as_an_open_log_is() -> None:
    def use(ledger: OpenLedger, raw: bytes) -> tuple[Any, ...]:
        return ledger.append([raw]), ledger.append([raw]), ledger.size, ledger.cid, ledger.final_size, ledger.final()

    with served() as service:
        raw = service.attest()
        with used(service) as ledger:
            said = use(ledger, raw)
    other = Consortium()
    assert said == use(other.log, raw) == ([6], [6], 7, CID, 0, None)


def test_what_others_put_there_is_seen() -> None:
    with served(heartbeat_s=0.1) as service, used(service) as ledger:
        service.put(service.attest("firm-1"))
        assert not ledger.wait_final(7, 0.05)
        [place] = ledger.append([service.attest()])
        assert (place, ledger.size) == (7, 8)
        with pytest.raises(NotFinal):
            ledger.receipt(6)


def test_who_has_not_cosigned_is_named_with_how_long_it_waits() -> None:
    with served(heartbeat_s=0.1) as service, used(service) as ledger, witnessing(service, "firm-0", "firm-1"):
        ledger.append([service.attest()])
        service.made.clock.now_s += 9
        assert not ledger.wait_final(7, 0.3)
        cosigned, waits_s = ledger.cosigned()
        assert cosigned == {"firm-0": 7, "firm-1": 7, "firm-2": 0, "firm-3": 0, "bank-0": 0}
        assert waits_s == 9


def test_a_refusal_by_the_rules_stays_one_and_leaves_nothing_of_its_group() -> None:
    with served() as service, used(service) as ledger:
        good, bad = service.attest(), service.made.statement("revoke", model=bytes(32), reason="none")
        for group in ([bad], [good, bad]):
            with pytest.raises(Refused):
                ledger.append(group)
        assert (ledger.size, service.made.log.size) == (6, 6)
        assert ledger.append([good, service.attest()]) == [6, 7]
        assert ledger.append([]) == []


class Lossy(LedgerClient):
    """Loses the answers of some submissions that have been carried out, and some before they arrive."""

    before, after, submitted = 0, 0, 0

    def submit(self, statements: Sequence[bytes], **options: Any) -> Any:
        self.submitted += 1
        if self.before:
            self.before -= 1
            raise Unreachable("lost on the way there")
        results = super().submit(statements, **options)
        if self.after:
            self.after -= 1
            raise Unreachable("lost on the way back")
        return results


@contextmanager
def lossy(service: Service, **options: Any) -> Iterator[tuple[Lossy, ServedLedger]]:
    identity = Identity("coordinator", service.made.keys["coordinator"], ORIGIN)
    client = Lossy(service.server.address, identity=identity, clock=service.made.clock)
    with ServedLedger(client, mirror_of(service.made), **options) as ledger:
        yield client, ledger


def test_what_was_not_acknowledged_is_submitted_again_and_stands_there_once() -> None:
    with served() as service, lossy(service) as (client, ledger):
        client.before, client.after = 1, 2
        assert ledger.append([service.attest(), service.attest()]) == [6, 7]
        assert client.submitted == 4
        assert service.made.log.size == 8


def test_trying_again_ends_with_its_deadline() -> None:
    with served() as service, lossy(service, reach_s=0.3) as (client, ledger):
        client.before = 1000
        with pytest.raises(Unreachable, match=r"lost on the way there \(tried for 0 s\)") as caught:
            ledger.append([service.attest()])
        assert caught.value.exit_code == 3


def test_statements_that_no_checkpoint_shows_are_said() -> None:
    with (
        served(checkpoint_s=30.0, inclusion_s=60) as service,
        used(service, reach_s=0.3) as ledger,
        pytest.raises(NotShown, match=r"has taken entry 6 and not shown it"),
    ):
        ledger.append([service.attest()])


def test_a_service_that_restarts_is_followed_again(tmp_path: Path) -> None:
    made = Consortium(location=tmp_path / "ledger.db")
    key = made.keys["coordinator"]
    with ExitStack() as stack:
        with serving(made.log, key, settings=Settings(heartbeat_s=0.1)) as server:
            port = int(server.address.rpartition(":")[2])
            client = LedgerClient(server.address, identity=Identity("coordinator", key, ORIGIN))
            ledger = stack.enter_context(ServedLedger(client, Mirror(None, made.log.vkey, CID)))
            ledger.append([made.statement("attest", "firm-0", subject="batch-1", artifact=made.hash())])
        again = type(made.log).open(tmp_path / "ledger.db", key)
        waiting = made.statement("attest", "firm-0", subject="batch-2", artifact=made.hash())
        places = list[int]()
        thread = threading.Thread(target=lambda: places.extend(ledger.append([waiting])))
        thread.start()  # while nobody serves
        with serving(again, key, port=port, settings=Settings(heartbeat_s=0.1)):
            thread.join(SOON_S)
            assert places == [7]
            assert ledger.entries(7, 8) == [waiting]


def test_a_ledger_that_is_not_the_mirrors_is_not_used() -> None:
    with served() as service, pytest.raises(WitnessRefusal):
        ServedLedger(service.client("coordinator"), mirror_of(Consortium(seed="other")), reach_s=0.1)


def test_a_ledger_that_contradicts_the_mirror_is_used_no_more(tmp_path: Path) -> None:
    made = Consortium(location=tmp_path / "ledger.db")
    key = made.keys["coordinator"]
    made.log.backup(tmp_path / "older.db")
    with ExitStack() as stack:
        with serving(made.log, key, settings=Settings(heartbeat_s=0.1)) as server:
            port = int(server.address.rpartition(":")[2])
            client = LedgerClient(server.address, identity=Identity("coordinator", key, ORIGIN))
            ledger = stack.enter_context(ServedLedger(client, Mirror(None, made.log.vkey, CID)))
            ledger.append([made.statement("attest", "firm-0", subject="batch-1", artifact=made.hash())])
        older = type(made.log).open(tmp_path / "older.db", key)
        with serving(older, key, port=port, settings=Settings(heartbeat_s=0.1)), pytest.raises(WitnessRefusal):
            ledger.wait_final(1, SOON_S)
        with pytest.raises(WitnessRefusal):
            ledger.append([made.statement("attest", "firm-0", subject="batch-2", artifact=made.hash())])


class Troubled(Mirror):
    """A mirror whose disk, or whose service, fails so many times."""

    fails: Sequence[Exception] = ()

    def advance(self, *arguments: Any, **more: Any) -> Any:
        if self.fails:
            first, *self.fails = self.fails
            raise first
        return super().advance(*arguments, **more)

    def follow(self, *arguments: Any, **more: Any) -> Any:
        if self.fails:
            first, *self.fails = self.fails
            raise first
        return super().follow(*arguments, **more)


@contextmanager
def troubled(service: Service, *fails: Exception, **options: Any) -> Iterator[ServedLedger]:
    mirror = Troubled(None, service.made.log.vkey, CID, service.made.clock)
    with ServedLedger(service.client("coordinator"), mirror, **{"reach_s": SOON_S, **options}) as ledger:
        mirror.fails = fails
        yield ledger


@pytest.mark.parametrize("passing", [StoreFull("no room"), OSError(28, "no room"), NotAllowed("no list of revoked")])
def test_what_passes_by_itself_is_tried_again(passing: Exception) -> None:
    with served(heartbeat_s=0.1) as service, troubled(service, passing, passing) as ledger:
        assert ledger.append([service.attest()]) == [6]
        assert ledger.size == 7


def test_while_it_lasts_nothing_is_answered_from_a_mirror_that_is_too_old() -> None:
    now = [0.0]
    with served(heartbeat_s=0.1) as service:
        trouble = [StoreFull("the disk is full")] * 1000
        with troubled(service, *trouble, reach_s=1.0, monotonic=lambda: now[0]) as ledger:
            service.put(service.attest())
            wait_until(lambda: len(ledger._mirror.fails) < 999)  # type: ignore[attr-defined]
            assert ledger.size == 6
            now[0] = STALE_S + 1
            reads: list[Callable[[], object]] = [
                lambda: ledger.state,
                lambda: ledger.size,
                lambda: ledger.final_size,
                lambda: ledger.entries(0, 1),
                ledger.final,
            ]
            for read in reads:
                with pytest.raises(Stale, match="was not heard for 121 s: the disk is full"):
                    read()
            ledger._mirror.fails = ()  # type: ignore[attr-defined]
            wait_until(lambda: ledger._mirror.size == 7)
            assert ledger.size == 7


def test_a_fault_of_the_program_is_said_at_each_use() -> None:
    with served(heartbeat_s=0.1) as service, troubled(service, ZeroDivisionError()) as ledger:
        service.put(service.attest())
        with pytest.raises(FollowerFailed, match="ZeroDivisionError"):
            ledger.wait_final(7, SOON_S)
        for use in (ledger.require_sound, lambda: ledger.state, lambda: ledger.append([service.attest()])):
            with pytest.raises(FollowerFailed):
                use()


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_an_outsider_is_shown_none() -> None:
    with served() as service, pytest.raises(NotAllowed):
        ServedLedger(service.client(None), mirror_of(service.made), reach_s=1)


def test_processes_beside_each_other_have_mirrors_of_their_own(tmp_path: Path) -> None:
    made = Consortium()
    folder = tmp_path / "mirrors"
    first = own_mirror(folder, made.log.vkey, CID, made.clock)
    second = own_mirror(folder, made.log.vkey, CID, made.clock)
    made.log.checkpoint()
    first.follow(made.log)
    first.close()
    third = own_mirror(folder, made.log.vkey, CID, made.clock)
    assert sorted(one.name for one in folder.glob("*.db")) == ["ledger-0.db", "ledger-1.db"]
    assert third.size == 6  # what the first has read need not be read again
    second.close()
    third.close()
    assert folder.stat().st_mode & 0o077 == 0


def test_there_is_a_most_number_of_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.service.served.MIRRORS", 1)
    made = Consortium()
    with own_mirror(tmp_path, made.log.vkey, CID, made.clock), pytest.raises(Locked, match="1 processes use"):
        own_mirror(tmp_path, made.log.vkey, CID, made.clock)


def test_a_witness_can_be_in_its_home_beside_it(tmp_path: Path) -> None:
    made = Consortium()
    key = made.keys["firm-0"]
    with (
        Witness(tmp_path / "mirror.db", key, "firm-0", made.log.vkey, CID, made.clock),
        own_mirror(tmp_path / "mirrors", made.log.vkey, CID, made.clock),
    ):
        pass
