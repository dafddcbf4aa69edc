"""`artesian firm wallet-check`, `-backup`, `-restore` and `-adopt`: a wallet that forgets nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clients.firm import Firm
    from clients.plan import Plan
    from clients.wallet_ledger import LedgerView
    from clients.wallet_repair import Repaired
    from clients.wallet_report import PlanOf

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def check(home: Home, as_json: Json = False) -> None:
    """Hold the wallet against its journal and the whole ledger. Exits with 1 if anything was changed or forgotten."""
    from clients.firm import Firm
    from clients.firm_wallet import journal_path, require_one_account, wallet_path
    from clients.wallet_copies import require_same
    from clients.wallet_ledger import require_booked

    firm = Firm(home)
    path = wallet_path(firm.home, firm.config)
    journal = journal_path(path)
    with firm.wallet_as_it_is() as wallet:
        (rows, digest), compared = wallet.head, None
        if journal.exists():
            require_same(wallet, journal)
        with ledger_view(firm) as view:
            if view is not None:
                compared = require_booked(wallet, view, firm.config, start=0)
        for payer in firm.declared_tasks:
            require_one_account(wallet, firm.home, payer)
    facts = {"rows": rows, "head": digest.hex(), "journal": journal.exists(), "final_entries_compared": compared}
    if as_json:
        typer.echo(json.dumps({"ok": True, "member": firm.member, **facts}, ensure_ascii=False))
        return
    typer.echo(f"{path}: {rows} rows, up to {digest.hex()[:16]}")
    typer.echo("Its journal agrees." if journal.exists() else "It has no journal yet; the next spending writes one.")
    typer.echo(_compared(compared))


def backup(
    out: Annotated[Path, typer.Argument(help="A new file for the copy.")], home: Home, as_json: Json = False
) -> None:
    """Copy the wallet to a new file, also while the client runs, and read the copy back."""
    from clients.firm import Firm
    from clients.wallet_repair import back_up

    firm = Firm(home)
    rows, digest = back_up(firm.home, firm.config, out)
    if as_json:
        facts = {"ok": True, "member": firm.member, "file": str(out), "rows": rows, "head": digest.hex()}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    typer.echo(f"{out}: {rows} rows, up to {digest.hex()[:16]}. Keep it on another machine.")


def restore(
    copy: Annotated[Path, typer.Argument(metavar="COPY", help="A backup of the wallet, or a wallet's journal.")],
    home: Home,
    as_json: Json = False,
) -> None:
    """Bring the wallet up to what a backup, its journal and the ledger know: spend is added, never taken away.

    Stop the firm's client first. A damaged wallet is moved aside and kept.
    """
    _mend(home, copy, as_json)


def adopt(home: Home, as_json: Json = False) -> None:
    """Book what the wallet has forgotten, and its journal or the ledger knows. Stop the firm's client first."""
    _mend(home, None, as_json)


def _mend(home: Path, copy: Path | None, as_json: bool) -> None:
    from clients.firm import Firm
    from clients.wallet_repair import repair

    firm = Firm(home)
    with ledger_view(firm) as view:
        done = repair(firm.home, firm.config, firm.declared, view, copy)
        compared = None if view is None else view.final
    if as_json:
        typer.echo(json.dumps({"ok": True, "member": firm.member, **_facts(done, compared)}, ensure_ascii=False))
        return
    typer.echo(
        f"{done.rows} rows taken over, {done.booked} spends booked from copies that had parted, "
        f"{done.from_ledger or 0} from the ledger; the wallet has {done.head[0]} rows."
    )
    if done.aside is not None:
        typer.echo(f"The damaged file is kept as {done.aside}.")
    typer.echo(_compared(compared))
    typer.echo("What no copy and no ledger knows stays unknown: openings and unfinished rounds of another machine.")


def _facts(done: Repaired, compared: int | None) -> dict[str, Any]:
    return {
        "rows_taken": done.rows,
        "booked": done.booked,
        "booked_from_ledger": done.from_ledger,
        "aside": None if done.aside is None else str(done.aside),
        "rows": done.head[0],
        "head": done.head[1].hex(),
        "final_entries_compared": compared,
    }


def _compared(entries: int | None) -> str:
    if entries is None:
        return "There is no mirror of the ledger to compare it with; the client does that before it pays."
    return f"All contributions among the {entries} final entries of the ledger are paid for in it."


def forgotten(firm: Firm) -> str | None:
    """What is wrong with a wallet that can be read, in one line.

    It lacks what its journal or the ledger shows, or the same records have paid from another account of it.
    """
    from clients.firm_wallet import CountedOtherwise, TwoNames, journal_path, require_one_account, wallet_path
    from clients.wallet import WalletBehind, WalletDamaged
    from clients.wallet_copies import require_same
    from clients.wallet_ledger import require_booked
    from ledger.errors import LedgerError

    journal = journal_path(wallet_path(firm.home, firm.config))
    try:
        with firm.wallet_as_it_is() as wallet:
            if journal.exists():
                require_same(wallet, journal)
            with suppress(LedgerError), ledger_view(firm) as view:
                if view is not None:
                    require_booked(wallet, view, firm.config)
            for payer in firm.declared_tasks:
                require_one_account(wallet, firm.home, payer)
    except (CountedOtherwise, TwoNames, WalletBehind, WalletDamaged) as error:
        return str(error)
    return None


@contextmanager
def ledger_view(firm: Firm) -> Iterator[LedgerView | None]:
    """The firm's own mirror of the ledger, read beside a running client; None before there is one, or without a ledger.

    Raises:
        WitnessRefusal: it is the mirror of another member, consortium or log.
        Damaged: it is not what was written.
    """
    from clients.own_mirror import MIRROR, reading_mirror
    from clients.wallet_ledger import LedgerView
    from ledger.commands.places import mirror_standing

    if firm.config.limits.without_ledger or not (firm.home / MIRROR).exists():
        yield None
        return
    with reading_mirror(firm) as store:
        standing = mirror_standing(firm.home)
        assert standing is not None, "the mirror was there a moment ago"
        yield LedgerView(standing.state, standing.final_size, store.entries)


@contextmanager
def planned(firm: Firm) -> Iterator[PlanOf]:
    """Finds the plans of rounds in the firm's mirror of the ledger, as far as there is one that can be read."""
    from clients.errors import ClientError
    from clients.plan import Plan
    from ledger.errors import LedgerError
    from ledger.statement import decode_statement

    with ExitStack() as stack:
        try:
            view = stack.enter_context(ledger_view(firm))
        except (ClientError, LedgerError):  # what the wallet holds is shown all the same
            view = None

        def plan_of(round_id: str) -> Plan | None:
            with suppress(ValueError, ClientError, LedgerError):
                known = None if view is None else view.state.rounds.get(bytes.fromhex(round_id))
                if view is not None and known is not None:
                    payload = decode_statement(view.entries(known.index, known.index + 1)[0]).payload
                    return Plan.from_map(payload["plan"])
            return None

        yield plan_of
