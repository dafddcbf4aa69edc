"""Which of a firm's units are held out of training: the same ones in every round, known to nobody else.

Every unit is held out with the same probability by itself, from a secret of the firm: so to add or remove one unit says
nothing about the others, and a unit's part in a round, be it in the sum or in the vote, is that of one unit.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from clients.firm import Firm, PrivateTask
from clients.noise import RandomStream
from clients.plan import MICRO, Plan
from clients.tasks.examples import Divided
from ledger.errors import LedgerError
from ledger.secret_files import read_secret_file, write_secret_file

SECRET_FILE = "held-out.key"


def divide(firm: Firm, private: PrivateTask, plan: Plan) -> Divided:
    """Set a share of the units aside, as the plan says; none where it has no votes."""
    if not plan.held_out_micro:
        return Divided(private.examples, None)
    key = (private.settings.name, plan.held_out_micro)
    if key not in firm.divided:
        firm.divided[key] = _divide(firm, private, plan.held_out_micro)
    return firm.divided[key]


def _divide(firm: Firm, private: PrivateTask, held_out_micro: int) -> Divided:
    examples, name = private.examples, private.settings.name
    if firm.config.experiment is not None:
        stream = firm.stream("held out", name)
    else:
        stream = RandomStream(hmac.digest(_secret(firm), name.encode(), hashlib.sha256))
    aside = stream.bernoulli(examples.units, held_out_micro / MICRO)
    return Divided(examples.sample(~aside), examples.sample(aside))


def _secret(firm: Firm) -> bytes:
    """The firm's secret, 32 bytes, made on first use. Losing it costs a fresh division, and no privacy."""
    path = firm.home / SECRET_FILE
    if not path.exists():
        try:
            write_secret_file(path, secrets.token_bytes(32), "the secret of held-out units")
        except LedgerError:
            if not path.exists():  # else another process of this firm was first
                raise
    return read_secret_file(path, "the secret of held-out units")
