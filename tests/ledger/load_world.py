"""What real processes do with a ledger in tests of crashes: found it, put statements on it, say what came back.

Statement `n` is always the same bytes, so whoever knows the number can submit it again and knows what must be stored.
"""

import hashlib
import random
from functools import cache
from pathlib import Path

from consortium_simulator import ORIGIN, Consortium
from fork_world import Nursery, Tell

from ledger.audit import audit
from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.errors import LedgerError
from ledger.log import Log
from ledger.merkle import leaf_hash
from ledger.rules import COORDINATOR
from ledger.statement import decode_statement
from ledger.tiles import RightEdge

BATCHES = (1, 1, 2, 3, 8, 30)
AGAIN = 0.2
CHECKPOINT = 0.5
FINAL = 0.5

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
                    if chance.random() < FINAL:
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


def founded(nursery: Nursery, location: Path | str) -> str:
    """Let a child found a ledger there; the location as text."""
    code, lines = nursery.start("begin", location=str(location)).wait()
    assert (code, lines) == (0, ["founded"])
    return str(location)


class Acknowledged:
    """All that sequencers have said of one ledger, which the ledger must never contradict.

    Attributes:
        places: index by statement number.
        final_size: the largest that was final.
        errors: lines of sequencers that ended by themselves.
    """

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        self.final_size = 0
        self.errors: list[str] = []
        self._notes: list[str] = []

    @property
    def next(self) -> int:
        """The first statement number that nobody has acknowledged."""
        return max(self.places, default=-1) + 1

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            kind, _, rest = line.partition(" ")
            match kind:
                case "open":
                    size, final_size = map(int, rest.split())
                    assert size > max(self.places.values(), default=-1)
                    assert final_size >= self.final_size
                case "ack":
                    for pair in rest.split():
                        number, place = map(int, pair.split(":"))
                        assert self.places.setdefault(number, place) == place
                case "note":
                    self._notes.append(bytes.fromhex(rest).decode())
                case "final":
                    assert int(rest) >= self.final_size
                    self.final_size = int(rest)
                case _:
                    self.errors.append(rest)

    def check(self, location: Path | str) -> None:
        """Hold the ledger against all that was said of it, as its sequencer."""
        with opened(location) as log:
            size, entries = log.size, log.entries(0, log.size)
            for number, place in self.places.items():
                assert entries[place] == statement(number)
            numbers = list(self.places)
            assert log.append([statement(number) for number in numbers]) == [self.places[n] for n in numbers]
            assert log.size == size
            assert log.final_size >= self.final_size
            self._check_notes(entries)
        assert len({decode_statement(raw).digest for raw in entries}) == size

    def _check_notes(self, entries: list[bytes]) -> None:
        published = [SignedCheckpoint.parse(note).checkpoint for note in self._notes]
        sizes = [checkpoint.size for checkpoint in published]
        assert sizes == sorted(sizes)
        roots, edge = {}, RightEdge()
        for index, raw in enumerate(entries, start=1):
            edge, _ = edge.append(leaf_hash(raw))
            if index in sizes:
                roots[index] = edge.root()
        assert all(checkpoint.root == roots[checkpoint.size] for checkpoint in published)


def check_to_the_end(location: Path | str, said: Acknowledged) -> None:
    """Hold a ledger against all that was said of it, make all of it final, and audit it."""
    said.check(location)
    with opened(location) as log:
        make_final(log)
        assert log.final_size == log.size
        policy = log.policy
    assert audit(location, policy).problems == ()
