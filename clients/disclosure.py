"""The one door: whatever leaves a firm is made here, and was paid for or is shown to be public.

`leave` takes the fields of a reply or of a file for others. Each field has its ground in `clients.grounds`; what is
computed from the records needs a `Paid`, which only the functions here make, from a reservation that the wallet has
settled. An architecture test keeps this door the only one: nothing else in `clients` packs a message, settles a
reservation, or opens a channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict

from clients.accounts import NoCap, OverCap, WalletRefused
from clients.agreed_policy import PolicyNotTaken, TaskNotAgreed
from clients.allowance import OverAllowance
from clients.cost import Cost
from clients.data import SchemaMismatch
from clients.dialect import SPOKEN, Dialect
from clients.errors import ClientError
from clients.firm import DeclaredTask, Firm, NotTakingPart, PrivateTask
from clients.firm_wallet import CountedOtherwise
from clients.flower.approvals import AppNotApproved
from clients.grounds import GROUNDS, OPENING, REFUSAL, needs_payment
from clients.kept_sums import DealtOtherwise, StreamBroken
from clients.masking.errors import MaskingError, PairSecretRefused, ValueOutOfBounds
from clients.messages import ACCUSES, LOWEST, VALIDATE, Refusal, pack, pack_refused
from clients.model_files import ModelFileInvalid
from clients.offer import Offer
from clients.plan import PlanInvalid
from clients.privacy import PrivacyError
from clients.sitting_out import SittingOut
from clients.training_hours import OutOfHours
from clients.versions import VersionMismatch
from clients.wallet_ledger import purpose_of
from clients.wallet_row import Reservation
from ledger.errors import Damaged, LedgerError, StoreError
from ledger.evidence_file import EvidenceError
from ledger.export import ExportError
from ledger.homes import HomeError
from ledger.secret_files import KeyFileError
from ledger.snapshot import SnapshotError
from ledger.source import WitnessRefusal

UNREADY = "Unready"
"""The code of every refusal whose kind may hang on the firm's records, files or machine."""

_TOLD = (
    AppNotApproved,
    LedgerError,
    MaskingError,
    ModelFileInvalid,
    NotTakingPart,
    OutOfHours,
    PlanInvalid,
    PolicyNotTaken,
    PrivacyError,
    SittingOut,
    StreamBroken,
    TaskNotAgreed,
    VersionMismatch,
    WitnessRefusal,
)
"""Errors that speak of the protocol only. All others may name a cell, a count or a path of the firm."""

_OWN = (
    Damaged,
    DealtOtherwise,
    EvidenceError,
    ExportError,
    HomeError,
    KeyFileError,
    SnapshotError,
    StoreError,
    ValueOutOfBounds,
)
"""Those among them that do not: they name a file, quote a value, or say that the table has changed."""

_WALLET_SAYS: Mapping[type[WalletRefused], str] = {
    OverCap: "this round would bring the firm over the cap that it has set; nothing was spent",
    OverAllowance: "this round costs more than the firm allows for one round, or in a year; nothing was spent",
    NoCap: "the firm has set no cap for this data, so nothing may be spent",
    CountedOtherwise: "the firm's data has paid in another privacy unit, and cannot pay in this one as well",
}
"""What is told of a wallet's refusal. How much the firm has spent, here and elsewhere, and its cap are its own."""

_PATH = re.compile(r"(?<![\w/])/(?=\S)(?:[^:;'\"\n()]|\([^()\n]*\))+")
"""A file's place on the firm's machine, wherever it stands in a line. Its name may hold spaces, brackets and commas."""

_SEAL = object()


class NotShown(ClientError):
    """Something that is neither paid for nor shown to be public was about to leave. Nothing left."""

    exit_code = 1


class Paid:
    """Evidence that the wallet has paid for what is about to leave, or that the firm's limits ask for no payment.

    Only this module makes one.

    Attributes:
        purpose: what the wallet's rows say it was for.
    """

    def __init__(self, seal: object, purpose: str) -> None:
        if seal is not _SEAL:
            raise NotShown("only a settled charge is evidence of payment")
        self.purpose = purpose


@dataclass(frozen=True)
class Charge:
    """What is set aside in the wallet for one purpose; None where the plan costs nothing."""

    firm: Firm
    purpose: str
    reservation: Reservation | None

    def pay(self) -> Paid:
        """Say that the update is about to leave: from here on a crash leaves the spend on the books."""
        if self.reservation is not None:
            self.firm.wallet.settle(self.reservation)
        return Paid(_SEAL, self.purpose)


class Leaving(Mapping[str, Any]):
    """Fields that have passed the door. Only `leave` makes one."""

    def __init__(self, seal: object, kind: str, fields: Mapping[str, Any]) -> None:
        if seal is not _SEAL:
            raise NotShown("only the door lets something leave")
        self.kind = kind
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


Handler = Callable[[Firm, Mapping[str, Any]], Leaving]
"""Answers one kind of message."""


def charge(firm: Firm, private: PrivateTask, offer: Offer) -> Charge:
    """Set aside what a round costs every unit, before anything is computed from the records.

    Raises:
        OverCap, OverAllowance, NoCap, CountedOtherwise, TwoNames, WalletBehind: it cannot pay; nothing was spent.
        Refusal: the round is paid for, and its update is lost: to train again would be to pay twice.
        NotShown: it costs nothing, and the firm's limits do not allow what has no privacy.
    """
    purpose, mechanism = purpose_of(offer.payload["task"], offer.round_id), offer.plan.round_mechanism()
    if mechanism is not None:
        number, rounds, measures = offer.plan.number, offer.plan.rounds, offer.plan.measures
        reserved = firm.charge(private, purpose, mechanism, number=number, rounds=rounds, measures=measures)
        if reserved is None:
            raise Refusal("lost", f"{firm.member} has paid for this round, and stopped before its update was kept")
        return Charge(firm, purpose, reserved)
    if not firm.config.limits.without_privacy:
        raise NotShown(f"{purpose}: it adds no noise, so nothing could pay for it; this firm trains with privacy only")
    return Charge(firm, purpose, None)


def charge_once(firm: Firm, payer: DeclaredTask, purpose: str, cost: Cost) -> Paid:
    """Pay for showing again what is the same each time, noise and all; what was paid before is not paid again.

    Raises:
        OverCap, NoCap, CountedOtherwise: the wallet cannot pay; nothing was spent.
    """
    return Charge(firm, purpose, firm.charge_once(payer, purpose, cost)).pay()


def paid_by_round(purpose: str) -> Paid:
    """Evidence for what costs nothing above the round that it shows: its update carries its own noise, or none."""
    return Paid(_SEAL, purpose)


def leave(kind: str, fields: Mapping[str, Any], paid: Paid | None = None) -> Leaving:
    """Let the fields of a reply, or of a file for others, leave.

    Raises:
        NotShown: a field has no ground, or is computed from the records and nothing has paid for it.
    """
    grounds = GROUNDS.get(kind)
    if grounds is None or grounds.keys() != fields.keys():
        odd = sorted(fields.keys() ^ (grounds or {}).keys())
        raise NotShown(f"{kind}: there is no ground on which {', '.join(odd) or 'it'} may leave")
    if needs_payment(kind) and not isinstance(paid, Paid):
        raise NotShown(f"{kind}: it is computed from the firm's records, and nothing has paid for it")
    return Leaving(_SEAL, kind, fields)


def leave_kept(firm: Firm, offer: Offer, kind: str, fields: Mapping[str, Any], paid: Paid) -> Leaving:
    """Let a firm's reply to a round leave, once it is kept to be repeated.

    Raises:
        NotShown: as `leave`; nothing is kept.
    """
    leaving = leave(kind, fields, paid)
    firm.kept_reply.keep(offer.round_id, offer.digest, kind, dict(leaving))
    return leaving


def leave_again(firm: Firm, offer: Offer, kind: str) -> Leaving | None:
    """The very reply with which the firm has contributed to this round, if it is kept: nothing new is spent or shown.

    Raises:
        NotShown: the wallet has no settled row for it: it was put back from an older copy.
    """
    fields = firm.kept_reply.of(offer.round_id, offer.digest, kind)
    if fields is None:
        return None
    purpose = purpose_of(offer.payload["task"], offer.round_id)
    bought, unsettled = firm.wallet.purchases(purpose), firm.wallet.open_reservations(purpose)
    if offer.plan.round_mechanism() is not None and len(bought) == len(unsettled):
        raise NotShown(f"{purpose}: the reply is kept, and the wallet has no row that has paid for it")
    return leave(kind, fields, Paid(_SEAL, purpose))


def admit_vote(firm: Firm, offer: Offer, division: bytes, paid: Paid) -> None:
    """Note that the payment for a round covers one vote in it too, on units that are not in its sum.

    Args:
        division: the hash of the firm's examples as they are divided between the sum and the vote, 32 bytes.
    """
    assert paid.purpose
    firm.answers.may_vote(firm.config.cid, offer.round_id, offer.digest, division)


def leave_vote(firm: Firm, offer: Offer, groups: bytes, make: Callable[[bytes], bytes]) -> Leaving:
    """Let a vote leave, once a round, if `admit_vote` has noted that the round is paid for.

    Raises:
        SessionMismatch, AlreadyAnswered: it has not, or the firm has voted on something else.
    """
    vote = firm.answers.vote(firm.config.cid, offer.round_id, offer.digest, groups, make)
    return leave(VALIDATE, {"vote": vote}, Paid(_SEAL, f"vote/{offer.round_id.hex()}"))


def leave_opening(content: bytes, paid: Paid) -> bytes:
    """Let the file leave that opens an update to one auditor."""
    return bytes(leave(OPENING, {"opening": content}, paid)["opening"])


def reply(message: Message, leaving: Leaving, spoken: Dialect = SPOKEN, version: int = LOWEST) -> Message:
    """The answer to a message, in the version of the schema in which it was asked.

    Raises:
        VersionMismatch: that version cannot say it; nothing leaves.
    """
    return Message(pack(spoken.lowered("reply", leaving.kind, leaving, version), version), reply_to=message)


def refuse(message: Message, error: Exception) -> Message:
    """The answer that says no."""
    return Message(pack_refusal(error), reply_to=message)


def pack_refusal(error: Exception) -> RecordDict:
    """The reply that says no. What is not known to speak of the protocol shows neither its kind nor its text.

    An error about the firm's table, for one, quotes the cell that is wrong; and that it is about the table says that
    some record is.
    """
    leaving = leave(REFUSAL, dict(zip(("code", "detail"), told(error), strict=True)))
    return pack_refused(leaving["code"], leaving["detail"])


def told(error: Exception) -> tuple[str, str]:
    """The code and the line with which a refusal for this error leaves."""
    if isinstance(error, Refusal):
        return error.code, error.detail
    kind = type(error).__name__
    if isinstance(error, WalletRefused):
        known = next((words for of, words in _WALLET_SAYS.items() if isinstance(error, of)), None)
        return kind, known or "the firm's wallet does not pay; nothing was spent"
    if isinstance(error, SchemaMismatch):
        return kind, error.told
    if isinstance(error, PairSecretRefused):
        return ACCUSES + error.sender, str(error)
    if isinstance(error, _TOLD) and not isinstance(error, _OWN):
        return kind, _PATH.sub("a file of this firm", str(error))
    return UNREADY, "the firm's client cannot go on; its operator finds the cause in its log"
