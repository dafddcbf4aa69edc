"""Processes of ours start and end sooner than Python lets them."""

import subprocess
import sys

PROGRAM = """
import atexit, gc, weakref
from clients.process_start import ALLOCATIONS, start_lightly

class Loop:
    def __init__(self):
        self.me = self

start_lightly()
print(gc.get_threshold()[0] == ALLOCATIONS, gc.isenabled())
last = weakref.finalize(Loop(), print, "found as garbage")
last.atexit = False
gc.collect()
atexit.register(lambda: print("tidied up, frozen:", gc.get_freeze_count()))
"""


def test_garbage_is_still_found_and_the_end_waits_for_who_tidies_up() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True True", "found as garbage", "tidied up, frozen: 0"]


def test_nothing_is_looked_through_at_the_end() -> None:
    ending = "import atexit, gc\natexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"
    program = f"{ending}from clients.process_start import start_lightly\nstart_lightly()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
