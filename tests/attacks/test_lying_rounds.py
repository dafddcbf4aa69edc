"""Attacks of a lying coordinator on real firms, with their homes, wallets and mirrors of the ledger."""

from __future__ import annotations

import secrets as csprng
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from consortium_world import CID, EPOCH, TASK, Consortium, a_plan
from hoarder import Hoard

from clients import introduction, participation
from clients.errors import ClientError
from clients.firm import Firm
from clients.greeting import question
from clients.masking.announcement import announce, read_announcement
from clients.masking.contribution import Contribution
from clients.masking.epoch import EpochKeyPair, seal_pair_secrets
from clients.masking.errors import AlreadyAnswered, EpochEnded, KeySetupRefused, MaskingError
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.masking.unmasking import UnmaskingReply
from clients.messages import Refusal
from clients.offer import read_offer
from clients.privacy import add
from ledger.checkpoint import NotFinal
from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.rules import Refused
from ledger.statement import decode_statement
from server.coordinator import LEDGER_FILE

VICTIM = "firm-6"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    made = Consortium(tmp_path_factory.mktemp("consortium") / "home")
    yield made
    made.close()


@pytest.fixture
def clear(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Integers]]:
    """What every firm put under its masks, in order: the truth that the attacks are after."""
    seen: dict[str, list[Integers]] = {}
    honest = participation.protect

    def watch(session: Session, me: str, values: Integers, *rest: Any, **more: Any) -> Any:
        seen.setdefault(me, []).append(values.copy())
        return honest(session, me, values, *rest, **more)

    monkeypatch.setattr(participation, "protect", watch)
    return seen


class Round:
    """A round that the test leads through its messages."""

    def __init__(self, world: Consortium, number: int = 1) -> None:
        self.world = world
        self.statement = world.open_round(a_plan(number=number))
        offer = read_offer(world.firms["firm-1"], self.statement, world.receipt(self.statement))
        roster = world.firms["firm-1"].round_secrets.roster(EPOCH)
        self.id = offer.round_id
        self.session = participation.session_of(CID, offer, roster, TASK.architecture.size)
        self.contributions: dict[str, Contribution] = {}
        self.hoard = Hoard(self.session, self.contributions)
        self.requests: dict[str, dict[str, Any]] = {}

    def train(self, name: str) -> bytes:
        """First trip of one firm; returns its statement, which is not on the ledger yet."""
        self.requests[name] = self.world.request(name, self.statement)
        reply = participation.train(self.world.firms[name], self.requests[name])
        self.contributions[name] = Contribution.from_bytes(reply["contribution"])
        return bytes(reply["statement"])

    def opening(self, name: str, shown: list[str]) -> dict[str, Any]:
        return {
            "round": self.id,
            "headers": {m: self.contributions[m].header for m in shown},
            "commits": {},
            "inbound": {m: self.contributions[m].shares[name] for m in shown if m != name},
            "final": self.world.log.final(),
        }

    def ask(self, name: str, shown: list[str], **forged: str) -> None:
        request = {**self.opening(name, shown), **forged}
        reply = participation.open_sum(self.world.firms[name], request)["reply"]
        self.hoard.keep(UnmaskingReply.from_bytes(reply))


def _exact(guess: Integers, truth: Integers) -> bool:
    """Few values: an update is read if most of them come out, which chance gives once in 2^24 for each."""
    return int(np.count_nonzero(guess == truth)) > 2


def test_the_ledger_grows_between_two_openings(world: Consortium, clear: dict[str, list[Integers]]) -> None:
    """Two close records that are both final: the victim's contribution is withheld, some firms open, then it is logged.

    Finality alone does not stop this; the threshold does. No firm answers twice, and the two halves together open
    neither sum.
    """
    attack = Round(world)
    early = [name for name in world.names if name != VICTIM]
    world.log.append([attack.train(name) for name in early])
    withheld = attack.train(VICTIM)
    world.witness()
    for name in early[:3]:
        attack.ask(name, early)
    world.log.append([withheld])
    world.witness()
    for name in early[:3]:
        with pytest.raises(AlreadyAnswered):
            attack.ask(name, world.names)
    for name in [*early[3:], VICTIM]:
        with pytest.raises(MaskingError, match=VICTIM):
            attack.ask(name, early)
        attack.ask(name, world.names)
    for group in ([VICTIM], early, world.names):
        truth = np.sum([clear[name][0] for name in group], axis=0)
        assert not _exact(attack.hoard.guess(group), truth)


def test_two_forks_of_the_ledger_are_shown_to_two_halves(world: Consortium, clear: dict[str, list[Integers]]) -> None:
    """One history without the victim's contribution and one with it. Neither half of the firms is a quorum."""
    attack = Round(world)
    statements = {name: attack.train(name) for name in world.names}
    earlier = str(world.log.final())
    world.log.close()
    forked = world.built.coordinator / "fork.db"
    shutil.copy(world.built.coordinator / LEDGER_FILE, forked)
    world.log = Log.open(world.built.coordinator / LEDGER_FILE, world.key)
    fork = Log.open(forked, world.key)
    without = [name for name in world.names if name != VICTIM]
    for log, half, shown in ((world.log, world.names[:3], without), (fork, world.names[3:], world.names)):
        log.append([statements[name] for name in shown])
        honest, world.log = world.log, log
        note = log.checkpoint()
        news = {name: world.news(world.firms[name]) for name in half}
        lines = [introduction.witness(world.firms[name], news[name])["cosignature"] for name in half]
        for name in half:
            with pytest.raises(NotFinal, match="too few for the quorum"):
                attack.ask(name, shown, final=note + "".join(lines))
            with pytest.raises(Refusal, match="is not of the ledger that"):  # a good one, of before the fork
                attack.ask(name, shown, final=earlier)
        world.log = honest
    fork.close()
    for group in ([VICTIM], without, world.names):
        assert not _exact(attack.hoard.guess(group), np.sum([clear[name][0] for name in group], axis=0))


def test_an_old_rounds_messages_are_sent_again(world: Consortium) -> None:
    """The first and the second trip of a round that is over, and the second trip's answers to another round."""
    old = Round(world)
    world.log.append([old.train(name) for name in world.names])
    world.witness()
    openings = {name: old.opening(name, world.names) for name in world.names}
    for name in world.names:
        participation.open_sum(world.firms[name], openings[name])
    world.abort(old.statement)
    new = Round(world, number=2)
    world.log.append([new.train(name) for name in world.names])
    world.witness()
    head = {name: world.firms[name].wallet.head for name in world.names}
    for name in world.names:
        firm = world.firms[name]
        with pytest.raises((ClientError, LedgerError), match="aborted already"):
            participation.train(firm, old.requests[name])
        replays = (
            openings[name],
            {**openings[name], "final": world.log.final()},
            {**openings[name], "round": new.id},
            {**openings[name], "round": new.id, "final": world.log.final()},
        )
        for replay in replays:
            with pytest.raises((ClientError, LedgerError)):
                participation.open_sum(firm, replay)
        assert firm.wallet.head == head[name]


def test_a_voided_rounds_update_is_never_sent_again(world: Consortium, clear: dict[str, list[Integers]]) -> None:
    """Retry differencing: opened with the victim in one try and without it in the next, equal updates would cancel.

    They are not equal: each try has its own noise at every firm, and is paid for. The difference of two tries of one
    firm has the deviation of two noises. Within one try there is one update: asked again, the firm gives the same
    bytes, and pays nothing for them; once the round is over it gives none.
    """
    firm = world.firms[VICTIM]
    private = firm.task("credit")
    spent = [firm.wallet.spent(private.unit, private.dataset)]
    tries = []
    for number in (1, 2):
        attack = Round(world, number)
        attack.train(VICTIM)
        again = {**attack.requests[VICTIM], "sealed": {}}
        repeated = participation.train(firm, again)["contribution"]
        assert repeated == attack.contributions[VICTIM].to_bytes()
        tries.append(attack)
        world.abort(attack.statement)
        with pytest.raises((ClientError, LedgerError)):
            participation.train(firm, again)
        spent.append(firm.wallet.spent(private.unit, private.dataset))
    cost = a_plan().round_rdp()
    assert spent[1:] == [add([spent[0], cost]), add([spent[0], cost, cost])]
    first, second = clear[VICTIM]
    sigma = a_plan().grid(6).sigma
    deviation = float(np.std(first - second))
    assert deviation > 0.6 * np.sqrt(2) * sigma
    vectors = [np.frombuffer(one.contributions[VICTIM].masked, dtype=np.uint8) for one in tries]
    assert float((vectors[0] == vectors[1]).mean()) < 0.2


class TestKeySubstitution:
    """The coordinator relays all keys. Between the victim and its peers it would read everything of the victim's."""

    def _announced(self, world: Consortium, epoch: int, names: list[str]) -> dict[str, bytes]:
        request = question(CID, "credit", epoch, bytes(32))
        return {name: introduction.hello(world.firms[name], request)["announcement"] for name in names}

    def test_of_the_peers_epoch_keys(self, world: Consortium) -> None:
        """Shown keys of the coordinator's own, under its peers' names, the lowest firm would seal all secrets to it."""
        victim, epoch = world.firms["firm-1"], EPOCH + 1
        world.log.append(list(self._announced(world, epoch, ["firm-1"]).values()))
        for signer in (world.key, SigningKey.generate()):
            false = {
                name: announce(EpochKeyPair.generate(), CID, epoch, name, signer, record_id=bytes(16), now_s=1)
                for name in world.names[1:]
            }
            for raw in false.values():
                with pytest.raises(Refused, match="'signature'"):
                    world.log.append([raw])
        world.witness()
        told = world.pairing(epoch, announcements=false, signing_keys=dict.fromkeys(false, signer.public.raw))
        assert participation.pair(victim, told)["sealed"] == {}
        assert [entry.member for entry in victim.round_secrets.roster(epoch)] == ["firm-1"]

    def test_of_the_peers_epoch_keys_where_no_ledger_vouches(self, world: Consortium) -> None:
        """Without a ledger a firm takes the message's word for signing keys, and holds the statements to those."""
        false = announce(EpochKeyPair.generate(), CID, 2, VICTIM, world.key, record_id=bytes(16), now_s=1)
        with pytest.raises(KeySetupRefused, match="the signature is not the sender's enrolled key's"):
            read_announcement(false, CID, 2, VICTIM, world.firms[VICTIM].key.public)

    def test_of_an_earlier_epochs_keys(self, world: Consortium) -> None:
        """Keys that leaked once, rightly signed then, are brought out again in the next epoch."""
        size = world.log.size
        old = [raw for raw in world.log.entries(0, size) if decode_statement(raw).payload["t"] == "epoch_key"]
        again = self._announced(world, EPOCH, world.names)
        world.log.append(list(self._announced(world, EPOCH + 1, world.names[:1]).values()))
        assert max(world.log.append(old)) < size  # the same statements: they change nothing
        for name in world.names:
            with pytest.raises(Refused, match="'epoch'"):
                world.log.append([again[name]])
        world.witness()
        victim, announced = world.firms["firm-1"], {"announcements": again, "signing_keys": {}}
        assert participation.pair(victim, world.pairing(EPOCH + 1, **announced))["sealed"] == {}
        with pytest.raises(EpochEnded):
            participation.pair(victim, world.pairing(EPOCH, **announced))

    def test_two_forks_of_the_ledger_show_two_keys_of_one_firm(self, world: Consortium, tmp_path: Path) -> None:
        """A firm that sides with the coordinator signs two keys, and cosigns both histories.

        Drawn with either, secrets would split the others into halves that cannot open a sum together. Of two histories
        at most one is final: only its firms draw secrets, all of them with the same keys.
        """
        epoch, honest = EPOCH + 1, world.names[:-1]
        world.firms[VICTIM].rest()
        twin = Firm(Path(shutil.copytree(world.firms[VICTIM].home, tmp_path / "twin")))
        announced = list(self._announced(world, epoch, honest).values())
        request = question(CID, "credit", epoch, bytes(32))
        world.log.close()
        forked = world.built.coordinator / "fork.db"
        shutil.copy(world.built.coordinator / LEDGER_FILE, forked)
        sides = ((LEDGER_FILE, honest[:3], world.firms[VICTIM]), (forked.name, honest[3:], twin))
        for file, half, liar in sides:
            world.log = Log.open(world.built.coordinator / file, world.key)
            world.log.append([*announced, introduction.hello(liar, request)["announcement"]])
            firms = [*(world.firms[name] for name in half), liar]
            lines = [introduction.witness(firm, world.news(firm))["cosignature"] for firm in firms]
            told = world.pairing(epoch, final=world.log.checkpoint() + "".join(lines))
            for name in half:
                with suppress(NotFinal):
                    participation.pair(world.firms[name], told)
            world.log.close()
        world.log = Log.open(world.built.coordinator / LEDGER_FILE, world.key)
        twin.close()
        drew = [name for name in honest if world.firms[name].round_secrets.has_pairs(epoch)]
        assert drew == honest[:3]
        assert len({world.firms[name].round_secrets.roster(epoch) for name in drew}) == 1

    def test_of_the_pair_secrets_on_their_way(self, world: Consortium, clear: dict[str, list[Integers]]) -> None:
        """The victim is sent secrets that the coordinator drew, sealed to its true key under its peers' names.

        It takes only public keys to make them. If the victim took them, the coordinator would hold every mask and every
        share key between the victim and the others, and would read its update at once.
        """
        epoch, liar = EPOCH + 1, SigningKey.generate()
        world.set_up_keys(epoch)
        roster = world.firms[VICTIM].round_secrets.roster(epoch)
        forged: dict[str, bytes] = {}
        for entry in roster[:-1]:
            posing: Any = SimpleNamespace(public_bytes=entry.epoch_key)  # sealing uses nothing private of the sender
            _, messages = seal_pair_secrets(posing, CID, epoch, entry.member, roster, liar.sign, csprng.token_bytes)
            forged[entry.member] = messages[VICTIM]
        statement = world.open_round(a_plan(epoch=epoch))
        with pytest.raises(KeySetupRefused, match="the signature is not the sender's enrolled key's"):
            participation.train(world.firms[VICTIM], world.request(VICTIM, statement, sealed=forged))
        assert VICTIM not in clear


def test_a_statement_in_the_victims_name_for_another_update(world: Consortium) -> None:
    """The coordinator logs a contribution of its own making as the victim's, so that the victim opens it."""
    attack = Round(world)
    for name in world.names:
        statement = attack.train(name)
        if name != VICTIM:
            world.log.append([statement])
    payload = dict(decode_statement(statement).payload)
    forged = {**payload, "commit": attack.contributions["firm-1"].commit}
    with pytest.raises(LedgerError):
        world.append_payload(forged, attack.id.hex())
