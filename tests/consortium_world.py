"""A consortium with real homes, keys, ledger and witnesses, driven message by message without a coordinator's loop."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from task_world import CREDIT, credit_spec, credit_table

from clients import introduction, participation
from clients.firm import Firm
from clients.greeting import question
from clients.model_files import PARAMETERS, write_vector
from clients.plan import MICRO, Plan
from clients.tasks.task import task_for
from experiments.federation import FederatedTask, Federation, Terms, build
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.rules import COORDINATOR
from ledger.statement import decode_statement, sign_statement
from server.coordinator import LEDGER_FILE, SIGNING_KEY
from server.descent import Descent
from server.training_config import TrainingConfig

CID = "test"
SPEC = credit_spec()
TASK = task_for(SPEC)
EPOCH = 1
LIMITS: Mapping[str, Any] = {"min_cohort": 5, "colluders": 1, "smallest_group": 2, "epsilon": 8.0, "delta": 1e-5}


def a_plan(**changes: Any) -> Plan:
    """A plan that every firm of the consortium accepts."""
    fields: dict[str, Any] = {
        "number": 1,
        "rounds": 3,
        "spec": SPEC.hash,
        "aggregation": "masked",
        "privacy": "distributed",
        "dimension": TASK.architecture.size,
        "noise_micro": 8 * MICRO,
        "clip_micro": MICRO,
        "box_micro": 100 * MICRO,
        "sampling_micro": MICRO,
        "delta_nano": 10_000,
        "colluders": 1,
        "epoch": EPOCH,
        "threshold": 5,
        "ring_bits": 24,
        "units": 240,
        "rate_micro": MICRO,
        "momentum_micro": 0,
        "average_from": 0,
        "deadline_s": 60,
    }
    return Plan(**{**fields, **changes})


def a_summed_plan(**changes: Any) -> Plan:
    """The same with weights that go through the sum: an eighth of the clip a unit, and one unit at least."""
    share = changes.get("clip_micro", MICRO) // 8
    return a_plan(**{"weighting": "summed", "weight_micro": share, "least_weight_micro": share, **changes})


class Consortium:
    """Six firms, their ledger, and a coordinator that does what the test says."""

    def __init__(
        self, home: Path, firms: int = 6, seed: int | None = None, limits: Mapping[str, Any] | None = None
    ) -> None:
        tables = [credit_table(SPEC, 40, seed=k + 1) for k in range(firms)]
        task = FederatedTask("credit", TASK, CREDIT, tables, TrainingConfig())
        self.built: Federation = build(home, [task], Terms(CID, 3, seed, True, False, {**LIMITS, **(limits or {})}))
        self.names = list(self.built.firms)
        self.firms = {name: Firm(self.built.member(name)) for name in self.names}
        self.key = SigningKey.load(self.built.coordinator / SIGNING_KEY)
        self.log = Log.open(self.built.coordinator / LEDGER_FILE, self.key)
        self.sealed: dict[str, dict[str, bytes]] = {name: {} for name in self.names}
        self.model = Descent.start(np.zeros(TASK.architecture.size))
        self.append("task", "credit", task="credit", spec=SPEC.hash)
        self.witness()
        self.set_up_keys(EPOCH)

    def close(self) -> None:
        for firm in self.firms.values():
            firm.close()
        self.log.close()

    def append(self, kind: str, subject: str, **fields: Any) -> bytes:
        payload = record(kind, cid=CID, record_id=secrets.token_bytes(16), ts=1, **fields)
        return self.append_payload(payload, subject)

    def append_payload(self, payload: dict[str, Any], subject: str) -> bytes:
        raw = sign_statement(payload, issuer=COORDINATOR, subject=subject, key=self.key)
        self.log.append([raw])
        return raw

    def news(self, firm: Firm) -> dict[str, Any]:
        note, size = self.log.checkpoint(), self.log.size
        start = firm.witness.size
        return {
            "entries": self.log.entries(start, size),
            "checkpoint": note,
            "proof": self.log.consistency(start, size),
            "final": self.log.final() or "",
        }

    def witness(self, names: Iterable[str] | None = None) -> None:
        """Let firms mirror and cosign all that is on the ledger."""
        lines = [
            introduction.witness(self.firms[name], self.news(self.firms[name]))["cosignature"]
            for name in names or self.names
        ]
        self.log.add_cosignatures(lines, self.log.size)

    def set_up_keys(self, epoch: int, names: Sequence[str] | None = None) -> None:
        names = names or self.names
        self.epoch = epoch
        request = question(CID, "credit", epoch, bytes(32))
        answers = {name: introduction.hello(self.firms[name], request) for name in names}
        self.log.append([one["announcement"] for one in answers.values()])
        self.witness()
        self.sealed = {name: {} for name in names}
        for name in names:
            for receiver, message in participation.pair(self.firms[name], self.pairing(epoch))["sealed"].items():
                self.sealed[receiver][name] = message

    def pairing(self, epoch: int, **changes: Any) -> dict[str, Any]:
        """The message that asks a firm to draw its pair secrets."""
        request = {"epoch": epoch, "final": self.log.final() or "", "announcements": {}, "signing_keys": {}}
        return {**request, **changes}

    def open_round(
        self,
        plan: Plan,
        cohort: Sequence[str] | None = None,
        *,
        model: Descent | None = None,
        witnesses: Iterable[str] | None = None,
    ) -> bytes:
        """Append a round and make it final; returns its statement."""
        payload = record(
            "round",
            cid=CID,
            record_id=secrets.token_bytes(16),
            ts=1,
            task="credit",
            plan=plan.to_map(),
            cohort=list(cohort or self.names),
            parent_model=(model or self.model).digest,
        )
        raw = self.append_payload(payload, payload["id"].hex())
        self.witness(witnesses)
        return raw

    def receipt(self, statement: bytes) -> bytes:
        index = self.log.index_of(decode_statement(statement).digest)
        assert index is not None
        return self.log.receipt(index)

    def request(self, name: str, statement: bytes, **changes: Any) -> dict[str, Any]:
        """The message that asks a firm to train."""
        files = self.model.files()
        out = {
            "statement": statement,
            "receipt": b"" if "receipt" in changes else self.receipt(statement),
            "sealed": self.sealed.get(name, {}),
            "parameters": files[PARAMETERS],
            "digests": {n: hashlib.sha256(raw).digest() for n, raw in files.items() if n != PARAMETERS},
        }
        return {**out, **changes}

    def abort(self, statement: bytes) -> None:
        """Give a round up, so that the next can open."""
        round_id = decode_statement(statement).payload["id"]
        self.append("abort", round_id.hex(), round=round_id, reason="the test is over")
        self.witness()


def vector_model(values: Iterable[float]) -> tuple[Descent, bytes]:
    """A model of these parameters, and its parameter file."""
    vector = np.array(list(values), dtype=np.float64)
    return Descent.start(vector), write_vector(vector)
