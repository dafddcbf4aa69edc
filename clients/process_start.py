"""Processes of ours start and end sooner: nothing is looked through for garbage while there is none.

Imports make a million objects and leave no garbage, and the interpreter looks through all of them again and again while
they come in, and once more before it ends: a third of the time of a command that imports Flower.
"""

import atexit
import gc

ALLOCATIONS = 10_000
"""How many objects more than were freed there must be before Python looks for garbage; by itself, after 700."""


def start_lightly() -> None:
    """Call it first in a process that is wholly ours."""
    gc.set_threshold(ALLOCATIONS)
    atexit.register(gc.freeze)  # called first, so done last: after whatever still has to be tidied up
