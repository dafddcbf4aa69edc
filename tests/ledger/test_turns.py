"""Two processes that both need one mirror: each gets its turn, however busy the other is."""

import threading
import time
from pathlib import Path

import pytest
from consortium_simulator import Consortium

from ledger.errors import Locked
from ledger.mirror import Mirror
from ledger.service.following import Held
from ledger.turns import PAUSE_S, Turns, take_turn
from ledger.witness import Witness

SOON_S = 20.0


def test_who_waits_is_seen_while_it_waits(tmp_path: Path) -> None:
    turns, other = Turns(tmp_path / "mirror.db"), Turns(tmp_path / "mirror.db")
    assert not turns.are_wanted()
    with other.waiting(), Turns(tmp_path / "mirror.db").waiting():
        assert turns.are_wanted()
    assert not turns.are_wanted()
    with Turns(None).waiting():
        assert not Turns(None).are_wanted()


def test_a_turn_is_tried_for_until_the_deadline(tmp_path: Path) -> None:
    turns, paused, tries = Turns(tmp_path / "mirror.db"), list[float](), list[bool]()

    def busy() -> str:
        tries.append(turns.are_wanted())
        if len(tries) < 4:
            raise Locked("in use")
        return "mine"

    assert take_turn(turns, busy, 1.0, sleep=paused.append) == "mine"
    assert tries == [False, True, True, True]
    assert paused == [PAUSE_S] * 3
    tries.clear()
    with pytest.raises(Locked, match="in use"):
        take_turn(turns, busy, 0.02, monotonic=lambda: len(tries) / 100, sleep=paused.append)
    tries.clear()
    with pytest.raises(Locked):
        take_turn(turns, busy, 0.0, sleep=lambda _: pytest.fail("it waits"))


def test_neither_a_busy_witness_nor_a_busy_client_keeps_the_other_out(tmp_path: Path) -> None:
    made, place = Consortium(), tmp_path / "mirror.db"
    made.log.checkpoint()
    stop, worked, took = threading.Event(), list[float](), list[float]()
    witness = Witness(place, made.keys["firm-0"], "firm-0", made.log.vkey, "c-1", made.clock)

    def work() -> None:  # news without a pause: it would never rest by itself
        with Held(witness, stop) as held:
            while not stop.is_set():
                with held.awake():
                    worked.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            began = time.monotonic()

            def open_it() -> Mirror:
                return Mirror(place, made.log.vkey, "c-1", made.clock, member="firm-0", seal=made.keys["firm-0"])

            with take_turn(Turns(place), open_it, SOON_S):
                took.append(time.monotonic() - began)
                seen = len(worked)
            end_s = time.monotonic() + SOON_S
            while len(worked) == seen:  # the witness has it again
                assert time.monotonic() < end_s
                time.sleep(0.005)
    finally:
        stop.set()
        thread.join(SOON_S)
    assert max(took) < 5.0
    witness.close()


def test_a_witness_that_rested_lets_who_waits_go_first(tmp_path: Path) -> None:
    made, place = Consortium(), tmp_path / "mirror.db"
    witness = Witness(place, made.keys["firm-0"], "firm-0", made.log.vkey, "c-1", made.clock)
    stop, awake, woke_s = threading.Event(), threading.Event(), list[float]()

    def work(held: Held) -> None:
        with held.awake():
            woke_s.append(time.monotonic())
        awake.set()

    with Held(witness, stop) as held:
        with Turns(place).waiting():  # it has not taken the mirror yet
            thread = threading.Thread(target=work, args=(held,))
            thread.start()
            assert not awake.wait(0.1)
            left_s = time.monotonic()
        thread.join(SOON_S)
    assert woke_s[0] >= left_s
    witness.close()
