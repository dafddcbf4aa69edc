"""A witness follows a service through breaks and restarts, and accuses it when it goes back."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from consortium_simulator import CID, ORIGIN, Consortium, key_of
from service_world import placed, served

from ledger.errors import NoSuchEntry, StoreError
from ledger.log import Log
from ledger.mirror import Mirror
from ledger.service import following
from ledger.service.access import NotAllowed
from ledger.service.client import Unreachable
from ledger.service.following import BackOff, Held, News, follow, keep_witnessing
from ledger.service.limits import Settings
from ledger.service.server import serving
from ledger.service.tokens import Identity
from ledger.witness import Misbehaviour, Witness, WitnessRefusal

WAIT_S = 20


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


class Watch:
    """A witness that is kept going in a thread of its own."""

    def __init__(self, witness: Witness, client: Any) -> None:
        self.stop, self.error = threading.Event(), list[Exception]()
        self.news: list[News] = []
        self.final_size = 0  # as the mirror knew it at the last news
        self.troubles: list[Unreachable] = []
        self._thread = threading.Thread(target=self._run, args=(witness, client))
        self._thread.start()

    def _run(self, witness: Witness, client: Any) -> None:
        def on_news(news: News) -> None:
            self.news.append(news)
            self.final_size = witness.mirror.final_size

        try:
            keep_witnessing(
                witness,
                client,
                stop=self.stop,
                for_s=WAIT_S,
                on_news=on_news,
                on_trouble=self.troubles.append,
            )
        except Exception as error:
            self.error.append(error)

    def end(self) -> None:
        self.stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


def test_witnesses_make_it_final() -> None:
    with served(heartbeat_s=0.1) as service:
        watches = [Watch(service.made.witness(name), service.client(name)) for name in service.made.members]
        [result] = placed(service.client().submit([service.attest()], wait_s=15))
        assert result.receipt is not None
        for watch in watches:
            watch.end()
            assert not watch.error
        assert all(service.made.witness(name).size == 7 for name in ("firm-0", "firm-1"))


def test_what_is_final_soon_after_something_else_is_learned_without_more_news() -> None:
    with served(heartbeat_s=10 * WAIT_S) as service:
        clients = {name: service.client(name) for name in service.made.members}
        watches = {name: Watch(service.made.witness(name), client) for name, client in clients.items()}
        for _ in range(3):
            placed(service.client().submit([service.attest()], wait_s=15))
        size = service.made.log.size
        until(lambda: all(watch.final_size == size for watch in watches.values()))
        for name, watch in watches.items():
            watch.stop.set()
            clients[name].close()  # as a command does: no heartbeat ends the wait for news
            watch.end()
            assert not watch.error


def changing() -> Consortium:
    """A log whose members changed four times, each time made final by those of before and after."""
    made = Consortium(firms=6)
    made.cosign()
    for number in (5, 4, 3):
        others = [name for name in made.members if name != f"firm-{number}"]
        made.log.append([made.approved(others, "suspend", member=f"firm-{number}", reason="left")])
        made.members = others
        assert made.cosign()
    made.keys["firm-2"] = key_of("firm-2 again")
    voters = ["firm-0", "firm-1", "bank-0"]
    made.log.append([made.approved(voters, "rotate", member="firm-2", key=made.keys["firm-2"].public.raw)])
    made.append("attest", "firm-0", subject="s", artifact=made.hash())
    assert made.cosign(voters)
    return made


def test_who_begins_late_learns_what_was_final_while_members_changed() -> None:
    made = changing()
    with served(made, heartbeat_s=0.1) as service, Mirror(None, made.log.vkey, CID, made.clock) as mirror:
        client = service.client("firm-0")
        mirror.follow(client)
        assert mirror.final_size == 0
        mirror.rebuild(client)
        assert mirror.final_size == made.log.final_size == made.log.size
        assert list(client.notes(mirror.final_size)) == [made.log.final()]
        assert list(service.client(None).notes((1 << 64) - 1)) == []
        del made.witnesses["firm-2"]  # it has lost its mirror, and begins anew with its new key
        watch = Watch(made.witness("firm-2"), service.client("firm-2"))
        until(lambda: made.witness("firm-2").mirror.final_size == made.log.size)
        watch.end()
        assert not watch.error


def test_through_a_restart_on_the_same_address(tmp_path: Path) -> None:
    made = Consortium(location=tmp_path / "ledger.db")
    key, settings = made.keys["coordinator"], Settings(heartbeat_s=0.1)
    from ledger.service.client import LedgerClient

    with serving(made.log, key, clock=made.clock, settings=settings) as server:
        address = server.address
        client = LedgerClient(address, identity=Identity("firm-0", made.keys["firm-0"], ORIGIN), clock=made.clock)
        watch = Watch(
            Witness(tmp_path / "mirror.db", made.keys["firm-0"], "firm-0", made.log.vkey, CID, made.clock), client
        )
        until(lambda: bool(watch.news))
    time.sleep(0.3)
    made.clock.now_s += 5
    log = Log.open(tmp_path / "ledger.db", key, made.clock)
    made.log = log
    made.append("attest", "firm-0", subject="s", artifact=made.hash())
    port = int(address.rpartition(":")[2])
    with serving(log, key, clock=made.clock, settings=settings, port=port):
        until(lambda: "\n7\n" in watch.news[-1].checkpoint)
        watch.end()
    client.close()
    assert not watch.error


def test_a_cosignature_that_was_not_handed_in_is_made_again() -> None:
    with served(heartbeat_s=0.1) as service:
        lost = service.made.witness("firm-0").follow(service.client("firm-0"))  # and then the process died
        assert lost
        watch = Watch(service.made.witness("firm-0"), service.client("firm-0"))
        until(lambda: bool(watch.news))
        watch.end()
        assert "firm-0" in str(service.made.log._store.cosignatures(6))


def test_a_log_that_went_back_is_accused(tmp_path: Path) -> None:
    longer, shorter = Consortium(seed="a"), Consortium(seed="a")
    for _ in range(2):
        longer.append("attest", "firm-0", subject="s", artifact=longer.hash())
    witness = longer.witness("firm-0")
    longer.cosign(["firm-0"])
    shorter.append("attest", "firm-1", subject="other", artifact=shorter.hash())
    with served(shorter) as service:
        with pytest.raises((Misbehaviour, WitnessRefusal)):
            keep_witnessing(witness, service.client("firm-0"), stop=threading.Event(), for_s=WAIT_S)
        assert witness.size == 8


def test_leaving_ends_the_watcher_that_is_just_about_to_let_the_mirror_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "WATCH_S", 0.001)
    rested = list[int]()
    turns = SimpleNamespace(are_wanted=lambda: False)
    monkeypatch.setattr(following, "take_turn", lambda _turns, take, *_, **__: take())
    witness: Any = SimpleNamespace(
        mirror=SimpleNamespace(turns=turns), wake=lambda: None, rest=lambda: rested.append(1)
    )

    def leave() -> None:
        for _ in range(20):
            with Held(witness, threading.Event(), rest_after_s=0.0) as held, held.awake():
                time.sleep(0.02)  # the watcher finds it idle, and waits until this is over

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(20)
    assert not leaving.is_alive()
    assert len(rested) >= 40  # at the beginning and at the end of each


def test_a_witness_that_may_not_cosign_says_so() -> None:
    with served() as service:
        made = service.made
        stranger = Witness(None, made.keys["firm-1"], "firm-0", made.log.vkey, CID, made.clock)
        with pytest.raises(WitnessRefusal):
            keep_witnessing(stranger, service.client("firm-0"), stop=threading.Event(), for_s=WAIT_S)
        with pytest.raises(NotAllowed):
            keep_witnessing(
                stranger, service.client("firm-0", key=made.keys["firm-1"]), stop=threading.Event(), for_s=WAIT_S
            )


class Fake:
    """A client whose streams are made up."""

    def __init__(self, *streams: Any) -> None:
        self.streams = list(streams)
        self.asked: list[int] = []

    def news(self, start: int, final_size: int = 0) -> Any:
        self.asked.append(start)
        stream = self.streams.pop(0) if self.streams else Unreachable("nobody there")
        if isinstance(stream, Exception):
            raise stream
        yield from stream


def test_nobody_there_in_all_the_time_is_said() -> None:
    with pytest.raises(Unreachable):
        list(follow(Fake(), 0, for_s=0.3))  # type: ignore[arg-type]
    with pytest.raises(NoSuchEntry):
        list(follow(Fake(NoSuchEntry("no")), 5, for_s=5))  # type: ignore[arg-type]


def test_waits_grow_and_shrink_again() -> None:
    stop, waits = threading.Event(), list[float]()
    stop.wait = waits.append  # type: ignore[assignment]
    back_off = BackOff(stop, lambda: 1.0)
    for _ in range(8):
        back_off.wait(100)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    back_off.reset()
    back_off.wait(0.05)
    assert waits[-1] == 0.05


def test_a_mirror_in_use_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(heartbeat_s=0.1) as service:
        witness = service.made.witness("firm-0")
        wake, failures = witness.wake, [StoreError("in use")] * 3

        def busy() -> None:
            if failures:
                raise failures.pop()
            wake()

        monkeypatch.setattr(witness, "wake", busy)
        watch = Watch(witness, service.client("firm-0"))
        until(lambda: bool(watch.news))
        watch.end()
        assert (watch.error, witness.size) == ([], 6)


def test_another_process_may_advance_the_mirror_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(heartbeat_s=0.1) as service:
        witness, wake, others = service.made.witness("firm-0"), service.made.witness("firm-0").wake, [1, 1, 1]
        source = service.client("firm-0")

        def overtaken() -> None:
            wake()
            if others and witness.size:
                others.pop()
                witness.follow(source)

        rests = threading.Event()
        monkeypatch.setattr(witness, "wake", overtaken)
        monkeypatch.setattr(witness, "rest", rests.set)
        watch = Watch(witness, service.client("firm-0"))
        until(lambda: bool(watch.news))
        for size in (8, 10, 12, 14):
            until(lambda: rests.is_set())
            rests.clear()
            service.put(service.attest(), service.attest())
            until(lambda size=size: witness.size == size)  # type: ignore[misc]
        watch.end()
        assert (watch.error, others) == ([], [])


def test_a_member_cosigns_its_own_suspension_and_is_out() -> None:
    made = Consortium(firms=1)
    with served(made, heartbeat_s=0.1) as service:
        watches = {name: Watch(made.witness(name), service.client(name)) for name in made.members}
        until(lambda: all(any(news.final for news in watch.news) for watch in watches.values()))
        suspend = made.approved(made.members, "suspend", member="bank-0", reason="left")
        [result] = placed(service.client().submit([suspend], wait_s=15))
        assert result.receipt is not None  # of two members, both were needed
        until(lambda: bool(watches["bank-0"].error))
        assert isinstance(watches["bank-0"].error[0], NotAllowed)
        [later] = placed(service.client().submit([service.attest()], wait_s=15))
        assert later.receipt is not None
        for watch in watches.values():
            watch.end()
        assert not watches["firm-0"].error
        assert made.witness("bank-0").size == result.index + 1
