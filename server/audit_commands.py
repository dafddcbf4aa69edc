"""`artesian audit`: recompute models from the ledger and the artifacts, on anybody's machine."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.audit_options import Artifacts, Home, Json, Ledger, Policy, copies
from server.dispute_commands import dispute
from server.measurement_audit import measurement
from server.root_audit import root

if TYPE_CHECKING:
    from server.audit_report import Audit, RoundAudit

app = typer.Typer(
    no_args_is_help=True,
    help="Recompute models bit for bit from copies of the ledger and the artifacts.",
    epilog="Example: artesian audit all --home coordinator",
)


@app.command("all", epilog="Example: artesian audit all --ledger mirror.db --artifacts copy --policy policy.txt")
def every_round(
    home: Home = Path(),
    ledger: Ledger = None,
    artifacts: Artifacts = None,
    policy: Policy = None,
    as_json: Json = False,
) -> None:
    """Replay the ledger and recompute every aggregate. Exit code 1 if anything does not match."""
    audit = _audit(home, ledger, artifacts, policy)
    _show(audit, audit.rounds, as_json)


@app.command("round", epilog="Example: artesian audit round 4f2a --home coordinator")
def one_round(
    round_id: Annotated[str, typer.Argument(help="The round's id, or how it begins, in hexadecimal.")],
    home: Home = Path(),
    ledger: Ledger = None,
    artifacts: Artifacts = None,
    policy: Policy = None,
    as_json: Json = False,
) -> None:
    """Replay the ledger and recompute one round's aggregate."""
    show_round(round_id, home, ledger, artifacts, policy, as_json)


def show_round(
    round_id: str, home: Path, ledger: Path | str | None, artifacts: Path | None, policy: Path | None, as_json: bool
) -> None:
    """What `artesian audit round` does; see its help.

    Args:
        ledger: a file, or the URL of a database.
    """
    from server.audit import NoSuchRound

    audit = _audit(home, ledger, artifacts, policy, round_id.lower())
    if audit.problem is None and len(audit.rounds) != 1:
        found = "no aggregated round" if not audit.rounds else f"{len(audit.rounds)} rounds"
        raise NoSuchRound(f"round {round_id}: the ledger has {found} of this id; `artesian audit all` lists them")
    _show(audit, audit.rounds, as_json)


app.command("dispute", epilog="Example: artesian audit dispute opening --home bank-1 --artifacts copy")(dispute)
app.command(
    "measurement",
    epilog="Example: artesian audit measurement figures.json --spec tasks/credit.toml --home coordinator",
)(measurement)
app.command("root", epilog="Example: artesian audit root root.csv --spec tasks/credit.toml --home coordinator")(root)


def _audit(
    home: Path, ledger: Path | str | None, artifacts: Path | None, policy: Path | None, only: str = ""
) -> "Audit":
    from server.audit import audit_copies

    where, store, trusted = copies(home, ledger, artifacts, policy)
    return audit_copies(where, store, trusted, only)


def _show(audit: "Audit", rounds: "tuple[RoundAudit, ...]", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**_summary(audit), "rounds": [_document(one, audit) for one in rounds]}))
    else:
        for one in rounds:
            typer.echo(f"{_name(one)}: {_finding(one, audit)}")
        typer.echo(_sentence(audit))
    if not audit.ok:
        raise typer.Exit(1)


def _finding(one: "RoundAudit", audit: "Audit") -> str:
    if one.problem is not None:
        return one.problem
    if one.deleted is None and one.opened_by is not None:
        return (
            f"{len(one.firms)} firms, ciphertexts added up again bit for bit; that they open to this sum is the word "
            f"of {one.opened_by}, and the model follows from it"
        )
    if one.deleted is None:
        what = f", a measurement of {one.measures} that leaves the model as it was" if one.measures else ""
        return f"{len(one.firms)} firms, recomputed bit for bit{_taken(one)}{what}"
    final = "" if _is_final(one.deleted, audit) is not False else " (not final in this copy of the ledger)"
    return (
        f"deleted under the policy recorded in entry {one.deleted}{final}, not recomputable; "
        "model chain checked from its stored model"
    )


def _taken(one: "RoundAudit") -> str:
    """What was taken as it is, beside the contributions."""
    root = "; root gradient: the coordinator's word (artesian audit root checks it, with the table)"
    votes = f"; {one.voted} of {len(one.firms)} contributors voted"
    return (root if one.root_by_word else "") + (votes if one.voted is not None else "")


def _is_final(entry: int | None, audit: "Audit") -> bool | None:
    """Whether an entry is final, where the copy of the ledger tells."""
    return entry < audit.final_size if entry is not None and audit.final_size else None


def _summary(audit: "Audit") -> dict[str, Any]:
    return {
        "ok": audit.ok,
        "problem": _problem(audit),
        "entries": audit.entries,
        "final": audit.final_size,
        "trusted": audit.trusted,
        "unfinished": audit.unfinished,
        "recomputed": audit.recomputed,
        "deleted": audit.deleted,
    }


def _document(one: "RoundAudit", audit: "Audit") -> dict[str, Any]:
    return {
        "ok": one.ok,
        "task": one.task,
        "round": one.round_id.hex(),
        "number": one.number,
        "entry": one.entry,
        "firms": list(one.firms),
        "model": None if one.model is None else one.model.hex(),
        "measures": one.measures or None,
        "problem": one.problem,
        "recomputed": one.recomputed,
        "opened_by": one.opened_by,
        "root_gradient": "the coordinator's word" if one.root_by_word else None,
        "voted": one.voted,
        "deleted_by_entry": one.deleted,
        "deletion_is_final": _is_final(one.deleted, audit),
    }


def _problem(audit: "Audit") -> str | None:
    """The first thing that is wrong with the ledger, or with a round."""
    rounds = (f"{_name(one)}: {one.problem}" for one in audit.rounds if not one.ok)
    return next(rounds, None) if audit.problem is None else audit.problem


def _name(one: "RoundAudit") -> str:
    return f"{one.task} round {one.number} ({one.round_id.hex()[:8]}, entry {one.entry})"


def _sentence(audit: "Audit") -> str:
    if audit.problem is not None:
        return audit.problem
    wrong = sum(not one.ok for one in audit.rounds)
    trust = f"{audit.final_size} final" if audit.final_size else "a member's mirror"
    if not audit.trusted:
        trust = "checked against the ledger's own key: give --policy to check it against yours"
    outcome = "1 round matches" if audit.recomputed == 1 else f"{audit.recomputed} rounds match"
    if wrong:
        outcome = f"{wrong} of {len(audit.rounds)} rounds do not match"
    if audit.by_word:
        outcome += f", {audit.by_word} of them with root gradients on the coordinator's word"
    if audit.deleted:
        outcome += f", {audit.deleted} are deleted under a recorded policy and were not recomputed"
    return f"{outcome}; {audit.entries} entries replayed, {trust}; {audit.unfinished} rounds without an aggregate"
