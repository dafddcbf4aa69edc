"""What real processes do with a ledger in tests of crashes: found it, put statements on it, say what came back.

Statement `n` is always the same bytes, so whoever knows the number can submit it again and knows what must be stored.
"""

import hashlib
import random
from functools import cache
from pathlib import Path

from consortium_simulator import ORIGIN, Consortium
from fork_world import Tell

from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.errors import LedgerError
from ledger.log import Log
from ledger.rules import COORDINATOR

BATCHES = (1, 1, 2, 5, 20, 60)
AGAIN = 0.2
CHECKPOINT = 0.4

WORLD = Consortium()
"""The consortium of every ledger here: its members, keys and clock."""


@cache
def statement(number: int) -> bytes:
    """The statement with this number, valid at any place after the founding."""
    unique = hashlib.sha256(f"statement {number}".encode()).digest()
    issuer = WORLD.members[number % len(WORLD.members)]
    return WORLD.statement("attest", issuer, record_id=unique[:16], subject=f"batch-{number}", artifact=unique)


def found(location: Path | str | None) -> Log:
    """A new ledger with the consortium's founding statements and one checkpoint."""
    log = Log.create(location, ORIGIN, WORLD.keys[COORDINATOR], WORLD.clock, cid=WORLD.log.cid)
    log.append(WORLD.log.entries(0, WORLD.log.size))
    log.checkpoint()
    return log


def opened(location: Path | str) -> Log:
    """The ledger there, as its sequencer."""
    return Log.open(location, WORLD.keys[COORDINATOR], WORLD.clock)


def make_final(log: Log) -> None:
    """Let a quorum of the members cosign the log's latest checkpoint."""
    body = SignedCheckpoint.parse(log.checkpoint()).body
    now_s = int(WORLD.clock())
    log.add_cosignatures(
        cosign(body, name=witness_name(ORIGIN, name), key=WORLD.keys[name], timestamp_s=now_s) for name in WORLD.members
    )


def sequence(tell: Tell, location: str, seed: int, first: int) -> int:
    """Sequence until killed: batches of many sizes, of statements from number `first` and of earlier ones again.

    Tells `open SIZE FINAL_SIZE`, then `ack NUMBER:INDEX ...`, `note HEX` and `final SIZE` of what has just returned, or
    `error LINE` before it ends by itself.
    """
    chance = random.Random(seed)
    try:
        with opened(location) as log:
            tell(f"open {log.size} {log.final_size}")
            while True:
                count = chance.choice(BATCHES)
                numbers = list(range(first, first + count))
                first += count
                numbers += [chance.randrange(first) for _ in range(count) if chance.random() < AGAIN]
                places = log.append([statement(number) for number in numbers])
                tell("ack " + " ".join(f"{number}:{place}" for number, place in zip(numbers, places, strict=True)))
                if chance.random() < CHECKPOINT:
                    tell(f"note {log.checkpoint().encode().hex()}")
                if chance.random() < CHECKPOINT / 2:
                    make_final(log)
                    tell(f"final {log.final_size}")
    except LedgerError as error:
        tell(f"error {error}")
        return error.exit_code


def begin(tell: Tell, location: str) -> int:
    """Found a ledger, and tell `founded`."""
    try:
        found(location).close()
    except LedgerError as error:
        tell(f"error {error}")
        return error.exit_code
    tell("founded")
    return 0
