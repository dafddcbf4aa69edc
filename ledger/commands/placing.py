"""Putting statements on the ledger: through the service, or straight into a database that nobody sequences now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.commands.answering import UsageError
from ledger.commands.connecting import address_of, connected
from ledger.commands.places import database, load_policy
from ledger.commands.policies import load_policies
from ledger.errors import LedgerError, Locked

if TYPE_CHECKING:
    from ledger.kept_bodies import BodyState
    from ledger.keys import SigningKey
    from ledger.log import Log
    from ledger.policy import Policy


class Unproved(LedgerError):
    """The service says something of a statement that it cannot prove."""

    exit_code = 1


@dataclass(frozen=True)
class Place:
    """Where a statement stands.

    Attributes:
        index: its entry.
        receipt: proof that it is final, if it is.
        promise: the log's word that it will be in the tree by a time, while it is not final.
        body: where its body is, if it names one.
        policy: the one by which the receipt was found to hold, if it was looked at.
    """

    index: int
    receipt: bytes | None
    promise: bytes | None = None
    body: BodyState | None = None
    policy: Policy | None = None

    @property
    def words(self) -> str:
        """For people."""
        return f"entry {self.index}, {'final' if self.receipt else 'not final yet'}"


def put(
    statements: Sequence[bytes],
    home: Path,
    address: str,
    ca: Path | None,
    speaker: tuple[str, SigningKey],
    *,
    wait_s: float = 0.0,
    bodies: Mapping[int, bytes] | None = None,
) -> list[Place]:
    """Put statements on the ledger; what is there already keeps its place.

    Args:
        home: whose address is used when none is given, and whose database when it has none either.
        speaker: who calls, and its key.
        wait_s: how long to wait for them to be final.
        bodies: encrypted bodies, by their statement's position; they must be the speaker's own.

    Raises:
        Refused: a rule forbids one.
        Unreachable: the service does not answer.
        Unproved: its receipt or promise does not hold.
    """
    from ledger.homes import POLICY

    where = address_of(home, address)
    if not where and sequences(home):
        return _append(statements, home, speaker[0], bodies or {})
    load_policy(home / POLICY)  # before anything is sent: without it no answer could be checked
    with connected(where, home, ca, speaker) as client:
        results = client.submit(list(statements), bodies=bodies, wait_s=wait_s)
    places = []
    for raw, result in zip(statements, results, strict=True):
        if isinstance(result, Exception):
            raise result
        places.append(_checked(Place(result.index, result.receipt, result.promise, result.body), raw, home))
    return places


def _checked(place: Place, raw: bytes, home: Path) -> Place:
    """The place, when its receipt or promise is what the service says: the log's, and of this statement.

    Raises:
        Unproved: it is not, under the home's policy.
    """
    from ledger.homes import POLICIES, POLICY
    from ledger.statement import decode_statement

    policies = load_policies(home if (home / POLICIES).is_dir() else home / POLICY)
    policy = policies.known[str(home / POLICY)]
    try:
        if place.receipt is not None:
            name, proved = policies.verify(place.receipt, raw)
            if proved.index != place.index:
                raise Unproved("it is for another place")
            return replace(place, policy=policies.known[name])
        if place.promise is not None:
            _check_promise(place, decode_statement(raw).digest, policy)
    except LedgerError as error:
        what = "receipt" if place.receipt is not None else "promise"
        raise Unproved(
            f"the service gives entry {place.index} and a {what} that does not hold under {home / POLICY}: {error}; "
            "when members or keys have just changed, let the witness catch up and run this again"
        ) from None
    return place


def _check_promise(place: Place, digest: bytes, policy: Policy) -> None:
    from ledger.service.promise import BadPromise, open_promise

    for log in policy.logs:
        try:
            promise = open_promise(place.promise or b"", log.key)
        except BadPromise:
            continue
        if (promise.origin, promise.digest, promise.index) == (log.name, digest, place.index):
            return
    raise Unproved("it is not by the log's key, or of another statement")


def sequences(home: Path) -> bool:
    """Whether the home has a ledger of its own, not a mirror of another's."""
    from ledger.homes import LEDGER, Settings

    return bool(Settings.load(home).database) or (home / LEDGER).is_file()


@contextmanager
def own_log(home: Path) -> Iterator[Log]:
    """Be the sequencer for a moment.

    Raises:
        UsageError: another process is.
    """
    from ledger.homes import log_key_of
    from ledger.keys import SigningKey
    from ledger.log import Log

    try:
        log = Log.open(database(home, None), SigningKey.load(log_key_of(home)))
    except Locked as error:
        raise UsageError(f"{error}, or ask it: --address HOST:PORT") from None
    with log:
        yield log


def _append(statements: Sequence[bytes], home: Path, name: str, bodies: Mapping[int, bytes]) -> list[Place]:
    from ledger.kept_bodies import names_body
    from ledger.service import keeping
    from ledger.statement import decode_statement

    decoded = [decode_statement(raw) for raw in statements]
    for number, body in bodies.items():
        keeping.require_acceptable(body, decoded[number], name)
    with own_log(home) as log:
        indices = log.append(statements)
        log.checkpoint()
        taken = keeping.keep(log, name, [(decoded[number].digest, body) for number, body in bodies.items()])
        states = keeping.states(log, [one.digest for one in decoded if names_body(one)], taken)
        return [
            Place(index, log.receipt(index) if index < log.final_size else None, None, states.get(one.digest))
            for index, one in zip(indices, decoded, strict=True)
        ]


def receipts_of(indices: Sequence[int], home: Path | None, address: str, ca: Path | None) -> dict[int, bytes]:
    """Receipts of final entries: from the service, or made here with the log's key.

    Raises:
        UsageError: neither is at hand.
        NotFinal: an entry is not final.
    """
    if address:
        with connected(address, home, ca) as client:
            return dict(client.receipt(index=index) for index in indices)
    if home is None or not sequences(home):
        raise UsageError("receipts are made by the log: give --address of its service")
    with own_log(home) as log:
        return {index: log.receipt(index) for index in indices}
