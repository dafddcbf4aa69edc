"""A firm's masking keys of an epoch: made, vouched for, paired with those on the ledger, and destroyed in time."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from clients.catching_up import catch_up
from clients.disclosure import Leaving, leave
from clients.firm import Firm
from clients.masking.announcement import PURPOSE, announce, read_announcement, roster_on_ledger
from clients.masking.epoch import seal_pair_secrets
from clients.masking.errors import EpochEnded, KeySetupRefused
from clients.masking.session import RosterEntry
from clients.messages import PAIR, Refusal
from clients.round_secrets import Begun
from ledger.checkpoint import SignedCheckpoint, verify_final
from ledger.errors import LedgerError
from ledger.keys import PublicKey
from ledger.rules import MEMBERSHIP
from ledger.statement import Statement, decode_statement

log = logging.getLogger("artesian.firm")


def announcement(firm: Firm, epoch: int) -> bytes:
    """The signed statement of this firm's key of an epoch, for the ledger; the key is made on first use.

    Raises:
        EpochEnded: the epoch is over.
    """
    keys = firm.round_secrets.begin(epoch, firm.key.public.kid)
    return announce(
        keys,
        firm.config.cid,
        epoch,
        firm.member,
        firm.key,
        record_id=secrets.token_bytes(16),
        now_s=int(firm.now()),
    )


def pair(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Draw pair secrets with the firms of higher ids, sealed to their epoch keys; keep this firm's half.

    The keys are those on the ledger, of exactly the entries that a quorum has cosigned: on a fork a firm could be shown
    another key of its peer than the peer's other partners.

    Raises:
        EpochEnded: the epoch is over, or its pair secrets are drawn already.
        Refusal, NotFinal, KeySetupRefused: the keys are not authentic.
    """
    epoch = request["epoch"]
    keys = firm.round_secrets.epoch_keys(epoch)
    if firm.round_secrets.has_pairs(epoch):
        raise EpochEnded(f"epoch {epoch}: {firm.member} has drawn its pair secrets, once; begin a new epoch")
    roster = _roster(firm, request)
    terms = (keys, firm.config.cid, epoch, firm.member, roster, firm.key.sign)
    pairs, sealed = seal_pair_secrets(*terms, secrets.token_bytes)
    firm.round_secrets.keep_roster(epoch, roster)
    firm.round_secrets.keep_pairs(epoch, pairs)
    return leave(PAIR, {"sealed": sealed})


def _roster(firm: Firm, request: Mapping[str, Any]) -> tuple[RosterEntry, ...]:
    """Authenticated epoch keys: from this firm's own mirror of the ledger, and only without one from the message."""
    epoch = request["epoch"]
    if not firm.config.limits.without_ledger:
        require_final(firm, request["final"], lambda later: later.payload["t"] == "epoch_key")
        return roster_on_ledger(firm.witness.state, epoch)
    out = []
    for member, raw in sorted(request["announcements"].items()):
        claimed = PublicKey(request["signing_keys"].get(member, b""))
        out.append(read_announcement(raw, firm.config.cid, epoch, member, claimed))
    return tuple(out)


def require_final(firm: Firm, note: str, matters: Callable[[Statement], bool]) -> None:
    """Insist that a quorum has cosigned what this firm mirrors, all but later entries that do not matter here.

    A live witness goes on while a message travels, so that the mirror may be ahead of the checkpoint. What is read from
    the mirror is then as final as the checkpoint, if no later entry could change it.

    Args:
        matters: whether an entry could change what is about to be read; that members or keys change always matters.

    Raises:
        Refusal, NotFinal: it has not.
    """
    catch_up(firm, note)
    mirror, point = firm.witness.mirror, SignedCheckpoint.parse(note).checkpoint
    other = f"the final checkpoint is not of the ledger that {firm.member} mirrors"
    if point.size > mirror.size or mirror.root_at(point.size) != point.root:
        raise Refusal("final", other)
    later = map(decode_statement, mirror.entries(point.size, mirror.size))
    if any(one.payload["t"] in MEMBERSHIP or matters(one) for one in later):
        raise Refusal("final", f"{other}: what is asked hangs on entries after it")
    verify_final(note, mirror.policy)
    mirror.learn(note)


def require_on_ledger(firm: Firm, epoch: int, entries: tuple[RosterEntry, ...]) -> None:
    """Insist that the keys that secrets were drawn with are still those on the ledger: rotation ends them.

    Raises:
        EpochEnded: naming the firm whose key is not.
    """
    if firm.config.limits.without_ledger:
        return
    now = {entry.member: entry for entry in roster_on_ledger(firm.witness.state, epoch)}
    for entry in entries:
        if now.get(entry.member) != entry:
            raise EpochEnded(f"epoch {epoch}: the masking key of {entry.member} has ended; begin a new epoch")


def end_stale_epoch(firm: Firm) -> None:
    """Destroy this firm's masking secrets if their time is over; asked before every message is handled.

    An epoch ends when it is older than the firm's limit, when the signing key that vouched for its keys is no longer
    the firm's, and when the ledger says that they have ended.
    """
    try:
        begun = firm.round_secrets.current()
        reason = "" if begun is None else firm.round_secrets.too_old() or _over(firm, begun)
    except KeySetupRefused as error:  # nobody can use them any more
        reason = str(error)
    if reason:
        firm.round_secrets.end()
        log.warning("masking secrets destroyed: %s", reason)


def _over(firm: Firm, begun: Begun) -> str:
    """Why an epoch is over before it is old; empty while it is not."""
    if begun.signer != firm.key.public.kid:
        return f"epoch {begun.epoch}: its keys were vouched for by a signing key that is replaced"
    if firm.config.limits.without_ledger:
        return ""
    try:
        state = firm.witness.state
    except LedgerError:  # the message that needs the mirror will say so
        return ""
    own = state.epoch_keys.get(firm.member)
    known = None if own is None else own.get(PURPOSE)
    if known is not None and known.epoch >= begun.epoch and known.key != begun.keys.public_bytes:
        return f"epoch {begun.epoch}: the ledger has ended this firm's key"
    return ""
