"""Who sends a request to the Fleet API, known from its headers alone.

Flower checks a node's signature after it has read the request's body. The same check, by the same headers, goes before
the body here, and only for keys that are registered, of members who have a certificate: nobody else can make anybody
read anything. Flower's own check stays behind it.
"""

from __future__ import annotations

import asyncio
import binascii
import datetime as dt
import logging
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import verify_signature

FRESH_S = 60.0
"""How long a list of registered keys is good; a key that is taken off it meanwhile is still refused by Flower."""
ASK_AGAIN_S = 1.0
"""Least time between two looks at the list; who is not on it waits for the next one."""

Headers = Sequence[tuple[bytes, bytes]]
Registered = Callable[[], Awaitable[Mapping[bytes, str]]]
ShutOut = Callable[[], Collection[str]]

_LONGEST_HEADER = 1024

log = logging.getLogger("artesian.fence")


class Members:
    """Says whose registered key signed a request.

    Args:
        registered: gives the keys that are registered now, PEM as nodes show them, with the members whose they are.
        shut_out: the members that are not let in, though their keys are registered; asked for each request.
        now: UTC.
        clock, sleep: seconds, monotonic.
    """

    def __init__(
        self,
        registered: Registered,
        shut_out: ShutOut = frozenset,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registered, self._shut_out = registered, shut_out
        self._now, self._clock, self._sleep = now, clock, sleep
        self._keys: Mapping[bytes, str] = {}
        self._read_s: float | None = None
        self._reading = asyncio.Lock()

    async def __call__(self, headers: Headers) -> bytes | None:
        """The key of whoever signed a request, or None.

        Raises:
            LedgerError: who is shut out cannot be read.
        """
        key = signer(headers, self._now())
        if key is None:
            return None
        came_s = self._clock()
        if key not in self._keys or self._read_s is None or came_s - self._read_s > FRESH_S:
            async with self._reading:
                if self._read_s is None or self._read_s < came_s:  # else another request has read it meanwhile
                    if self._read_s is not None:
                        await self._sleep(max(0.0, self._read_s + ASK_AGAIN_S - self._clock()))
                    self._read_s, self._keys = self._clock(), await self._registered()
        return key if key in self._keys and self._keys[key] not in self._shut_out() else None


def signer(headers: Headers, now: dt.datetime) -> bytes | None:
    """The key (PEM) with which the headers of a request are signed, or None if they are not, or not lately."""
    try:
        key = b64decode(_only(headers, FLEET_HTTP_PUBLIC_KEY_HEADER), validate=True)
        signature = b64decode(_only(headers, FLEET_HTTP_SIGNATURE_HEADER), validate=True)
        timestamp = _only(headers, TIMESTAMP_HEADER)
        age_s = (now - dt.datetime.fromisoformat(timestamp.decode("ascii"))).total_seconds()
        if not -SYSTEM_TIME_TOLERANCE < age_s < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE:
            return None
        public = _loaded(key)
    except (ValueError, TypeError, UnicodeError, binascii.Error, UnsupportedAlgorithm):
        return None
    if not isinstance(public, EllipticCurvePublicKey) or not verify_signature(public, timestamp, signature):
        return None
    return key


def _only(headers: Headers, name: str) -> bytes:
    (value,) = (one for called, one in headers if called == name.encode())
    if len(value) > _LONGEST_HEADER:
        raise ValueError(name)
    return value


@lru_cache(maxsize=1024)
def _loaded(pem: bytes) -> Any:
    return load_pem_public_key(pem)
