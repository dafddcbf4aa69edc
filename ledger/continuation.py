"""A log taken up somewhere else: by another sequencer after a handover, or by the same one from a copy."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from ledger.checkpoint import CheckpointError, SignedCheckpoint
from ledger.electorate import Electorate
from ledger.errors import StoreError
from ledger.intake import Forbidden, Intake
from ledger.keys import SigningKey
from ledger.log import Clock, Log
from ledger.mirror import Mirror
from ledger.note import Vkey, join_note
from ledger.postgresql import is_url
from ledger.replay import Replayed
from ledger.source import Copy
from ledger.statement import decode_statement
from ledger.store import Store

_CHUNK = 1024

Body: TypeAlias = tuple[bytes, bytes, str]
"""A statement's digest, its encrypted body (empty once erased), and who handed it in: `ledger.store.Store.bodies`."""


def continue_log(
    location: str | os.PathLike[str],
    source: Copy,
    key: SigningKey,
    handover: bytes | None = None,
    *,
    founded: Vkey,
    cid: str,
    clock: Clock = time.time,
    bodies: Iterable[Body] = (),
) -> Log:
    """Start a log database with all that `source` has, re-checked from its first byte, and open it.

    Args:
        location: path of a new SQLite file, or the URL of an empty PostgreSQL database.
        source: a member's mirror or an exported directory; the longest that there is.
        key: the log's: the one that the handover names, or without a handover the present one.
        handover: the approved record, signed: the first new entry. None when the same sequencer comes back from a
            copy: it must be at least as long as what any witness has cosigned.
        founded: the key that the log was founded with.
        cid: the consortium's id.
        bodies: what to keep beside it, from a backup: also of statements that are not on it yet and may come again.

    Raises:
        StoreError: there is a ledger already, or it cannot be written; nothing was left behind.
        WitnessRefusal, Misbehaviour: the source is not what it should be.
        Refused: the handover breaks a rule: too few approvals, or another base than what the source has.
        CheckpointError: `key` is not the key that the log has then, or the base of the handover is not final.
    """
    with Mirror(None, founded, cid, clock) as mirror:
        mirror.rebuild(source)
        _require_base(mirror, key, handover)
        if is_url(os.fspath(location)):
            _write(Store(location), mirror, founded, handover, int(clock()), bodies)
        else:
            _write_file(Path(location), mirror, founded, handover, int(clock()), bodies)
    return Log.open(location, key, clock)


def _require_base(mirror: Mirror, key: SigningKey, handover: bytes | None) -> None:
    if handover is None:
        named = None if mirror.state.log is None else mirror.state.log.key.raw
    else:
        named = decode_statement(handover).payload.get("log")
        if mirror.final_size != mirror.size:
            raise CheckpointError(
                f"the source has {mirror.size} entries, of which {mirror.final_size} are final; a handover continues "
                "what is final: collect the members' cosignatures first"
            )
    if named != key.public.ed25519.raw:
        raise CheckpointError(f"this is not the key that the log {mirror.origin!r} has then; it needs a handover to it")


def _write_file(
    path: Path, mirror: Mirror, founded: Vkey, handover: bytes | None, now_s: int, bodies: Iterable[Body]
) -> None:
    if path.exists():
        raise StoreError(f"{path}: there is a ledger already; move it away first")
    unfinished = path.with_name(f".{path.name}.unfinished")
    remains = [unfinished.with_name(unfinished.name + end) for end in ("", "-wal", "-shm", ".lock")]
    for file in remains:
        file.unlink(missing_ok=True)
    try:
        _write(Store(unfinished), mirror, founded, handover, now_s, bodies)
        os.link(unfinished, path)  # unlike a rename, fails when the name is taken
    except FileExistsError:
        raise StoreError(f"{path}: there is a ledger already; move it away first") from None
    finally:
        for file in remains:
            file.unlink(missing_ok=True)


def _write(
    store: Store, mirror: Mirror, founded: Vkey, handover: bytes | None, now_s: int, bodies: Iterable[Body]
) -> None:
    cid = mirror.state.cid
    try:
        store.lock()
        store.create({"origin": founded.name, "cid": cid, "vkey": str(founded)})
        # Accepted now: who asks for one of them that is not final gets a promise that this log can keep.
        intake = Intake(Replayed.nothing(cid), Electorate(founded.name), accepted_s=now_s)
        notes = [SignedCheckpoint.parse(note) for note in mirror.notes()]
        with store.write() as transaction:
            for first in range(0, mirror.size, _CHUNK):
                intake.take(mirror.entries(first, min(first + _CHUNK, mirror.size)), transaction)
            if handover is not None:
                intake.take([handover], transaction)
            for signed in notes:
                own = [line for line in signed.lines if line.name == founded.name]
                lines = {line.name: str(line) for line in signed.lines if line.name != founded.name}
                transaction.put_checkpoint(signed.checkpoint.size, join_note(signed.body, own))
                transaction.put_cosignatures(signed.checkpoint.size, lines)
            for digest, envelope, owner in bodies:
                transaction.put_body(digest, envelope, owner)
    except Forbidden as error:
        raise error.reason from None
    finally:
        store.close()
