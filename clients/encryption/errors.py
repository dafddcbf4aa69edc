"""Why a sum is not encrypted, not checked or not opened."""

from __future__ import annotations

from clients.masking.errors import MaskingError


class EncryptionError(MaskingError):
    """Base of everything that encrypted aggregation refuses."""

    exit_code = 1


class ContextRefused(EncryptionError):
    """A context is not one of this scheme, holds more than the public key, or is not the one on the ledger."""


class CiphertextRefused(EncryptionError):
    """Bytes are not an encrypted vector of this session."""


class CheckRefused(EncryptionError):
    """A sum lacks the signatures of enough firms that have computed it themselves."""


class SumMalformed(EncryptionError):
    """A sum does not open to whole numbers that the firms can have sent: some firm did not encrypt as it should."""


class KeyRetired(EncryptionError):
    """The holder's key of this epoch is gone: destroyed after a malformed sum, or ended, or never made."""
