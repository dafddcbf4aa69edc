"""`artesian ledger status`: how the ledger is doing, for an operator and for monitoring."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering
from ledger.commands.connecting import Address, Authority, address_of, connected
from ledger.commands.places import Home, ledger_of, reading, standing

if TYPE_CHECKING:
    from ledger.health import Health


def status(
    home: Home = None,
    address: Address = "",
    ca: Authority = None,
    promise_s: Annotated[
        float, typer.Option("--promise-s", min=0, help="Without a service: how long an entry may wait to be final.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Show size, checkpoint, what is final and what waits, how far each witness is behind, and the audit's progress.

    It asks the service at --address, or at the one that a member's home knows; a sequencer's --home alone is read from
    its database, and says nothing of the process. Exit codes: 0 healthy, 1 an entry has waited to be final for longer
    than the log promises, 3 the service cannot be reached.
    """
    with answering(as_json):
        where = address_of(home, address)
        if where:
            with connected(where, home, ca) as client:
                health, promise_s = client.status()
        elif home is not None:
            health = _in_database(home)
        else:
            raise UsageError("give --address with HOST:PORT of the ledger's service, or --home")
        ok = health.waiting_s <= promise_s
        answer({"ok": ok, "promise_s": promise_s, **_facts(health)}, _words(health, promise_s), as_json)
    if not ok:
        raise typer.Exit(1)


def _in_database(home: Path) -> Health:
    from ledger.health import health_of

    location, at = ledger_of(home), standing(home)
    with reading(location) as store:
        return health_of(store, at.origin, at.state, at.final_size, time.time(), store.audited() or None)


def _facts(health: Health) -> dict[str, object]:
    witnesses = [
        {"member": member, "cosigned": health.cosigned[member], "behind": behind}
        for member, behind in health.behind.items()
    ]
    return {**{name: value for name, value in vars(health).items() if name != "cosigned"}, "witnesses": witnesses}


def _words(health: Health, promise_s: float) -> list[str]:
    words = [
        f"{health.origin}: {health.size} entries, {health.checkpoint_size} under the newest checkpoint, "
        f"{health.final_size} final."
    ]
    for member, behind in health.behind.items():
        cosigned = health.cosigned[member]
        how_far = "up to date" if not behind else f"{behind} behind" if cosigned else "none of the newest"
        words.append(f"  {member:<16} cosigned {cosigned:>7}  {how_far}")
    if health.audited is not None:
        words.append(f"{health.audited} of {health.size} entries audited since the start.")
    if health.final_size < health.size:
        words.append(
            f"The oldest entry that is not final, {health.final_size}, has waited {health.waiting_s:.0f} s; "
            f"the log promises {promise_s:.0f} s."
        )
    return words
