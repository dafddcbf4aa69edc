"""Who calls: a CBOR Web Token (RFC 8392), made for one call by the member's signing key as the ledger has it now.

A token is a COSE_Sign1 with the claims iss (the member), aud (the log's origin), exp, iat, cti and rpc (the method that
is called, so that a false server to which it is shown can make no other call of it). It lives a minute at most, so
Ed25519 is enough for it also where statements are signed in both ways: whoever breaks Ed25519 one day can call nobody
in the past. It authenticates, it does not encrypt: only TLS keeps it secret.
"""

import base64
import binascii
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

from ledger.cose import ALG, ALG_EDDSA, KID, CoseError, attached, read_sign1, sign1, signature_input
from ledger.encoding import EncodingError, decode_item
from ledger.errors import LedgerError
from ledger.keys import BadSignature, PublicKey, SigningKey
from ledger.rules import COORDINATOR, State

METADATA_KEY = "authorization"
SCHEME = "CWT "
LIFE_S = 60
SKEW_S = 30
CTI_BYTES = 16
MAX_TOKEN_CHARACTERS = 1024
MAX_LIVE_TOKENS = 50_000
"""Of one caller: as many calls as it may make in the life of a token."""

TYP = 16
TOKEN_TYPE = "application/cwt"
_ISS, _AUD, _EXP, _IAT, _CTI, _RPC = 1, 3, 4, 6, 7, "rpc"


class BadToken(LedgerError):
    """A call's token does not say who calls; the call is refused, not treated as an outsider's."""

    exit_code = 1


class StaleToken(LedgerError):
    """A token from before this service started, when it may have been used already; a new one is welcome."""

    exit_code = 3


@dataclass(frozen=True)
class Identity:
    """Whom a client calls as.

    Attributes:
        member: its id, or `coordinator`.
        key: its signing key.
        origin: the log's name: a token for one log is no token for another.
    """

    member: str
    key: SigningKey
    origin: str

    def authorization(self, rpc: str, now_s: float, entropy: Callable[[int], bytes] = os.urandom) -> str:
        """The value of the metadata `authorization` for one call of the method `rpc` made at `now_s`."""
        token = make_token(self, rpc=rpc, now_s=now_s, cti=entropy(CTI_BYTES))
        return SCHEME + base64.urlsafe_b64encode(token).decode().rstrip("=")


def make_token(identity: Identity, *, rpc: str, now_s: float, cti: bytes, life_s: int = LIFE_S) -> bytes:
    """A token for the next `life_s` seconds.

    Args:
        rpc: gRPC's full name of the method that is called, `/package.Service/Method`.
        cti: 16 random bytes, new in each token.
    """
    issued_s = int(now_s)
    claims = {
        _ISS: identity.member,
        _AUD: identity.origin,
        _EXP: issued_s + life_s,
        _IAT: issued_s,
        _CTI: cti,
        _RPC: rpc,
    }
    header = {ALG: ALG_EDDSA, KID: identity.key.public.kid, TYP: TOKEN_TYPE}
    return sign1(header, cbor2.dumps(claims, canonical=True), identity.key.sign)


class TokenGuard:
    """Checks tokens, and takes each of them once. Lives in one thread.

    What was taken is forgotten when this process ends; so tokens made before it started are not taken.
    """

    def __init__(self, origin: str, clock: Callable[[], float]) -> None:
        """Guard the log `origin`."""
        self._origin = origin
        self._clock = clock
        self._started_s = int(clock())
        self._taken: set[bytes] = set()
        self._live: deque[tuple[int, str, bytes]] = deque()
        self._counts: Counter[str] = Counter()

    def caller(self, authorization: str | None, rpc: str, state: State) -> str | None:
        """The member that calls; None when the call carries no token.

        Args:
            authorization: the metadata's value.
            rpc: gRPC's full name of the method called.
            state: the ledger's state now: its keys and members count, not those of the token's time.

        Raises:
            BadToken: malformed, for another log or method, expired, of the future, of no active member with this
                key, or used before.
            StaleToken: made before this guard.
        """
        if authorization is None:
            return None
        token = _Token.read(authorization)
        token.verify(key_of(token.issuer, state))
        self._require_valid(token, rpc)
        self._take(token)
        return token.issuer

    def _require_valid(self, token: "_Token", rpc: str) -> None:
        now_s = self._clock()
        if token.audience != self._origin:
            raise BadToken(f"the token is for the log {token.audience!r}, this is {self._origin!r}")
        if token.rpc != rpc:
            raise BadToken(f"the token is for a call of {token.rpc!r}, this is {rpc!r}; make a new one for each call")
        if not 0 < token.expires_s - token.issued_s <= LIFE_S:
            raise BadToken(f"the token lives {token.expires_s - token.issued_s} s; at most {LIFE_S} s are allowed")
        if token.issued_s > now_s + SKEW_S or token.expires_s < now_s - SKEW_S:
            off_s = abs(int(token.issued_s - now_s))
            raise BadToken(f"the token was made {off_s} s from now by the service's clock; set the caller's clock")
        if token.issued_s < self._started_s:
            raise StaleToken("the token was made before this service started; try again in a second")

    def _take(self, token: "_Token") -> None:
        now_s = self._clock()
        while self._live and self._live[0][0] < now_s:
            _, issuer, cti = self._live.popleft()
            self._taken.discard(cti)
            self._counts[issuer] -= 1
        if token.cti in self._taken:
            raise BadToken("the token was used before; make a new one for each call")
        if self._counts[token.issuer] >= MAX_LIVE_TOKENS:
            raise BadToken(f"{token.issuer!r} made {MAX_LIVE_TOKENS} calls within {LIFE_S} s; wait a little")
        # In order of taking, which is close to that of expiry: an entry is kept for the longest life of all.
        self._live.append((int(now_s) + LIFE_S + 2 * SKEW_S + 1, token.issuer, token.cti))
        self._taken.add(token.cti)
        self._counts[token.issuer] += 1


def key_of(caller: str, state: State) -> PublicKey:
    """The signing key that the ledger has for a caller now.

    Raises:
        BadToken: it is neither an active member nor the coordinator.
    """
    if caller == COORDINATOR:
        if state.coordinator is None:
            raise BadToken("the ledger names no coordinator yet; append the genesis statements first")
        return state.coordinator
    member = state.members.get(caller)
    if member is None or not member.active:
        raise BadToken(f"{caller!r} is not an active member of the consortium")
    return member.key


@dataclass(frozen=True)
class _Token:
    issuer: str
    audience: str
    expires_s: int
    issued_s: int
    cti: bytes
    rpc: str
    kid: bytes
    signed: bytes
    signature: bytes

    @classmethod
    def read(cls, authorization: str) -> "_Token":
        raw = _raw(authorization)
        try:
            message = read_sign1(raw, what="the token")
            content = attached(message, what="the token")
            header, claims = message.header, decode_item(content, what="the token's claims")
        except (CoseError, EncodingError) as error:
            raise BadToken(str(error)) from None
        kid = _kid(header)
        match claims:
            case {
                1: str() as issuer,
                3: str() as audience,
                4: int() as exp,
                6: int() as iat,
                7: bytes() as cti,
                "rpc": str() as rpc,
            } if len(claims) == 6 and len(cti) == CTI_BYTES and type(exp) is type(iat) is int:
                signed = signature_input(message.protected, content)
                return cls(issuer, audience, exp, iat, cti, rpc, kid, signed, message.signature)
        raise BadToken("the token's claims must be exactly iss, aud, exp, iat, a cti of 16 bytes, and rpc")

    def verify(self, key: PublicKey) -> None:
        try:
            if key.kid != self.kid:
                raise BadSignature(f"the token of {self.issuer!r} is by another key than the ledger has for it now")
            key.verify(self.signature, self.signed)
        except BadSignature as error:
            raise BadToken(str(error)) from None


def _kid(header: Mapping[Any, Any]) -> bytes:
    match header:
        case {1: -8, 4: bytes() as kid, 16: "application/cwt"} if len(header) == 3:
            return kid
    raise BadToken("the token's header must hold exactly alg EdDSA, kid and typ application/cwt")


def _raw(authorization: str) -> bytes:
    if not authorization.startswith(SCHEME) or len(authorization) > MAX_TOKEN_CHARACTERS:
        raise BadToken("the metadata 'authorization' must be 'CWT ' and a short token in base64url")
    text = authorization.removeprefix(SCHEME)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadToken("the token is not base64url; send it as it was made") from None
    return raw
