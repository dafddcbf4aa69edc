"""The key holder's keys, as TenSEAL contexts: one with the secret key, which stays, one with the public key only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from clients.encryption.errors import ContextRefused
from clients.encryption.scheme import MODULUS_BITS, RING_DEGREE

MAX_CONTEXT_BYTES = 1 << 20


@dataclass(frozen=True)
class KeyPair:
    """A holder's keys of one epoch.

    Attributes:
        secret: the context with the secret key alone, some 62 KB: for encrypted storage only.
        public: the context with the public key alone, some 124 KB.
    """

    secret: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        """A fresh key pair from the operating system's secure source."""
        import tenseal

        made = tenseal.context(tenseal.SCHEME_TYPE.CKKS, RING_DEGREE, coeff_mod_bit_sizes=list(MODULUS_BITS))
        return cls(secret=_serialize(made, secret=True), public=_serialize(made, secret=False))


@dataclass(frozen=True, eq=False)
class Context:
    """A context that was read and checked.

    Attributes:
        hash: SHA-256 of its bytes, 32 bytes.
        native: TenSEAL's own.
    """

    hash: bytes
    native: Any = field(repr=False)


@lru_cache(maxsize=4)
def public_context(raw: bytes) -> Context:
    """Read a context that came from elsewhere; it has the public key of this scheme's parameters, and nothing else.

    Raises:
        ContextRefused: it is damaged, has other parameters, or carries a secret or evaluation key.
    """
    context = _read(raw)
    native = context.native
    if native.is_private() or native.has_secret_key():
        raise ContextRefused(
            "context: it carries the secret key, with which anyone reads every update; tell its holder"
        )
    if not native.has_public_key() or native.has_galois_keys() or native.has_relin_keys():
        raise ContextRefused("context: it must carry the public key and no other")
    # One meaning, one encoding: nothing else is in these bytes, so nothing else travels with them.
    if _serialize(native, secret=False) != raw:
        raise ContextRefused("context: these are not the bytes that its content is written as")
    return context


def secret_context(raw: bytes) -> Context:
    """Read the holder's own secret context.

    Raises:
        ContextRefused: it is damaged, or has no secret key.
    """
    context = _read(raw)
    if not context.native.has_secret_key():
        raise ContextRefused("context: it has no secret key")
    return context


def _read(raw: bytes) -> Context:
    import tenseal

    if len(raw) > MAX_CONTEXT_BYTES:
        raise ContextRefused(f"context: {len(raw)} bytes is over the limit of {MAX_CONTEXT_BYTES}")
    try:
        native = tenseal.context_from(raw)
        parameters = native.seal_context().data.key_context_data().parms()
        found = _terms(parameters)
    except Exception as error:  # the library raises many kinds on hostile bytes; all mean the same here
        raise ContextRefused(f"context: it cannot be read ({type(error).__name__})") from None
    if found != _expected():
        raise ContextRefused("context: its parameters are not those of this scheme")
    return Context(hashlib.sha256(raw).digest(), native)


@lru_cache(maxsize=1)
def _expected() -> tuple[str, int, tuple[int, ...]]:
    import tenseal

    made = tenseal.context(tenseal.SCHEME_TYPE.CKKS, RING_DEGREE, coeff_mod_bit_sizes=list(MODULUS_BITS))
    return _terms(made.seal_context().data.key_context_data().parms())


def _terms(parameters: Any) -> tuple[str, int, tuple[int, ...]]:
    """Scheme, degree and primes."""
    from tenseal import sealapi as _  # noqa: F401  # registers the types of what follows

    primes = tuple(one.value() for one in parameters.coeff_modulus())
    return str(parameters.scheme()), parameters.poly_modulus_degree(), primes


def _serialize(native: Any, *, secret: bool) -> bytes:
    raw: bytes = native.serialize(
        save_public_key=not secret, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False
    )
    return raw
