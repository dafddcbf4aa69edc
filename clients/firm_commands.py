"""`artesian firm`: check a table, see what privacy is spent, see where the firm stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.bundle_commands import approve_app, apps, refusals
from clients.check_commands import check
from clients.dispute_commands import open_dispute
from clients.doctor.commands import firm_doctor
from clients.help_panels import arrange
from clients.join_commands import join_firm
from clients.key_commands import forget_epoch
from clients.metrics_commands import metrics
from clients.migrate_commands import migrate
from clients.pause_commands import pause, resume
from clients.personal.commands import forecast, personalise, score
from clients.plan_commands import plan
from clients.policy_commands import take_policy
from clients.release_commands import take_release
from clients.renewal_commands import renew
from clients.statement_commands import privacy_statement
from clients.up_commands import down, processes, up
from clients.voting_commands import approve, proposals
from clients.wallet_commands import adopt, backup, forgotten, planned, restore
from clients.wallet_commands import check as check_wallet
from clients.what_if_commands import what_if

if TYPE_CHECKING:
    from clients.firm import Firm
    from ledger.rules import State

app = typer.Typer(
    no_args_is_help=True,
    help="Join a consortium, take part in its training, and see what is spent: privacy, and on what.",
    epilog="Example: artesian firm check --spec task.toml --data table.csv",
)

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_LATEST = 5  # rounds that `status` lists for each task

app.command(
    epilog="Example: artesian firm check --home firm-1\n\nExample: artesian firm check --spec task.toml --data t.csv"
)(check)


@app.command(epilog="Example: artesian firm wallet --home firm-1")
def wallet(home: Home, as_json: Json = False) -> None:
    """Show what each table may spend of its privacy, what was spent on what, and what more would cost.

    Exits with 1 if more was spent than the wallet knows; then it does not say what there is room for.
    """
    from clients.firm import Firm

    firm = Firm(home)
    accounts, problem = wallet_accounts(firm), forgotten(firm)
    if problem is not None:
        accounts = [{**one, "next": None} for one in accounts]
    if as_json:
        facts = {"ok": problem is None, "member": firm.member, "accounts": accounts, "problem": problem}
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        if problem is not None:
            typer.echo(f"More was spent than this. {problem}")
        for one in accounts:
            _print_account(one)
    if problem is not None:
        raise typer.Exit(1)


def wallet_accounts(firm: Firm) -> list[dict[str, Any]]:
    """Every account of the firm's wallet, and an empty one for each task that has spent nothing yet.

    Read without `Firm.wallet`, which lowers caps to what `firm.toml` says: to look must not bind.
    """
    from clients.accounts import Account
    from clients.wallet_report import account_report
    from clients.wallet_row import Cap

    with firm.wallet_as_it_is() as wallet:
        accounts, spent = {(one.unit, one.dataset): one for one in wallet.report()}, wallet.purchases()
    for declared in firm.declared_tasks:
        key = (declared.unit, declared.dataset)
        accounts.setdefault(key, Account(*key))
    limits = firm.config.limits
    with planned(firm) as plan_of:
        return [
            account_report(
                account,
                [one for one in spent if (one.unit, one.dataset) == key],
                account.cap or Cap(limits.epsilon, limits.delta),
                int(firm.now() * 1000),
                plan_of,
                limits.epsilon_year,
            )
            for key, account in sorted(accounts.items())
        ]


def _print_account(account: Mapping[str, Any]) -> None:
    from clients.wallet_report import lines_of

    for line in lines_of(account):
        typer.echo(line)


@app.command(epilog="Example: artesian firm status --home firm-1")
def status(
    home: Home,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody; only the firm's own files.")] = False,
    as_json: Json = False,
) -> None:
    """Show where the firm stands: processes, tasks, mirrored ledger, wallet; and what the coordinator waits for.

    Also when news last came from the coordinator, until when the certificate holds, whether the firm sits out, open
    rounds that wait for it, and what it has refused lately. All of that is from the firm's own files. The coordinator
    is asked one thing, in the firm's name: which task waits, for whom and until when.

    Exits with 1 if the wallet has forgotten what its journal or the ledger shows, or the same records have paid from
    another account of it.
    """
    from clients.coordinator_view import asked
    from clients.firm import Firm
    from clients.firm_live import live

    firm = Firm(home)
    facts: dict[str, Any] = {
        "member": firm.member,
        "consortium": firm.config.cid,
        "tasks": [
            {
                "name": task.name,
                "declared_units": task.units,
                "data": task.location,
                "privacy_unit": firm.declared(task.name).unit,
            }
            for task in firm.config.task
        ],
        "now": live(firm),
        "coordinator": None if offline else asked(home, firm.now),
        "ledger": mirrored_ledger(firm),
        "wallet": wallet_accounts(firm),
        "problem": forgotten(firm),
    }
    if as_json:
        typer.echo(json.dumps({"ok": facts["problem"] is None, **facts}, ensure_ascii=False))
    else:
        _print_status(facts)
    if facts["problem"] is not None:
        raise typer.Exit(1)


def _print_status(facts: Mapping[str, Any]) -> None:
    from clients.coordinator_view import shown
    from clients.firm_live import lines_of

    typer.echo(f"{facts['member']} of {facts['consortium']}")
    if facts["problem"] is not None:
        typer.echo(f"More was spent than the wallet says below. {facts['problem']}")
    for line in lines_of(facts["now"]):
        typer.echo(line)
    for line in shown(facts["coordinator"]):
        typer.echo(line)
    for task in facts["tasks"]:
        typer.echo(f"Task {task['name']}: {task['declared_units']} units declared, table {task['data']}")
        typer.echo(f"  privacy unit: {task['privacy_unit']}")
    _print_ledger(facts["ledger"])
    for one in facts["wallet"]:
        _print_account(one)


app.command("join", epilog="Example: artesian firm join firm-1.txt --home firm-1")(join_firm)
app.command("proposals", epilog="Example: artesian firm proposals --home firm-1")(proposals)
app.command("approve", epilog="Example: artesian firm approve enrol-firm-9 --home firm-1")(approve)
app.command("renew", epilog="Example: artesian firm renew --home firm-1")(renew)
app.command("doctor", epilog="Example: artesian firm doctor --home firm-1")(firm_doctor)
app.command("plan", epilog="Example: artesian firm plan 4f2a --home firm-1")(plan)
app.command("privacy-statement", epilog="Example: artesian firm privacy-statement credit --language zh --home firm-1")(
    privacy_statement
)
app.command("what-if", epilog="Example: artesian firm what-if 1 1 --cap 8")(what_if)
app.command("open-dispute", epilog="Example: artesian firm open-dispute 4f2a --to bank-1 -o opening --home firm-1")(
    open_dispute
)
app.command("take-release", epilog="Example: artesian firm take-release FOLDER --home firm-1")(take_release)
app.command("take-policy", epilog="Example: artesian firm take-policy new/consortium.toml --home firm-1")(take_policy)
app.command("wallet-check", epilog="Example: artesian firm wallet-check --home firm-1")(check_wallet)
app.command("wallet-backup", epilog="Example: artesian firm wallet-backup /mnt/safe/wallet-1 --home firm-1")(backup)
app.command("wallet-restore", epilog="Example: artesian firm wallet-restore /mnt/safe/wallet-1 --home firm-1")(restore)
app.command("wallet-adopt", epilog="Example: artesian firm wallet-adopt --home firm-1")(adopt)
app.command(epilog="Example: artesian firm personalise demand --home firm-1")(personalise)
app.command(epilog="Example: artesian firm forecast demand --home firm-1 --out forecast.csv")(forecast)
app.command(epilog="Example: artesian firm score credit --data new.csv --home firm-1")(score)
app.command(epilog='Example: artesian firm pause credit --until 2027-01-04 --reason "stock-taking" --home firm-1')(
    pause
)
app.command(epilog="Example: artesian firm resume credit --home firm-1")(resume)
app.command(epilog="Example: artesian firm apps --home firm-1")(apps)
app.command("approve-app", epilog="Example: artesian firm approve-app 5d41...9c3b --home firm-1")(approve_app)
app.command(epilog="Example: artesian firm refusals --home firm-1 --most 5")(refusals)
app.command(epilog="Example: artesian firm metrics --home firm-1 --once")(metrics)
app.command(epilog="Example: artesian firm migrate --home firm-1 --dry-run")(migrate)
app.command(epilog="Example: artesian firm up --home firm-1")(up)
app.command(epilog="Example: artesian firm down --home firm-1")(down)
app.command(epilog="Example: artesian firm processes --home firm-1 --json")(processes)
app.command("forget-epoch", epilog="Example: artesian firm forget-epoch --home firm-1")(forget_epoch)
arrange(
    app,
    {
        "Join and run": ("join", "check", "up", "down", "processes", "renew", "migrate"),
        "See how all stands": ("status", "doctor", "plan", "refusals", "metrics"),
        "Decide": ("pause", "resume", "proposals", "approve", "take-policy", "apps", "approve-app"),
        "Privacy": (
            *("wallet", "what-if", "privacy-statement", "wallet-check", "wallet-backup", "wallet-restore"),
            *("wallet-adopt", "open-dispute", "forget-epoch"),
        ),
        "Use the models": ("personalise", "forecast", "score", "take-release"),
    },
)


def mirrored_ledger(firm: Firm) -> dict[str, Any] | None:
    """What the firm's own mirror of the ledger holds, recomputed from its first byte; None before there is one.

    Only reads, so it works beside a running client, and needs no key.

    Raises:
        ClientError: the mirror is of another member or consortium.
        Damaged: the mirror is not what was written.
    """
    from clients.firm_live import waited_for
    from clients.own_mirror import MIRROR, reading_mirror
    from ledger.replay import replay
    from ledger.rounds import contributions_of
    from ledger.statement import decode_statement

    if not (firm.home / MIRROR).exists():
        return None
    with reading_mirror(firm) as store:
        log, origin = firm.policy.logs[-1], store.meta()["origin"]
        state = replay(store, firm.config.cid, log, verify_all=False, at_checkpoint=lambda _: None).state
        given = contributions_of(decode_statement(raw) for raw in store.entries(0, state.size))
        evidence = len(store.evidence())
    mine = {round_id: by_firm[firm.member].index for round_id, by_firm in given.items() if firm.member in by_firm}
    rounds = {task.name: _rounds(state, mine, task.name) for task in firm.config.task}
    waits, known = waited_for(firm.member, state), state.members.get(firm.member)
    return {
        "origin": origin,
        "size": state.size,
        "suspended": known is not None and not known.active,
        "evidence_of_misbehaviour": evidence,
        "rounds": rounds,
        "open": waits,
    }


def _rounds(state: State, mine: Mapping[bytes, int], task: str) -> dict[str, Any]:
    """How often the firm took part in a task, and the latest rounds in which it did, newest first.

    Args:
        mine: the entry of the firm's contribution, by round.
    """
    of_task = [one for one in state.rounds.values() if one.task == task and one.id in mine]
    of_task.sort(key=lambda one: one.index, reverse=True)
    latest = [{"round": one.id.hex(), "entry": mine[one.id], "phase": str(one.phase)} for one in of_task[:_LATEST]]
    return {"contributions": len(of_task), "latest": latest}


def _print_ledger(ledger: Mapping[str, Any] | None) -> None:
    if ledger is None:
        typer.echo("Ledger: nothing mirrored yet.")
        return
    typer.echo(f"Ledger {ledger['origin']}: {ledger['size']} entries mirrored and checked")
    if ledger["suspended"]:
        typer.echo("This firm is suspended: a quorum of the members has shut it out; it comes back by a new invite")
    if ledger["evidence_of_misbehaviour"]:
        typer.echo(
            f"{ledger['evidence_of_misbehaviour']} proofs that the log contradicted itself: show the other members"
        )
    for one in ledger["open"]:
        waits = "has this firm's contribution" if one["contributed"] else "waits for this firm's contribution"
        typer.echo(f"Round {one['round'][:12]} of {one['task']} is open and {waits}")
    for task, rounds in ledger["rounds"].items():
        typer.echo(f"Rounds of {task} with a contribution of this firm: {rounds['contributions']}")
        for one in rounds["latest"]:
            typer.echo(f"  round {one['round'][:12]} {one['phase']}, contribution is entry {one['entry']}")
