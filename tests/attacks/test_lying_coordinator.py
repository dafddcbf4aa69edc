"""Attacks of a lying coordinator on one firm's update, played to the end: with all it was sent, can it read it?

Every attack tries to read the update with what the firms gave away. A refusal alone would not show that nothing left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import combinations, count

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hoarder import Hoard, is_read

from clients.masking.contribution import Contribution, share_binding
from clients.masking.errors import AlreadyAnswered, MaskingError, SessionReused, ShareRefused
from clients.masking.pair_secrets import NONCE_BYTES
from clients.masking.session import Session
from clients.masking.threshold import threshold_for
from clients.masking.unmasking import UnmaskingReply
from experiments.benchmarks.masked_cohort import Cohort, MaskedRound, draw_updates, set_up_cohort

ROUND_NUMBERS = count(1)
DIMENSION = 4096
VICTIM = "firm-5"


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return set_up_cohort(6)


class Attack:
    """One round of a cohort in the hands of a coordinator that shows each firm what it likes."""

    def __init__(self, cohort: Cohort, *, threshold: int | None = None, seed: int = 0) -> None:
        number = next(ROUND_NUMBERS)
        self.session: Session = cohort.session(dimension=DIMENSION, round_number=number, threshold=threshold)
        self.cohort = cohort
        self.round = MaskedRound(cohort, self.session, draw_updates(self.session, seed))
        self.hoard = Hoard(self.session, self.round.contributions)
        self.refusals: list[MaskingError] = []

    @property
    def update(self) -> Mapping[str, np.ndarray]:
        return self.round.values

    def ask(
        self, member: str, shown: Collection[str], inbound: Mapping[str, bytes] | None = None
    ) -> UnmaskingReply | None:
        """Asks a firm to open the sum over `shown`, and forges the ledger to agree; keeps what it gives away."""
        headers = {m: self.round.contributions[m].header for m in sorted(shown)}
        commits = {m: self.round.commits[m] for m in headers}
        made_for_it = {m: self.round.contributions[m].shares[member] for m in headers if m != member}
        try:
            reply = self.cohort.firms[member].answer(self.session, headers, commits, inbound or made_for_it)
        except MaskingError as refusal:
            self.refusals.append(refusal)
            return None
        self.hoard.keep(reply)
        return reply

    def reads(self, *members: str) -> bool:
        """Whether the coordinator can read the sum of these firms' updates."""
        truth = np.sum([self.update[member] for member in members], axis=0)
        return is_read(self.hoard.guess(members), truth)

    def without(self, *members: str) -> list[str]:
        return [member for member in self.session.members if member not in members]


def test_the_hoard_reads_what_is_opened_and_nothing_else(cohort: Cohort) -> None:
    """The attacks' own tool works: it reads the whole sum, and any firm's update when all seeds are known."""
    attack = Attack(cohort)
    for member in attack.session.members:
        attack.ask(member, attack.session.members)
    assert attack.reads(*attack.session.members)
    assert not any(attack.reads(member) for member in attack.session.members)
    secrets = cohort.firms[VICTIM].secrets
    for peer in attack.without(VICTIM):
        attack.hoard.pair_seeds[frozenset({VICTIM, peer})] = secrets.mask_seed(attack.session, peer)
    assert np.array_equal(attack.hoard.guess([VICTIM]), attack.update[VICTIM])


class TestFalseDropOut:
    def test_after_the_whole_sum_is_open(self, cohort: Cohort) -> None:
        """The sum over all less the sum without the victim is the victim's update."""
        attack = Attack(cohort)
        for member in attack.session.members:
            attack.ask(member, attack.session.members)
        for member in attack.without(VICTIM):
            attack.ask(member, attack.without(VICTIM))
        assert [type(refusal) for refusal in attack.refusals] == [AlreadyAnswered] * 5
        assert not attack.reads(VICTIM)
        assert not attack.reads(*attack.without(VICTIM))

    def test_of_a_firm_whose_update_has_arrived(self, cohort: Cohort) -> None:
        """Everyone believes it: all masks with the victim are opened. Its own mask, which only shares open, is left."""
        attack = Attack(cohort)
        for member in attack.without(VICTIM):
            attack.ask(member, attack.without(VICTIM))
        assert attack.reads(*attack.without(VICTIM))
        assert not attack.reads(VICTIM)
        # Now the victim turns up after all: its shares are asked for, of the others and of itself.
        for member in attack.session.members:
            for shown in (attack.session.members, attack.without(VICTIM)):
                attack.ask(member, shown)
        assert attack.hoard.self_seed(VICTIM) is None
        assert not attack.reads(VICTIM)


class TestTwoCloseRecords:
    @pytest.mark.parametrize("told", [told for k in range(6) for told in combinations(range(5), k)], ids=str)
    def test_with_and_without_the_victim(self, cohort: Cohort, told: tuple[int, ...]) -> None:
        """Every division of the others into those that are told that the victim dropped and those that are not."""
        attack = Attack(cohort)
        attack.ask(VICTIM, attack.session.members)
        for position, member in enumerate(attack.without(VICTIM)):
            attack.ask(member, attack.without(VICTIM) if position in told else attack.session.members)
        assert attack.refusals == []
        assert not attack.reads(VICTIM)

    @pytest.mark.parametrize(("colluders", "threshold"), [(3, 4), (2, 4)])
    def test_more_colluders_than_the_threshold_allows_do_read_an_update(
        self, cohort: Cohort, colluders: int, threshold: int
    ) -> None:
        """What a threshold is for: t = 4 of 6 is for no colluder; three open an update, with two more it stays shut."""
        attack = self._corner(cohort, colluders, threshold)
        assert attack.reads(VICTIM) == (colluders >= threshold - 1)

    @pytest.mark.parametrize("colluders", [1, 2, 3, 4])
    def test_as_many_colluders_as_the_threshold_allows_read_nothing(self, cohort: Cohort, colluders: int) -> None:
        attack = self._corner(cohort, colluders, threshold_for(6, colluders=colluders, smallest_group=2))
        assert not attack.reads(VICTIM)

    def _corner(self, cohort: Cohort, colluders: int, threshold: int) -> Attack:
        """Shows the victim the set with the fewest other honest firms, and every other firm one without the victim."""
        attack = Attack(cohort, threshold=threshold)
        bad = attack.without(VICTIM)[:colluders]
        honest = attack.without(VICTIM, *bad)
        shown_to_victim = [VICTIM, *bad, *honest[: max(0, threshold - 1 - colluders)]]
        attack.ask(VICTIM, shown_to_victim)
        for member in honest:
            attack.ask(member, attack.without(VICTIM))
        for member in bad:  # they keep to no rule: all they know is given away
            secrets = cohort.firms[member].secrets
            sealed = attack.round.contributions[VICTIM].shares[member]
            attack.hoard.shares.setdefault(VICTIM, {})[member] = _open(cohort, attack.session, VICTIM, member, sealed)
            attack.hoard.pair_seeds[frozenset({VICTIM, member})] = secrets.mask_seed(attack.session, VICTIM)
        return attack


def _open(cohort: Cohort, session: Session, sender: str, receiver: str, sealed: bytes) -> bytes:
    """What `receiver` makes of a share that it is told `sender` made for it; raises InvalidTag if it was not."""
    key = cohort.firms[receiver].secrets.share_key(session, sender, receiver)
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], share_binding(session, sender, receiver))


class TestReplay:
    def test_of_an_old_rounds_shares_in_a_new_one(self, cohort: Cohort) -> None:
        """The victim is said to have dropped, so only its own mask is left; then its old shares go with a new round."""
        old = Attack(cohort)
        for member in old.without(VICTIM):
            old.ask(member, old.without(VICTIM))
        new = Attack(cohort, seed=1)
        for member in new.without(VICTIM):
            fresh = {m: c.shares[member] for m, c in new.round.contributions.items() if m != member}
            replayed = {**fresh, VICTIM: old.round.contributions[VICTIM].shares[member]}
            reply = new.ask(member, new.session.members, replayed)
            if reply is not None:
                old.hoard.shares.setdefault(VICTIM, {})[member] = reply.shares[VICTIM]
        assert not old.reads(VICTIM)
        assert [type(refusal) for refusal in new.refusals] == [ShareRefused] * 5

    def test_of_an_old_rounds_update_against_a_new_one(self, cohort: Cohort) -> None:
        """Were a mask used twice, the difference of two vectors less their opened own masks would show updates."""
        rounds = [Attack(cohort, seed=seed) for seed in (0, 1)]
        for attack in rounds:
            for member in attack.session.members:
                attack.ask(member, attack.session.members)
        one, two = (attack.hoard.guess([VICTIM]) for attack in rounds)
        ring = rounds[0].session.ring
        difference = ring.centre(ring.from_signed(one - two))
        assert not is_read(difference, rounds[0].update[VICTIM] - rounds[1].update[VICTIM])

    def test_of_an_old_contribution_in_a_new_set(self, cohort: Cohort) -> None:
        old, new = Attack(cohort), Attack(cohort, seed=1)
        new.round.contributions[VICTIM] = old.round.contributions[VICTIM]
        new.round.commits[VICTIM] = old.round.commits[VICTIM]
        for member in new.without(VICTIM):
            new.ask(member, new.session.members)
        assert len(new.refusals) == 5
        assert new.hoard.shares == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda session: replace(session, roster=session.roster[:5]),
        lambda session: replace(session, model=b"n" * 32),
        lambda session: replace(session, threshold=5),
    ],
    ids=["roster", "model", "threshold"],
)
def test_the_same_round_again_with_other_terms(cohort: Cohort, change: Callable[[Session], Session]) -> None:
    """The update of the firm that is left out is the difference of two sums over the same updates."""
    attack = Attack(cohort)
    second = change(attack.session)
    again: dict[str, Contribution] = {}
    for member in second.members:
        with pytest.raises(SessionReused):
            again[member] = cohort.firms[member].contribute(second, attack.update[member])
    assert again == {}
    # Nor does a firm answer the first trip's contribution under the other terms.
    for member in second.members:
        headers = {m: attack.round.contributions[m].header for m in second.members}
        commits = {m: attack.round.commits[m] for m in headers}
        inbound = {m: attack.round.contributions[m].shares[member] for m in headers if m != member}
        with pytest.raises(MaskingError):
            cohort.firms[member].answer(second, headers, commits, inbound)
    assert attack.hoard.shares == {}


def test_a_share_is_returned_to_the_firm_that_made_it(cohort: Cohort) -> None:
    """The victim is sent its own shares as if from its peers: each that it opens is one more share of its own seed.

    With a threshold of them the coordinator needs nobody else to take the victim's own mask off.
    """
    attack = Attack(cohort)
    own = attack.round.contributions[VICTIM].shares
    collected: set[str] = set()
    for peer in attack.without(VICTIM):
        honest = {m: c.shares[VICTIM] for m, c in attack.round.contributions.items() if m != VICTIM}
        reply = attack.ask(VICTIM, attack.session.members, {**honest, peer: own[peer]})
        if reply is not None:
            collected.add(peer)
    assert collected == set()
    assert [type(refusal) for refusal in attack.refusals] == [ShareRefused] * 5


def test_a_share_goes_to_another_firm_than_it_is_for(cohort: Cohort) -> None:
    """One colluder is handed the shares of all the others: it opens its own and no other."""
    attack, colluder = Attack(cohort), "firm-6"
    shares = attack.round.contributions[VICTIM].shares
    opened: dict[str, bytes] = {}
    for addressee, sealed in shares.items():
        for claimed in attack.without(colluder):  # under the victim's name, or any other's
            with suppress(InvalidTag):
                opened[addressee] = _open(cohort, attack.session, claimed, colluder, sealed)
    assert list(opened) == [colluder]
