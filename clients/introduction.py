"""What a firm says in a run before any round: who it is, what it declares, and what its witness has checked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from clients.agreed_policy import require_agreed
from clients.disclosure import Leaving, leave
from clients.firm import Firm, NotTakingPart
from clients.greeting import NONCE_BYTES, RELEASE_NAME, TRACES_NAME, agree, prove
from clients.key_setup import announcement
from clients.messages import HELLO, WITNESS, Refusal
from clients.sitting_out import require_taking_part
from clients.versions import MESSAGE_VERSIONS, SOFTWARE, Span

_LAST_EPOCH = 2**31  # as in a plan: a firm led further could never come back


def hello(firm: Firm, request: Mapping[str, Any], spoken: Span = MESSAGE_VERSIONS) -> Leaving:
    """Say who this firm is; for a task, how many units it declares (0: takes no part), and its masking key.

    The answer proves that it is this firm's, and names the version of the messages that both speak.

    Args:
        spoken: the versions of the messages that this program speaks.

    Raises:
        VersionMismatch: the coordinator speaks none of them.
    """
    version = agree(request, firm.member, spoken)
    if request["cid"] != firm.config.cid:
        raise Refusal("consortium", f"{firm.member} belongs to {firm.config.cid!r}, not {request['cid']!r}")
    units, vouched = 0, b""
    if request["task"]:
        require_taking_part(firm, request["task"])
        require_agreed(firm.home, firm.ledger, request["task"])
        # A firm without this task still witnesses: the quorum is of all members, whatever they train.
        with suppress(NotTakingPart):
            units = firm.require_fits(request["task"]).settings.units
    epoch = request["epoch"]
    if not 0 <= epoch <= _LAST_EPOCH:
        raise Refusal("epoch", f"{epoch} is not an epoch between 0 and {_LAST_EPOCH}")
    if len(request["nonce"]) != NONCE_BYTES:
        raise Refusal("nonce", f"{len(request['nonce'])} bytes, it must be {NONCE_BYTES}")
    if units and epoch:
        vouched = announcement(firm, epoch)
    fields = {
        "member": firm.member,
        "units": units,
        "announcement": vouched,
        "signing_key": firm.key.public.raw,
        "mirrored": 0 if firm.config.limits.without_ledger else firm.witness.size,
        "version": version,
        "extension": {RELEASE_NAME: SOFTWARE, TRACES_NAME: 1},
    }
    return leave(HELLO, {**fields, "proof": prove(request, fields, firm.key)})


def witness(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Mirror the ledger's new entries, replay its rules over them, and cosign the checkpoint."""
    line = firm.witness.advance(request["entries"], request["checkpoint"], request["proof"])
    if request["final"]:
        firm.witness.mirror.learn(request["final"])
    return leave(WITNESS, {"cosignature": line, "mirrored": firm.witness.size})
