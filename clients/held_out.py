"""Which of a firm's units are held out of training, or in which part of them: the same in every round, known to nobody.

Every unit is held out with the same probability by itself, by a lot that follows from a secret of the firm and from the
unit: its name in the table, or what a row says where that is the unit. So neither its place in the table nor what else
is there matters: to add or remove a unit changes no other one's lot, from one round to the next too, and a unit's part
in a round, be it in the sum or in the vote, is that of one unit.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator

import numpy as np
from scipy import sparse

from clients.firm import Firm, PrivateTask
from clients.plan import MICRO, Plan
from clients.tasks.examples import Dealt, Divided, Examples
from clients.unit_secret import SECRET_FILE, unit_secret

__all__ = ["SECRET_FILE", "deal", "divide"]


def divide(firm: Firm, private: PrivateTask, plan: Plan) -> Divided:
    """Set a share of the units aside, as the plan says; none where it holds none out."""
    if not plan.held_out_micro:
        return Divided(private.examples, None)
    key = (private.settings.name, plan.held_out_micro)
    known = firm.divided.get(key)
    if known is None or known[0] is not private.examples:
        known = firm.divided[key] = private.examples, _divide(firm, private, plan.held_out_micro)
    return known[1]


def _divide(firm: Firm, private: PrivateTask, held_out_micro: int) -> Divided:
    examples, name = private.examples, private.settings.name
    if firm.config.experiment is not None:
        key = firm.stream("held out", name).bytes(32)
    else:
        key = hmac.digest(unit_secret(firm.home), name.encode(), hashlib.sha256)
    below = (held_out_micro << 64) // MICRO
    aside = np.array([lot < below for lot in _lots(examples, key)], dtype=np.bool_)
    return Divided(examples.sample(~aside), examples.sample(aside), aside)


def deal(firm: Firm, private: PrivateTask, parts: int) -> Dealt:
    """All units, dealt into `parts` parts by lots of the same kind as those of held-out units.

    The parts are the same in every round and run of a task, as long as the firm has the same secret and the same table.
    """
    name = private.settings.name
    known = firm.dealt.get((name, parts))
    if known is None or known[0] is not private.examples:
        if firm.config.experiment is not None:
            secret = firm.stream("dealt", name).bytes(32)
        else:
            secret = hmac.digest(unit_secret(firm.home), b"dealt\0" + name.encode(), hashlib.sha256)
        places = np.array([lot * parts >> 64 for lot in _lots(private.examples, secret)], dtype=np.int64)
        digest = hashlib.sha256(secret + private.examples.digest + parts.to_bytes(4, "big")).digest()
        dealt = Dealt(tuple(private.examples.sample(places == k) for k in range(parts)), digest)
        known = firm.dealt[name, parts] = private.examples, dealt
    return known[1]


def _lots(examples: Examples, key: bytes) -> Iterator[int]:
    """A number below 2**64 of each unit, which follows from the key and the unit alone."""
    for unit in _identities(examples):
        yield int.from_bytes(hmac.digest(key, unit, hashlib.sha256)[:8], "big")


def _identities(examples: Examples) -> Iterator[bytes]:
    """What tells each unit from all others, in their order."""
    if examples.names is not None:
        yield from (name.encode() for name in examples.names.tolist())
        return
    inputs = sparse.csr_array(examples.inputs)
    beside = np.column_stack([examples.targets, examples.offset])
    alike = Counter[bytes]()
    for place in range(examples.units):
        row = slice(inputs.indptr[place], inputs.indptr[place + 1])
        columns, values = inputs.indices[row].astype(np.int64), inputs.data[row]
        said = columns.tobytes() + values.tobytes() + beside[place].tobytes()
        yield said + alike[said].to_bytes(8, "big")  # rows that say the same are told apart by counting them
        alike[said] += 1
