"""How a ledger is doing, for whoever watches over it: what is final, what waits, and how far each witness is."""

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.checkpoint import witness_name
from ledger.rules import State
from ledger.store import Store


@dataclass(frozen=True)
class Health:
    """What a sequencer's ledger says of itself at some moment.

    Attributes:
        origin: the log's name.
        size: number of entries.
        checkpoint_size: number of entries that its newest checkpoint covers.
        final_size: how many are final.
        waiting_s: for how many seconds the oldest entry that is not final has waited; 0 when all are final.
        cosigned: by active member, the size of the newest checkpoint that its witness is known to have cosigned, 0 if
            none of the newest. A line on a checkpoint before the last final one is not kept: while much comes in, a
            slow witness may be further than this.
        audited: entries 0 to `audited - 1` were found sound since the start, or written since; None if not known.
    """

    origin: str
    size: int
    checkpoint_size: int
    final_size: int
    waiting_s: float
    cosigned: Mapping[str, int]
    audited: int | None

    @property
    def behind(self) -> dict[str, int]:
        """By active member, how many entries of the newest checkpoint it has not cosigned."""
        return {member: max(self.checkpoint_size - size, 0) for member, size in self.cosigned.items()}


def health_of(store: Store, origin: str, state: State, final_size: int, now_s: float, audited: int | None) -> Health:
    """How the sequencer's ledger in `store` is doing, which stands at `state`.

    Args:
        now_s: seconds since the epoch.
        audited: as `Health.audited`.

    Raises:
        Damaged: the time of an entry is not what was written.
    """
    lines = store.newest_cosigners()
    waits = final_size < state.size
    return Health(
        origin=origin,
        size=state.size,
        checkpoint_size=store.latest_checkpoint(),
        final_size=final_size,
        waiting_s=max(0.0, now_s - store.accepted([final_size])[final_size]) if waits else 0.0,
        cosigned={one.member: lines.get(witness_name(origin, one.member), 0) for one in state.active()},
        audited=audited,
    )
