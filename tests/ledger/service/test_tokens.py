"""A token says who calls, for one log, for a minute, once; anything else is refused, not treated as nobody."""

import base64
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from consortium_simulator import ORIGIN, Consortium, key_of

from ledger.cose import sign1
from ledger.keys import SigningKey
from ledger.service import tokens
from ledger.service.access import method_name
from ledger.service.tokens import BadToken, Identity, StaleToken, TokenGuard, make_token

RPC = method_name("Members")


@pytest.fixture(scope="module")
def founded() -> Consortium:
    return Consortium()


class World:
    """A guard whose clock moves by hand."""

    def __init__(self, made: Consortium) -> None:
        self.made = made
        self.state = made.log.state
        self.now_s = made.clock()
        self.guard = TokenGuard(ORIGIN, lambda: self.now_s)
        self.firm = Identity("firm-0", made.keys["firm-0"], ORIGIN)
        self.count = 0

    def cti(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(16, "big")

    def caller(self, raw: bytes) -> str | None:
        return self.guard.caller(tokens.SCHEME + base64.urlsafe_b64encode(raw).decode().rstrip("="), RPC, self.state)

    def token(self, identity: Identity | None = None, **changed: Any) -> bytes:
        return make_token(identity or self.firm, **{"rpc": RPC, "now_s": self.now_s, "cti": self.cti(), **changed})

    def claims(self, **changed: Any) -> bytes:
        """A token with other claims than `make_token` makes."""
        now_s = int(self.now_s)
        claims: dict[int | str, Any] = {1: "firm-0", 3: ORIGIN, 4: now_s + 60, 6: now_s, 7: self.cti(), "rpc": RPC}
        claims |= {
            int(name[1:]) if name != "crpc" else "rpc": value for name, value in changed.items() if name[0] == "c"
        }
        header = {1: -8, 4: self.firm.key.public.kid, 16: "application/cwt"}
        header |= {int(name[1:]): value for name, value in changed.items() if name[0] == "h"}
        claims = {label: value for label, value in claims.items() if value is not None}
        return sign1(header, cbor2.dumps(claims, canonical=True), self.firm.key.sign)


@pytest.fixture
def world(founded: Consortium) -> World:
    return World(founded)


def test_members_and_the_coordinator_are_known(world: World) -> None:
    assert world.guard.caller(None, RPC, world.state) is None
    for name in ("firm-0", "bank-0", "coordinator"):
        identity = Identity(name, world.made.keys[name], ORIGIN)
        assert world.caller(world.token(identity)) == name
        assert world.guard.caller(identity.authorization(RPC, world.now_s), RPC, world.state) == name


def test_it_is_a_cbor_web_token(world: World) -> None:
    tag = cbor2.loads(world.token(cti=b"c" * 16))
    assert tag.tag == 18
    now_s = int(world.now_s)
    assert cbor2.loads(tag.value[2]) == {1: "firm-0", 3: ORIGIN, 4: now_s + 60, 6: now_s, 7: b"c" * 16, "rpc": RPC}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda w: w.token(Identity("firm-0", w.firm.key, "other.example/log")), "for the log"),
        (lambda w: w.token(rpc=method_name("DeleteBody")), "for a call of"),
        (lambda w: w.token(Identity("firm-1", w.firm.key, ORIGIN)), "another key"),
        (lambda w: w.token(Identity("stranger", w.firm.key, ORIGIN)), "not an active member"),
        (lambda w: w.token(Identity("firm-0", key_of("mallory"), ORIGIN)), "another key"),
        (lambda w: w.token(life_s=61), "at most 60"),
        (lambda w: w.token(life_s=0), "at most 60"),
        (lambda w: w.token(life_s=-5), "at most 60"),
        (lambda w: w.token(now_s=w.now_s + 31), "clock"),
        (lambda w: w.token(now_s=w.now_s - 91), "clock"),
        (lambda w: w.token(cti=b"short"), "16 bytes"),
        (lambda w: w.claims(c2="firm-0"), "exactly"),
        (lambda w: w.claims(c7=None), "exactly"),
        (lambda w: w.claims(c4=True), "exactly"),
        (lambda w: w.claims(c4=1.5), "exactly"),
        (lambda w: w.claims(crpc=None), "exactly"),
        (lambda w: w.claims(crpc=7), "exactly"),
        (lambda w: w.claims(h16="application/jwt"), "typ"),
        (lambda w: w.claims(h15={1: "firm-0"}), "header"),
        (lambda w: w.claims(h1=-7), "header"),
        (lambda w: w.token()[:-1], "CBOR"),
        (lambda w: w.token() + b"\0", "trailing"),
        (lambda w: w.token()[:-1] + bytes([w.token()[-1] ^ 1]), "fit"),
        (lambda w: b"", "CBOR"),
        (lambda w: bytes(2000), "short token"),
    ],
)
def test_what_is_refused(world: World, make: Callable[[World], bytes], words: str) -> None:
    with pytest.raises(BadToken, match=words):
        world.caller(make(world))


def test_a_changed_signature_is_refused(world: World) -> None:
    raw = bytearray(world.token())
    raw[-1] ^= 1
    with pytest.raises(BadToken, match="does not fit"):
        world.caller(bytes(raw))


@pytest.mark.parametrize("text", ["", "Bearer x", "CWT", "CWT *", "CWT é"])
def test_metadata_that_is_no_token(world: World, text: str) -> None:
    with pytest.raises(BadToken):
        world.guard.caller(text, RPC, world.state)


@pytest.mark.parametrize("ahead_s", [-89, 0, 29])
def test_clocks_may_differ_by_half_a_minute(world: World, ahead_s: float) -> None:
    world.guard = TokenGuard(ORIGIN, lambda: world.now_s - 200)  # started long ago
    world.guard._clock = lambda: world.now_s
    assert world.caller(world.token(now_s=world.now_s + ahead_s)) == "firm-0"


def test_a_token_is_taken_once(world: World) -> None:
    raw = world.token()
    assert world.caller(raw) == "firm-0"
    for _ in range(90):
        with pytest.raises(BadToken, match="used before"):
            world.caller(raw)
        world.now_s += 1
    world.now_s += 1
    with pytest.raises(BadToken, match="clock"):
        world.caller(raw)


def test_what_was_taken_is_forgotten_when_it_is_dead(world: World) -> None:
    for _ in range(10):
        world.caller(world.token())
    world.now_s += 130
    world.caller(world.token())
    assert len(world.guard._taken) == 1


def test_a_token_from_before_the_start_is_not_taken(world: World) -> None:
    raw = world.token()
    world.now_s += 5
    later = TokenGuard(ORIGIN, lambda: world.now_s)
    with pytest.raises(StaleToken, match="before this service started") as error:
        later.caller(tokens.SCHEME + base64.urlsafe_b64encode(raw).decode(), RPC, world.state)
    assert error.value.exit_code == 3


def test_a_caller_that_floods_stops_only_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_LIVE_TOKENS", 3)
    for _ in range(3):
        world.caller(world.token())
    with pytest.raises(BadToken, match="wait a little"):
        world.caller(world.token())
    assert world.caller(world.token(Identity("firm-1", world.made.keys["firm-1"], ORIGIN))) == "firm-1"
    world.now_s += 130
    assert world.caller(world.token()) == "firm-0"


def test_a_bad_token_uses_nothing_up(world: World) -> None:
    cti = world.cti()
    forged = make_token(Identity("firm-0", key_of("mallory"), ORIGIN), rpc=RPC, now_s=world.now_s, cti=cti)
    with pytest.raises(BadToken):
        world.caller(forged)
    assert world.caller(world.token(cti=cti)) == "firm-0"


def test_a_hybrid_key_calls_with_its_ed25519_half() -> None:
    made = Consortium(founded=False)
    made.keys["firm-0"] = SigningKey.from_seed(bytes(range(64)))
    made.log.append(made.genesis())
    world = World(made)
    assert len(world.token()) < 400
    assert world.caller(world.token()) == "firm-0"
