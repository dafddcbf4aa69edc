"""Whether a key can be the present one of a stored log: told from its last words, before anything is replayed."""

from ledger.keys import PublicKey
from ledger.note import NoteError, Vkey, parse_note
from ledger.store import Store


def can_be_the_key(store: Store, key: PublicKey, founding: Vkey) -> bool:
    """False when `key` is certainly not the present key of the log in `store`; True leaves it to the replay.

    The newest checkpoint is signed by the log's key of its moment, and a key that came after it is named by one of the
    entries after it. Before the first checkpoint the log's key is the one that it was founded with.

    Args:
        founding: the key that the log was founded with.

    Raises:
        Damaged: the newest checkpoint, or an entry after it, is not what was written.
    """
    covered, size = store.latest_checkpoint(), store.size()
    note = store.checkpoint_at(covered) if covered else None
    try:
        named = _is_signed_by(note, Vkey.of_log(founding.name, key)) if note else key == founding.key
    except NoteError:
        return True  # the replay says what is wrong with it
    return named or any(key.raw in raw for raw in store.entries(min(covered, size), size))


def _is_signed_by(note: str, vkey: Vkey) -> bool:
    return any(line.is_by(vkey) for line in parse_note(note)[1])
