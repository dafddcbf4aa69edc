"""`artesian ledger`: one group of commands. Whatever is heavy is imported by the command that needs it."""

from collections.abc import Callable
from typing import Any

import typer

from ledger.commands import (
    attesting,
    copying,
    evidence,
    founding,
    handover,
    keys,
    log_keys,
    members,
    proposing,
    reading,
    restoring,
    sealing,
    serving,
    tracing,
    watching,
    witnessing,
)

_RUN, _WRITE, _CHECK, _CARRY = "Found and run", "Put on the ledger", "Look and check", "Carry elsewhere"


def _group(name: str, words: str, example: str, **settings: Any) -> typer.Typer:
    return typer.Typer(name=name, help=words, epilog=f"Example: artesian ledger {example}", **settings)


def _add(group: typer.Typer, command: Callable[..., None], name: str, example: str, panel: str | None = None) -> None:
    group.command(name, rich_help_panel=panel, epilog=f"Example: artesian ledger {example}")(command)


app = _group(
    "ledger",
    "Found, run, witness, read and check a consortium's ledger.",
    "audit --home coordinator",
    no_args_is_help=True,
)
_add(app, founding.init, "init", "init --home coordinator --cid supply-1 --members members.toml", _RUN)
_add(app, serving.serve, "serve", "serve --home coordinator --address 0.0.0.0:8445", _RUN)
_witness = "witness --home firm-1 --address ledger.example:8445 --founding 7b0f-b02e-..."
_add(app, witnessing.witness, "witness", _witness, _RUN)
_add(app, watching.status, "status", "status --address ledger.example:8445 --ca ca.crt", _RUN)
_attest = "attest --home firm-1 --subject batch-7 --file lading.pdf --kind bill-of-lading"
_add(app, attesting.attest, "attest", _attest, _WRITE)
_add(app, attesting.submit, "submit", "submit lading.pdf.statement --home firm-1", _WRITE)
_add(app, sealing.erase, "erase", "erase 12 --home firm-1", _WRITE)
_add(app, tracing.trace, "trace", "trace batch-7 --home firm-2 --file lading.pdf", _CHECK)
_add(app, sealing.open_entry, "open", "open 12 --home firm-2 --out lading.pdf", _CHECK)
_receipt = "verify receipt.cbor --statement statement.cbor --policy policy.txt"
_add(app, reading.verify, "verify", _receipt, _CHECK)
_add(app, reading.audit, "audit", "audit --db firm-1/mirror.db --policy policy.txt", _CHECK)
_add(app, reading.show, "show", "show --home coordinator --last 10", _CHECK)
_add(app, reading.policy, "policy", "policy --home coordinator", _CHECK)
_add(app, evidence.evidence, "evidence", "evidence fork.evidence --policy policy.txt", _CHECK)

_add(app, copying.export, "export", "export copy --home firm-1", _CARRY)
_add(app, copying.mirror, "mirror", "mirror copy --out mirror.db --founding 7b0f-b02e-...", _CARRY)
_add(app, restoring.restore, "restore", "restore copy-of-firm-1 --home coordinator", _CARRY)
_add(app, copying.backup, "backup", "backup ledger-2026-11-22.db --home coordinator", _CARRY)

_members = _group(
    "members",
    "Who belongs, whose keys hold, and changes that a quorum approves.",
    "members --home coordinator",
    invoke_without_command=True,
)
_members.callback()(members.listing)
_add(_members, keys.key, "key", 'members key --home firm-1 --member firm-1 --name "Acme GmbH"')
_add(_members, keys.switch, "switch-key", "members switch-key --home firm-1")
_add(_members, keys.encryption, "encryption", "members encryption --home firm-1")
_add(
    _members, log_keys.rotate_log, "rotate-log", "members rotate-log --home coordinator --key /media/safe/next-log.pem"
)
_add(_members, proposing.approve, "approve", "members approve enrol-firm-9.proposal --home firm-1")
_add(_members, proposing.status, "proposal", "members proposal enrol-firm-9.proposal --home firm-1")
_add(_members, proposing.submit, "submit", "members submit enrol-firm-9.proposal --home firm-1")

_propose = _group(
    "propose",
    "Propose a change of membership, of a key or of the terms.",
    "members propose enrol --home firm-1 --from member.toml --out enrol-firm-9.proposal",
    no_args_is_help=True,
)
_enrol = "members propose enrol --home firm-1 --from member.toml --out enrol-firm-9.proposal"
_add(_propose, proposing.enrol, "enrol", _enrol)
_rotate = "members propose rotate --home firm-1 --from firm-1/next-member.toml --out rotate-firm-1.proposal"
_add(_propose, proposing.rotate, "rotate", _rotate)
_suspend = "members propose suspend --home firm-1 --member firm-2 --reason closed --out suspend-firm-2.proposal"
_add(_propose, proposing.suspend, "suspend", _suspend)
_policy = "members propose policy --home firm-1 --min-cohort 5 --out terms.proposal"
_add(_propose, proposing.policy, "policy", _policy)
_log_key = "members propose log-key --home coordinator --out log-key.proposal"
_add(_propose, log_keys.propose_log_key, "log-key", _log_key)
_members.add_typer(_propose)
app.add_typer(_members, rich_help_panel=_RUN)

_handover = _group(
    "handover",
    "When the sequencer is gone: a quorum lets another one go on from what is final.",
    "handover status --home firm-1",
    no_args_is_help=True,
)
_add(_handover, handover.status, "status", "handover status --home coordinator copy-of-firm-1 copy-of-firm-2")
_add(_handover, handover.bring_up, "bring-up", "handover bring-up copy-of-firm-2 copy-of-bank-1 --home firm-1")
_handed = "handover.proposal --home firm-1"
_add(_handover, handover.propose, "propose", "handover propose --home firm-1 --to sequencer --out handover.proposal")
_add(_handover, handover.approve, "approve", f"handover approve {_handed}")
_add(_handover, handover.start, "start", f"handover start {_handed} --to sequencer")
app.add_typer(_handover, rich_help_panel=_CARRY)
