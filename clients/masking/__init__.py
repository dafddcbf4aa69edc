"""The client half of masked aggregation: the coordinator learns a sum over firms and no single update.

Two trips a round: `protect` gives what a firm sends first, `answer` opens the sum over one closed set.
"""

from clients.masking.announcement import announce, read_announcement, roster_on_ledger
from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import Contribution, Header, Kept, protect
from clients.masking.epoch import (
    EpochKeyPair,
    open_pair_secrets,
    seal_pair_secrets,
)
from clients.masking.pair_secrets import PairSecrets
from clients.masking.plain import expose
from clients.masking.quantiser import Quantiser
from clients.masking.ring import Ring
from clients.masking.session import RosterEntry, Session
from clients.masking.threshold import GroupPolicy, threshold_for
from clients.masking.unmasking import UnmaskingReply, answer, closed_set_hash

__all__ = [
    "AnswerBook",
    "Contribution",
    "EpochKeyPair",
    "GroupPolicy",
    "Header",
    "Kept",
    "PairSecrets",
    "Quantiser",
    "Ring",
    "RosterEntry",
    "Session",
    "UnmaskingReply",
    "announce",
    "answer",
    "closed_set_hash",
    "expose",
    "open_pair_secrets",
    "protect",
    "read_announcement",
    "roster_on_ledger",
    "seal_pair_secrets",
    "threshold_for",
]
