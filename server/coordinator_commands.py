"""`artesian coordinator`: what the operator of the coordinator does."""

import contextlib
import json
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.help_panels import arrange
from server.admission_commands import (
    admit,
    proposals,
    register_nodes,
    renew,
    revoke_certificate,
    suspend,
)
from server.doctor_commands import doctor
from server.founding_commands import enrolment, init, invite, invites, withdraw
from server.measure_commands import measure, measured
from server.metrics_commands import metrics
from server.migrate_commands import migrate
from server.planner_commands import propose
from server.policy_commands import apps, propose_policy, take_policy
from server.run_commands import pause, resume, run, runner, runs, schedule, stop
from server.status_commands import status
from server.up_commands import down, processes, up

if TYPE_CHECKING:
    from server.ledger_copy import RecordedRound
    from server.pruning import Pruned
    from server.scoring.desk import Desk
    from server.scoring.service import Tls

app = typer.Typer(no_args_is_help=True, epilog="Example: artesian coordinator status --home coordinator")


@app.callback()
def main() -> None:
    """Found a consortium, admit its members, run its services, order training, and see how all stands."""


@app.command(epilog="Example: artesian coordinator scores --home coordinator --host 0.0.0.0 --port 8443")
def scores(
    home: Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8443,
    rate_per_s: Annotated[float, typer.Option(help="Questions a second for each bank.", min=0.001)] = 500.0,
    burst: Annotated[int, typer.Option(help="Questions that a rested bank may ask at once.", min=1)] = 5000,
) -> None:
    """Answer banks' score questions until SIGTERM or SIGINT."""
    import asyncio

    from server.scoring.service import Tls

    with open_desk(home, rate_per_s, burst) as desk:
        asyncio.run(_serve(desk, Tls.from_home(home), host, port))


@app.command(epilog="Example: artesian coordinator prune --home coordinator --dry-run")
def prune(
    home: Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")],
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", metavar="DAYS", help=r"Days after the release; default: what \[retention] says."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    r"""Delete what old rounds' updates were in, as \[retention] in coordinator.toml allows.

    Masked vectors, pair hashes and opened seeds; of encrypted rounds the ciphertexts, their pieces' hashes and what
    opened them.

    The ledger says first what is deleted and under which policy. When that is final, the bytes go; where it is not yet,
    they go with the next run of the coordinator, or when this command is given again.
    """
    from server.coordinator import Coordinator
    from server.live_record import wait_until_final
    from server.pruning import preview, prune
    from server.retention import require_policy

    with Coordinator(home) as coordinator:
        policy = require_policy(coordinator.config.retention_policy, older_than)
        if dry_run:
            done = preview(coordinator.read_entries(), coordinator.artifacts, policy, time.time())
        else:
            done = prune(coordinator, policy, time.time, lambda: wait_until_final(coordinator))
    rounds = {"recorded": done.recorded, "deleted": done.deleted, "waiting": done.waiting, "left_alone": done.unread}
    if as_json:
        listed = {name: [_round(one) for one in found] for name, found in rounds.items()}
        facts = {"ok": True, "days": policy.days, "dry_run": dry_run, "freed_bytes": done.freed_bytes}
        typer.echo(json.dumps({**facts, **listed}))
    else:
        typer.echo(f"kept {policy.days} days after the release: {_would(done) if dry_run else _did(done)}")
        if done.waiting and not dry_run:
            typer.echo(
                "What waits is deleted when its record is final: by the coordinator's next run, or by this command "
                "given again then."
            )
        if done.unread:
            typer.echo(f"{_rounds(done.unread)} left alone: this version cannot read their plans.")


app.command(epilog="Example: artesian coordinator propose tasks/credit.toml --firms 8 --units 3000 --epsilon 1")(
    propose
)


def _did(done: "Pruned") -> str:
    counts = f"{_rounds(done.recorded)} recorded, {_rounds(done.deleted)} deleted, {_rounds(done.waiting)} waiting"
    return f"{counts}; freed {done.freed_bytes} bytes"


def _would(done: "Pruned") -> str:
    """What a pruning would come to, in the end."""
    before = f" with {_rounds(done.waiting)} recorded before," if done.waiting else ""
    return f"would record {_rounds(done.recorded)};{before} would free {done.freed_bytes} bytes once that is final"


def _rounds(found: "Sequence[RecordedRound]") -> str:
    return f"{len(found)} round{'' if len(found) == 1 else 's'}"


def _round(one: "RecordedRound") -> dict[str, Any]:
    from server.pruning import number_of

    entry = None if one.deletion is None else one.deletion.entry
    return {"task": one.payload["task"], "round": one.id.hex(), "number": number_of(one), "deletion_entry": entry}


app.command(epilog="Example: artesian coordinator measure credit --what evaluation --epsilon 0.1 --home coordinator")(
    measure
)
app.command(epilog="Example: artesian coordinator measured credit --home coordinator")(measured)
app.command(
    "propose-policy", epilog="Example: artesian coordinator propose-policy new/consortium.toml --home coordinator"
)(propose_policy)
app.command("take-policy", epilog="Example: artesian coordinator take-policy new/consortium.toml --home coordinator")(
    take_policy
)
app.command(epilog="Example: artesian coordinator apps --home coordinator")(apps)
app.command(epilog="Example: artesian coordinator metrics --home coordinator --once")(metrics)
app.command(epilog="Example: artesian coordinator migrate --home coordinator --dry-run")(migrate)
app.command(epilog="Example: artesian coordinator run credit --wait --home coordinator")(run)
app.command(epilog='Example: artesian coordinator pause credit --reason "year-end" --home coordinator')(pause)
app.command(epilog="Example: artesian coordinator resume credit --home coordinator")(resume)
app.command(epilog="Example: artesian coordinator stop credit --home coordinator")(stop)
app.command(epilog="Example: artesian coordinator runs credit --home coordinator")(runs)
app.command(epilog="Example: artesian coordinator schedule --home coordinator")(schedule)
app.command(epilog="Example: artesian coordinator runner --home coordinator")(runner)
app.command(epilog="Example: artesian coordinator status --watch --home coordinator")(status)
app.command(epilog="Example: artesian coordinator up --home coordinator")(up)
app.command(epilog="Example: artesian coordinator down --home coordinator")(down)
app.command(epilog="Example: artesian coordinator processes --home coordinator --json")(processes)


app.command(epilog="Example: artesian coordinator init --home coordinator --cid acme --firm firm-1 --bank bank-1")(init)
app.command(epilog="Example: artesian coordinator invite firm-9 --kind firm --home coordinator")(invite)
app.command(epilog="Example: artesian coordinator invites --home coordinator")(invites)
app.command(epilog="Example: artesian coordinator doctor --home coordinator")(doctor)
app.command(epilog="Example: artesian coordinator withdraw firm-9 --home coordinator")(withdraw)
app.command(epilog="Example: artesian coordinator enrolment --home coordinator")(enrolment)
app.command(epilog="Example: artesian coordinator admit --all --home coordinator")(admit)
app.command(epilog="Example: artesian coordinator proposals --home coordinator")(proposals)
app.command(epilog='Example: artesian coordinator suspend firm-2 --reason "left" --home coordinator')(suspend)
app.command("revoke-certificate", epilog="Example: artesian coordinator revoke-certificate firm-2 --home coordinator")(
    revoke_certificate
)
app.command(epilog="Example: artesian coordinator renew --home coordinator")(renew)
app.command("register-nodes", hidden=True, epilog="Example: artesian coordinator register-nodes --home coordinator")(
    register_nodes
)
arrange(
    app,
    {
        "Found and run": ("init", "propose", "up", "down", "processes", "migrate"),
        "Members": (
            "invite",
            "invites",
            "withdraw",
            "admit",
            "proposals",
            "suspend",
            "propose-policy",
            "take-policy",
            "revoke-certificate",
            "renew",
        ),
        "Train and measure": ("run", "schedule", "pause", "resume", "stop", "runs", "measure", "measured"),
        "See how all stands": ("status", "doctor", "apps", "metrics"),
        "Keep less": ("prune",),
        "What `up` runs": ("enrolment", "scores", "runner"),
    },
)


@contextlib.contextmanager
def open_desk(home: Path, rate_per_s: float, burst: int) -> "Iterator[Desk]":
    """Put together what answering needs from the coordinator's home: key, ledger, certificates, releases.

    Where the ledger is served, this runs beside everything else; else it is this process's alone meanwhile.

    Raises:
        LedgerError, ServerError: a part is missing, damaged, in use or not reached.
    """
    from ledger.rules import COORDINATOR
    from ledger.service.peers import peers_of_home
    from server.coordinator import Coordinator
    from server.scoring.desk import Desk
    from server.scoring.on_ledger import QueryStatements, enrolled_in
    from server.scoring.present import PresentScorers
    from server.scoring.quota import Quota
    from server.scoring.recording import GroupRecorder

    with Coordinator(home) as coordinator:
        ledger, key = coordinator.ledger, coordinator.key
        write = QueryStatements(ledger.append, cid=ledger.cid, issuer=COORDINATOR, key=key, now_s=time.time)
        yield Desk(
            cid=ledger.cid,
            issuer=COORDINATOR,
            key=key,
            scorers=PresentScorers(home),
            is_enrolled=enrolled_in(lambda: ledger.state),
            quota=Quota(rate_per_s, burst, time.monotonic),
            record=GroupRecorder(write),
            now_ms=lambda: time.time_ns() // 1_000_000,
            peers=peers_of_home(home),
            require_sound=coordinator.require_sound,
        )


_LOOK_S = 1.0  # how often the score service looks whether it can ever answer again


async def _serve(desk: "Desk", tls: "Tls", host: str, port: int) -> None:
    import asyncio

    from server.scoring.service import ScoreServer

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = ScoreServer(desk, tls, host, port)
    await server.start()
    released = ", ".join(sorted(desk.scorers)) or "nothing yet"
    typer.echo(f"answering on {host}:{server.port} for {desk.cid}: {released}", err=True)
    try:
        while not stop.is_set():
            desk.require_sound()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_S)
    finally:
        await server.stop()
