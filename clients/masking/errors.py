"""Why a firm does not protect, or does not unmask: one class for each reason, so that a caller can tell."""

from __future__ import annotations

from clients.errors import ClientError


class MaskingError(ClientError):
    """Base of everything that masking refuses."""


class MalformedMessage(MaskingError):
    """Bytes from elsewhere are not a message of this protocol."""


class PlanRefused(MaskingError):
    """A session's numbers break a rule: it could wrap, open too small a group, or is against firm policy."""


class ValueOutOfBounds(MaskingError):
    """A value to be sent does not fit the bound that the session promises."""


class KeySetupRefused(MaskingError):
    """An epoch key or a pair secret is not authentic, not for this pair, or missing."""

    exit_code = 1


class PairSecretRefused(KeySetupRefused):
    """A pair secret with its sender's signature that does not open for its receiver.

    Attributes:
        sender: who signed it.
    """

    def __init__(self, sender: str, detail: str) -> None:
        super().__init__(detail)
        self.sender = sender


class EpochEnded(KeySetupRefused):
    """The epoch's keys are destroyed, here or by rotation: it is for the coordinator to begin a new one."""


class SessionReused(MaskingError):
    """This firm has already protected an update in this session or in this round."""

    exit_code = 1


class UnmaskingRefused(MaskingError):
    """Base of the reasons for which a firm keeps its shares to itself."""

    exit_code = 1


class SessionMismatch(UnmaskingRefused):
    """The session asked about is not the one that this firm took part in."""


class UnknownMember(UnmaskingRefused):
    """The closed set names someone who is not in the session's roster."""


class OwnContributionMissing(UnmaskingRefused):
    """The closed set leaves out this firm, which did contribute: a false drop-out."""


class OwnContributionChanged(UnmaskingRefused):
    """The closed set holds another contribution under this firm's name."""


class HeaderMismatch(UnmaskingRefused):
    """A header is not the one its firm recorded, or speaks for another session or member."""


class TooFewContributions(UnmaskingRefused):
    """The closed set is smaller than the session's threshold."""


class AlreadyAnswered(UnmaskingRefused):
    """This firm has already answered this session for another closed set."""


class ShareRefused(UnmaskingRefused):
    """A share is missing, was made for someone else, or does not open."""
