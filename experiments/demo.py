"""The whole story on real data: found, train both tasks, publish, score, audit, tamper, tell.

Everything is what a deployment runs: homes with keys, Flower apps, masked sums, the witnessed ledger, the score service
over mutual TLS. Only the network between firms is left out: the apps run in this process.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clients.data import Table
from clients.tasks.credit import CreditTask
from clients.tasks.spec import TaskSpec
from experiments.federation import FederatedTask, Federation, Terms, build, run
from experiments.learning_curve import calibration, curve
from experiments.simulation import Prepared, compare, describe_ledger, prepare
from experiments.simulation_config import SimulationConfig, load_simulation_config
from experiments.tampering import audit_and_tamper
from ledger.policy import Policy
from server.releases import Release, current_release

_HERE = Path(__file__).parent
_CID = "demo"
_BANK = "bank-1"
_APPLICANTS = 3
Progress = Callable[[str], None]


@dataclass
class _Clock:
    """Seconds of each chapter."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def chapter(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 3)


@dataclass(frozen=True)
class _Chapter:
    """One task of the demo: its configuration and its divided table."""

    config: SimulationConfig
    prepared: Prepared

    @property
    def name(self) -> str:
        return self.prepared.task.spec.name

    @property
    def federated(self) -> FederatedTask:
        p = self.prepared
        return FederatedTask(self.name, p.task, p.spec_text, p.parts, self.config.training_only())


def run_demo(home: Path | None, out: Path, progress: Progress) -> dict[str, Any]:
    """Run the demo; writes `summary.json` and `report.html` to `out`.

    Args:
        home: where the consortium's homes are made and kept; None uses a temporary directory.

    Returns:
        The summary.
    """
    from experiments.report import write_report
    from server.coordinator import write_json

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="artesian-demo-") as scratch:
        summary = _story(home or Path(scratch) / "home", Path(scratch), progress)
    summary["seconds"]["total"] = round(time.monotonic() - began, 3)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "summary.json", summary)
    write_report(summary, out / "report.html")
    return summary


def _story(home: Path, scratch: Path, progress: Progress) -> dict[str, Any]:
    clock = _Clock()
    with clock.chapter("prepare"):
        chapters = [_prepare("loans.toml", rounds=20), _prepare("stores.toml", rounds=40)]
        for chapter in chapters:
            p = chapter.prepared
            progress(
                f"{chapter.name}: {p.held_out.rows} records set aside, {p.training.rows} among {len(p.parts)} firms"
            )
    with clock.chapter("found"):
        federation = build(home, [chapter.federated for chapter in chapters], _terms())
        _publish_encryption_key(federation)
        progress(f"founded a consortium of {len(federation.firms)} firms and {_BANK} in {home}")
    releases = {}
    for chapter in chapters:
        with clock.chapter(f"train_{chapter.name}"):
            run(federation, chapter.name, "in-process", progress)
        release = current_release(federation.coordinator, chapter.name)
        assert release is not None
        releases[chapter.name] = release
    with clock.chapter("compare"):
        progress("comparing with each firm alone and with all data in one place")
        figures = {chapter.name: _figures(federation, chapter, releases[chapter.name]) for chapter in chapters}
    with clock.chapter("scores"):
        credit = chapters[0].prepared
        scores = ask_scores(federation, credit.task.spec, _applicants(credit))
        progress(f"{_BANK} asked {len(scores)} scores and checked their receipts offline")
    with clock.chapter("witness"):
        run(federation, "", "in-process", progress)
        _bank_follows(federation)
    with clock.chapter("audit"):
        audit = audit_and_tamper(federation.coordinator, _policy(federation), scratch / "copy", progress)
    return {
        "name": "demo",
        **figures,
        "ledger": describe_ledger(federation),
        "scores": scores,
        "audit": audit,
        "firm_records": {chapter.name: [part.rows for part in chapter.prepared.parts] for chapter in chapters},
        "firms": list(federation.firms),
        "models": {name: release.model.hex() for name, release in releases.items()},
        "home": str(home),
        "seconds": clock.seconds,
    }


def _prepare(config_name: str, rounds: int) -> _Chapter:
    path = _HERE / "configs" / config_name
    written = load_simulation_config(path)
    config = written.model_copy(update={"training": written.training.model_copy(update={"rounds": rounds})})
    assert config.data.path is not None
    return _Chapter(config, prepare(config, path.parent / config.data.spec, path.parent / config.data.path))


def _terms() -> Terms:
    """What every firm of the demo insists on; noise and keys come from the secure source.

    The cap is above the 8 that the stores' model costs: it leaves room to open one update in a dispute.
    """
    limits = {"min_cohort": 5, "colluders": 1, "smallest_group": 2, "epsilon": 9.0, "delta": 1e-5}
    return Terms(_CID, 5, None, True, False, limits, (_BANK,))


def _figures(federation: Federation, chapter: _Chapter, release: Release) -> dict[str, Any]:
    figures = compare(chapter.federated, chapter.prepared, release, chapter.config.seed)
    task, held_out = chapter.prepared.task, chapter.prepared.held_out
    figures["curve"] = curve(federation.coordinator, chapter.name, task, held_out)
    if isinstance(task, CreditTask):
        figures["calibration"] = calibration(task, release.descent.average, held_out)
    return figures


def _applicants(prepared: Prepared) -> list[dict[str, float | str | None]]:
    """The first held-out applicants, as the bank's own form would hold them."""
    table = prepared.held_out.take(np.arange(_APPLICANTS))
    return [features_of(prepared.task.spec, table, row) for row in range(table.rows)]


def features_of(spec: TaskSpec, table: Table, row: int) -> dict[str, float | str | None]:
    """One record as a bank sends it: raw columns by name, None for missing, without the label."""
    assert spec.label is not None
    out: dict[str, float | str | None] = {}
    for column in spec.column:
        if column.name == spec.label.column:
            continue
        value = table.columns[column.name][row]
        if column.kind in ("number", "flag"):
            out[column.name] = None if np.isnan(value) else float(value)
        else:
            out[column.name] = str(value) or None
    return out


def ask_scores(
    federation: Federation, spec: TaskSpec, applicants: list[dict[str, float | str | None]]
) -> list[dict[str, Any]]:
    """Start the score service, ask as the bank over gRPC, keep the answers, check the kept files offline."""
    from clients.bank import AnswerVerifier, BankClient, ScoredAnswer, commit_to_subject, new_query
    from server.coordinator import write_json
    from server.coordinator_commands import open_desk
    from server.scoring.service import Tls, serving

    home = federation.member(_BANK)
    verifier = AnswerVerifier.from_home(home)
    (home / "answers").mkdir(exist_ok=True)
    write_json(home / "applicant.json", applicants[0])  # for whoever goes on from here by hand
    kept = []
    with (
        open_desk(federation.coordinator, 500.0, 5000) as desk,
        serving(desk, Tls.from_home(federation.coordinator)) as address,
        BankClient(home, address, verifier) as bank,
    ):
        for number, features in enumerate(applicants, start=1):
            subject = commit_to_subject(f"applicant-{number}", os.urandom(32))
            scored = bank.score(new_query(spec.name, features, "loan-application", subject))
            path = home / "answers" / f"applicant-{number}.cbor"
            scored.save(path)
            kept.append((path, scored.latency_ms))
    offline = AnswerVerifier.from_home(home)
    out = []
    for path, latency_ms in kept:
        verified = offline.verify(ScoredAnswer.load(path))
        reasons = [{"code": r.code, "text": r.text, "points": r.points} for r in verified.answer.reasons]
        out.append(
            {
                "score": verified.answer.score,
                "pd": verified.answer.pd,
                "reasons": reasons,
                "receipt_ok": verified.receipt.index >= 0,
                "latency_ms": None if latency_ms is None else round(latency_ms, 2),
                "words": verified.words,
            }
        )
    return out


def _policy(federation: Federation) -> Policy:
    """Whom the bank trusts; it got this when it joined."""
    return Policy.parse((federation.member(_BANK) / "policy.txt").read_text(encoding="utf-8"))


def _publish_encryption_key(federation: Federation) -> None:
    """Let the bank have an encryption key on the ledger, so that a firm can open an update to it in a dispute."""
    from ledger.genesis import record
    from ledger.homes import ENCRYPTION_KEY, SIGNING_KEY
    from ledger.keys import SigningKey
    from ledger.log import Log
    from ledger.service.encryption_key import EncryptionKey
    from ledger.statement import sign_statement
    from server.coordinator import LEDGER_FILE

    home, key = federation.member(_BANK), EncryptionKey.generate()
    key.save(home / ENCRYPTION_KEY)
    payload = record("encryption_key", cid=_CID, record_id=os.urandom(16), ts=int(time.time()), key=key.public)
    signed = sign_statement(payload, issuer=_BANK, subject=_BANK, key=SigningKey.load(home / SIGNING_KEY))
    with Log.open(federation.coordinator / LEDGER_FILE, SigningKey.load(federation.coordinator / SIGNING_KEY)) as log:
        log.append([signed])


def _bank_follows(federation: Federation) -> None:
    """The bank is a member too: its own witness mirrors the ledger, replays it, and cosigns."""
    from ledger.keys import SigningKey
    from ledger.log import Log
    from ledger.witness import Witness
    from server.coordinator import LEDGER_FILE, SIGNING_KEY

    home = federation.member(_BANK)
    (log_key,) = _policy(federation).logs
    key = SigningKey.load(federation.coordinator / SIGNING_KEY)
    with (
        Log.open(federation.coordinator / LEDGER_FILE, key) as log,
        Witness(home / "mirror.db", SigningKey.load(home / "signing.pem"), _BANK, log_key, _CID) as witness,
    ):
        log.add_cosignatures([witness.follow(log)])
