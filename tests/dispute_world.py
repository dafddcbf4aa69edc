"""A federation that has trained, with two auditors that have encryption keys, and what every firm masked."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import federation, opened, rounds, train, training
from flwr.app import Context, Message

from clients import participation
from clients.app import app as client_app
from clients.dispute import carry_out, prepare
from clients.firm import Firm
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.opening import Opening
from experiments.federation import Federation
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.rules import Round
from ledger.service.encryption_key import EncryptionKey
from ledger.statement import sign_statement
from server.artifacts import ArtifactStore
from server.dispute import OpenedUpdate, examine
from server.ledger_copy import LedgerCopy

App = Callable[[Message, Context], Message]
CID = "simulation"
AUDITORS = ("bank-1", "firm-5")


@dataclass(frozen=True)
class Disputed:
    """What is left of a run: the homes, the rounds, and the truth that masks hid.

    Attributes:
        rounds: the task's rounds, oldest first.
        masked: {(round id, firm): int64[dimension] before the masks}.
    """

    built: Federation
    rounds: Sequence[Round]
    masked: dict[tuple[bytes, str], Integers]

    @property
    def round(self) -> Round:
        return self.rounds[0]

    def firm(self, name: str, folder: Path) -> Firm:
        """A firm on a copy of its home: what it spends, it spends there."""
        return Firm(Path(shutil.copytree(self.built.member(name), folder / name)))

    def key(self, auditor: str) -> EncryptionKey:
        return EncryptionKey.load(self.built.member(auditor) / "encryption.pem")

    def open(self, firm: Firm, auditor: str = "bank-1", number: int = 1) -> bytes:
        return carry_out(firm, prepare(firm, self.rounds[number - 1].id.hex(), auditor))

    def opening(self, name: str, folder: Path) -> Opening:
        """What a firm would open of the first round."""
        firm = self.firm(name, folder)
        try:
            return prepare(firm, self.round.id.hex(), "bank-1").opening
        finally:
            firm.close()

    def examine(self, file: bytes, auditor: str = "bank-1", artifacts: Path | None = None) -> OpenedUpdate:
        store = ArtifactStore(artifacts or self.built.coordinator / "artifacts")
        return examine(file, self.copy(), store, [self.key(auditor)])

    def copy(self) -> LedgerCopy:
        return LedgerCopy.read(self.built.coordinator / "ledger.db", None)


def disputed(home: Path, app: App = client_app, firms: int = 5, count: int = 1, **terms: Any) -> Disputed:
    """Firms with this app train `count` rounds under these terms."""
    seen: dict[tuple[bytes, str], Integers] = {}
    honest = participation.protect

    def watch(session: Session, me: str, values: Integers, *rest: Any, **more: Any) -> Any:
        seen[session.round_id, me] = np.array(values)
        return honest(session, me, values, *rest, **more)

    built = federation(home, firms, training(count, **terms), banks=("bank-1", "bank-2"))
    with pytest.MonkeyPatch.context() as patch, opened(built) as coordinator:
        patch.setattr(participation, "protect", watch)
        coordinator.log.append([publish_key(built, name) for name in AUDITORS if name in (*built.firms, *built.banks)])
        train(built, coordinator, app=app)
        return Disputed(built, rounds(coordinator), seen)


def publish_key(built: Federation, name: str) -> bytes:
    """A member makes an encryption key; returns the statement that publishes it."""
    key = EncryptionKey.generate()
    key.save(built.member(name) / "encryption.pem")
    fields = {"cid": CID, "record_id": secrets.token_bytes(16), "ts": 1, "key": key.public}
    signer = SigningKey.load(built.member(name) / "signing.pem")
    return sign_statement(record("encryption_key", **fields), issuer=name, subject=name, key=signer)
