"""Copies that are made under load, what may be done with them, and the whole ledger again when they are too old."""

import copy
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fork_world import Child, Nursery
from load_world import WORLD, Acknowledged, check_to_the_end, founded, make_final, opened
from postgres_world import programs

from ledger.continuation import continue_log
from ledger.errors import Damaged
from ledger.log import Log
from ledger.mirror import Mirror
from ledger.note import Vkey
from ledger.postgresql import is_url
from ledger.rules import COORDINATOR
from ledger.store import Store

pytestmark = pytest.mark.integration

COPIES = 3
LINES_BETWEEN = 6
BODY_BYTES = 1 << 20
BODIES = 20
"""Together so much that a copy of a file in steps, which starts over whenever the log writes, never ends."""

NewLocation = Callable[[], Path | str]


def back_up(place: str, new_location: NewLocation) -> Path | str:
    """Copy the ledger as an operator does, while its sequencer writes."""
    target = new_location()
    if isinstance(target, Path):
        store = Store(place, read_only=True)
        store.backup(target)
        store.close()
        return target
    bin_directory = programs()
    assert bin_directory is not None
    dump = [bin_directory / "pg_dump", "--format=custom", f"--dbname={place}"]
    restore = [bin_directory / "pg_restore", "--exit-on-error", f"--dbname={target}"]
    whole = subprocess.run(dump, check=True, capture_output=True).stdout
    subprocess.run(restore, check=True, input=whole)
    return target


def under_load(nursery: Nursery, place: str, said: Acknowledged) -> Child:
    child = nursery.start("sequence", location=place, seed=2, first=said.next)
    hear_more(child, said)
    return child


def hear_more(child: Child, said: Acknowledged) -> None:
    said.hear([child.line() for _ in range(LINES_BETWEEN)])


@pytest.mark.timeout(120)
def test_copies_made_under_load_are_whole(new_location: NewLocation, nursery: Nursery) -> None:
    place, said = founded(nursery, new_location()), Acknowledged()
    if not is_url(place):
        with opened(place) as log:
            for number in range(BODIES):
                log.put_body(number.to_bytes(32, "big"), os.urandom(BODY_BYTES))
    child = under_load(nursery, place, said)
    copies = []
    for _ in range(COPIES):
        known = copy.deepcopy(said)
        copies.append((back_up(place, new_location), known))
        hear_more(child, said)
    said.hear(child.kill())
    check_to_the_end(place, said)
    for made, known in copies:
        check_to_the_end(made, known)


def test_an_old_copy_is_refused_and_a_mirror_has_the_rest(new_location: NewLocation, nursery: Nursery) -> None:
    place, said = founded(nursery, new_location()), Acknowledged()
    child = under_load(nursery, place, said)
    old = back_up(place, new_location)
    hear_more(child, said)
    said.hear(child.kill())
    founding_key = Vkey.of_log(WORLD.log.origin, WORLD.keys[COORDINATOR].public)
    with Mirror(None, founding_key, WORLD.log.cid, WORLD.clock) as mirror:
        with opened(place) as log:
            make_final(log)
            mirror.follow(log)
        with pytest.raises(Damaged, match="restore the newest copy") as refused:
            Log.open(old, WORLD.keys[COORDINATOR], WORLD.clock, at_least=mirror.size)
        assert len(str(refused.value).splitlines()) == 1
        rebuilt = new_location()
        continue_log(
            rebuilt, mirror, WORLD.keys[COORDINATOR], founded=founding_key, cid=WORLD.log.cid, clock=WORLD.clock
        ).close()
    said.check(rebuilt)
    assert is_url(str(rebuilt)) == is_url(place)
