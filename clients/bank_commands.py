"""`artesian bank`: ask for a score, and check an answer without any network."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.bank_home_commands import migrate, status
from clients.doctor.commands import bank_doctor
from clients.join_commands import join_bank
from clients.policy_commands import take_policy
from clients.renewal_commands import renew
from clients.voting_commands import approve, proposals

if TYPE_CHECKING:
    from clients.bank import AnswerFileError, BankClient, ScoredAnswer, VerifiedAnswer
    from clients.scoring.query import Query

app = typer.Typer(
    no_args_is_help=True,
    help="Join a consortium, ask for credit scores, and check the answers offline.",
    epilog="Example: artesian bank verify answer.cbor --home bank-1",
)

app.command("join", epilog="Example: artesian bank join bank-1.txt --home bank-1")(join_bank)
app.command(epilog="Example: artesian bank status --home bank-1")(status)
app.command(epilog="Example: artesian bank migrate --home bank-1 --dry-run")(migrate)
app.command("doctor", epilog="Example: artesian bank doctor --home bank-1")(bank_doctor)
app.command("proposals", epilog="Example: artesian bank proposals --home bank-1")(proposals)
app.command("approve", epilog="Example: artesian bank approve enrol-firm-9 --home bank-1")(approve)
app.command("take-policy", epilog="Example: artesian bank take-policy new/consortium.toml --home bank-1")(take_policy)
app.command("renew", epilog="Example: artesian bank renew --home bank-1")(renew)

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The bank's home directory.")]
Policy = Annotated[
    Path | None,
    typer.Option(
        help="The consortium's policy file, or a folder of those that it has had. Default: policy.txt and policies/ in "
        "the home."
    ),
]
FEATURES_HELP = "JSON file: column names of the task spec (without the label) and their values, null for missing."
SUBJECT_HELP = (
    "Who is asked about. Only a salted hash leaves. The salt is shown, and must be kept with the file of --out: "
    "without it nobody can show whom the answer is about."
)
OUT_HELP = "Keep the answer and its proof in this file, which must not exist yet. The salt of --subject is not in it."
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command(
    epilog="Example: artesian bank score --home bank-1 --address scores.example:8443 --features applicant.json"
)
def score(
    home: Home,
    features: Annotated[Path, typer.Option(help=FEATURES_HELP)],
    address: Annotated[
        str, typer.Option(help="The score service, HOST:PORT; default: as the home's joining says.")
    ] = "",
    task: Annotated[str, typer.Option(help="What is asked.")] = "credit",
    purpose: Annotated[str, typer.Option(help="Why, as a short slug. It goes on the ledger.")] = "loan-application",
    subject: Annotated[str, typer.Option(help=SUBJECT_HELP)] = "",
    out: Annotated[Path | None, typer.Option(help=OUT_HELP)] = None,
    policy: Policy = None,
    timeout_s: Annotated[float, typer.Option(help="Longest wait for the answer, seconds.", min=0.001)] = 10.0,
    as_json: Json = False,
) -> None:
    """Ask for one score. The answer is checked in full before it is shown."""
    from clients.bank import SALT_BYTES, AnswerVerifier, BankClient, check_can_keep, commit_to_subject, new_query
    from clients.migration import state_version

    state_version(home)  # files of a later release are not for this one to use
    if out is not None:
        check_can_keep(out)  # what is asked goes on the ledger and counts: not for an answer that would be lost
    salt = os.urandom(SALT_BYTES)
    query = new_query(task, _features(features), purpose, commit_to_subject(subject, salt))
    verifier = AnswerVerifier.from_home(home, policy)
    with BankClient(home, address or _score_service(home), verifier, timeout_s) as bank:
        scored = _scored(home, bank, query)
    document = _document(verifier.verify(scored)) | {"latency_ms": scored.latency_ms, "subject_salt": salt.hex()}
    unkept = None if out is None else _keep(scored, out)
    if unkept is not None and as_json:
        _show(document | {"ok": False, "problem": str(unkept)}, as_json)
        raise typer.Exit(unkept.exit_code)
    _show(document, as_json)
    if subject and not as_json:
        typer.echo(f"Subject salt, to be kept with the answer: {salt.hex()}")
    if unkept is not None:
        raise unkept


@app.command(epilog="Example: artesian bank verify answer.cbor --home bank-1")
def verify(
    answer: Annotated[Path, typer.Argument(help="An answer file that `score --out` wrote.")],
    home: Annotated[
        Path,
        typer.Option(envvar="ARTESIAN_HOME", help="The bank's home, with policy.txt and scorer.pub."),
    ] = Path(),
    policy: Policy = None,
    as_json: Json = False,
) -> None:
    """Check a kept answer: signature, question, model, and the receipt of its release. Needs no network."""
    from clients.scoring.proof import AnswerVerifier, ScoredAnswer

    verifier = AnswerVerifier.from_home(home, policy)
    _show(_document(verifier.verify(ScoredAnswer.load(answer))), as_json)


def _scored(home: Path, bank: "BankClient", query: "Query") -> "ScoredAnswer":
    """The answer; why there is none is kept in the home, for `artesian bank status`."""
    from clients.errors import ClientError
    from clients.refusal_log import RefusalLog, RefusalsUnreadable

    try:
        return bank.score(query)
    except ClientError as error:
        with suppress(RefusalsUnreadable):  # what is to be told is why there is no answer
            RefusalLog(home).note(f"score {query.task}", b"", type(error).__name__, str(error))
        raise


def _score_service(home: Path) -> str:
    """Where the consortium's score service is, by the home's `connection.toml`."""
    from clients.bank import BadQuestion
    from clients.connection import CONNECTION, load_connection

    if not (home / CONNECTION).exists():
        raise BadQuestion("give --address with HOST:PORT of the score service")
    return load_connection(home).scores


def _keep(scored: "ScoredAnswer", out: Path) -> "AnswerFileError | None":
    """Save an answer; an error is given back, so that the answer, once asked for, is shown all the same."""
    from clients.bank import AnswerFileError

    try:
        scored.save(out)
    except AnswerFileError as error:
        return error
    return None


def _features(path: Path) -> dict[str, float | str | None]:
    from clients.bank import BadQuestion

    try:
        features = json.loads(path.read_text("utf-8"), object_pairs_hook=_no_twice)
    except OSError as error:
        raise BadQuestion(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise BadQuestion(f"{path}: not JSON as expected: {error}") from error
    if not isinstance(features, dict):
        raise BadQuestion(f"{path}: give one object of feature names and values")
    return features


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name is given twice")
    return dict(pairs)


def _document(verified: "VerifiedAnswer") -> dict[str, Any]:
    answer, receipt = verified.answer, verified.receipt
    return {
        "ok": True,
        "score": answer.score,
        "pd": answer.pd,
        "reasons": [{"code": r.code, "text": r.text, "points": r.points} for r in answer.reasons],
        "task": answer.task,
        "consortium": answer.cid,
        "bank": answer.bank,
        "model": answer.model.hex(),
        "answered_at_ms": answer.ts,
        "receipt_ok": True,
        "entry": receipt.index,
        "size": receipt.size,
        "cosigners": list(receipt.cosigners),
        "words": verified.words,
    }


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(document['task'])} score {document['score']}[/bold]  pd {document['pd']:.2%}")
    for reason in document["reasons"]:
        console.print(f"  {reason['points']:+5d}  {escape(reason['text'])}  [dim]{escape(reason['code'])}[/dim]")
    for line in document["words"]:
        console.print(f"[green]✓[/green] {escape(line)}")
    if "latency_ms" in document:
        console.print(f"[dim]{document['latency_ms']:.1f} ms[/dim]")
