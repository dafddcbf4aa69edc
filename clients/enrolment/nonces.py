"""Signed requests that were taken once are not taken again."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field

from clients.enrolment.signed import BadRequest

MAX_NONCES = 100_000


@dataclass
class Nonces:
    """Requests that were taken once; they are remembered for as long as they would be fresh."""

    keep_s: float
    _seen: set[bytes] = field(default_factory=set)
    _order: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self, request: bytes, now_s: float) -> None:
        """Take a request.

        Raises:
            BadRequest: it was taken before, or there are too many.
        """
        while self._order and self._order[0][0] < now_s:
            self._seen.discard(self._order.popleft()[1])
        digest = hashlib.sha256(request).digest()
        if digest in self._seen:
            raise BadRequest("this very request was made before; make a new one")
        if len(self._seen) >= MAX_NONCES:
            raise BadRequest("too many requests at the moment; try again later")
        self._seen.add(digest)
        self._order.append((now_s + self.keep_s, digest))
