"""Attacks around an update that is opened in a dispute: who reads it besides the auditor, and what a liar can open."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dispute_world import Disputed
from hoarder import Hoard

from clients.masking.contribution import Contribution, Header, commit_pair_seed
from clients.masking.keystream import apply_masks
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.opening import NotForThisKey, open_opening
from clients.plan import Plan
from experiments.benchmarks.masked_cohort import MaskedRound, draw_updates, set_up_cohort
from server.aggregation.evidence import Unmasking
from server.aggregation.masked import recompute
from server.aggregation.opened_update import OpeningMismatch, open_update
from server.artifacts import ArtifactStore
from server.stored_round import StoredSum, stored_round

VICTIM = "firm-2"


@pytest.fixture(scope="module")
def world(disputed_federation: Disputed) -> Disputed:
    return disputed_federation


def stored(world: Disputed, number: int = 1) -> StoredSum:
    """What anybody with the store and the ledger has of a round."""
    recorded = world.copy().rounds[world.rounds[number - 1].id]
    kept = stored_round(
        recorded, Plan.from_map(recorded.payload["plan"]), ArtifactStore(world.built.coordinator / "artifacts")
    )
    return kept.sums[0]


def without_own_masks(kept: StoredSum) -> Hoard:
    """The coordinator's hoard after a finished round, in which every firm's own mask is known and taken off."""
    seeds, ring, session = Unmasking.from_bytes(kept.artifacts.unmasking).self_seeds, kept.session.ring, kept.session
    contributions = {}
    for member, seed in seeds.items():
        values = ring.unpack(kept.artifacts.masked[member], session.dimension).copy()
        apply_masks(values, [], [seed])
        hashes = kept.artifacts.pair_hashes[member]
        contributions[member] = Contribution(kept.artifacts.headers[member], ring.pack(values), hashes, {})
    return Hoard(session, contributions)


def exact(guess: Integers, truth: Integers) -> bool:
    """Few values: an update is read if most of them come out, which chance gives once in 2^24 for each."""
    return int(np.count_nonzero(guess == truth)) > 2


def test_nobody_but_the_auditor_reads_what_was_opened(world: Disputed, tmp_path: Path) -> None:
    """The coordinator has the file, the whole store, and all that a colluding member's home holds."""
    firm = world.firm(VICTIM, tmp_path)
    file = world.open(firm)
    firm.close()
    hoard, truth = without_own_masks(stored(world)), world.masked[world.round.id, VICTIM]
    for auditor in ("bank-1", "firm-5"):
        with pytest.raises(NotForThisKey):
            open_opening(file, world.key("firm-5"), "simulation", auditor)
    assert not exact(hoard.guess([VICTIM]), truth)
    opening, _ = open_opening(file, world.key("bank-1"), "simulation", "bank-1")
    hoard.pair_seeds.update({frozenset({VICTIM, peer}): seed for peer, seed in opening.seeds.items()})
    assert exact(hoard.guess([VICTIM]), truth)  # the attack works for whoever can open the file


def test_what_opens_one_round_opens_no_other(world: Disputed, tmp_path: Path) -> None:
    opening = world.opening(VICTIM, tmp_path)
    for number in (1, 2):
        hoard = without_own_masks(stored(world, number))
        hoard.pair_seeds.update({frozenset({VICTIM, peer}): seed for peer, seed in opening.seeds.items()})
        truth = world.masked[world.rounds[number - 1].id, VICTIM]
        assert exact(hoard.guess([VICTIM]), truth) == (number == 1)


def test_the_last_firm_is_open_too_once_all_others_are(world: Disputed, tmp_path: Path) -> None:
    """No promise, and said in the documents: with four of five opened the auditor has the fifth; with three, two."""
    kept = stored(world)
    total = recompute(kept.session, kept.artifacts, kept.commits)
    truth = {firm: values for (of, firm), values in world.masked.items() if of == world.round.id}
    opened = {}
    for firm in ("firm-1", "firm-2", "firm-3"):
        opening = world.opening(firm, tmp_path)
        opened[firm] = open_update(kept.session, firm, kept.artifacts, kept.commits, opening.seeds)
    rest = total - sum(opened.values())
    assert np.array_equal(rest, truth["firm-4"] + truth["firm-5"])
    assert not exact(rest, truth["firm-4"])
    assert not exact(rest, truth["firm-5"])
    last = world.opening("firm-4", tmp_path)
    rest = rest - open_update(kept.session, "firm-4", kept.artifacts, kept.commits, last.seeds)
    assert np.array_equal(rest, truth["firm-5"])


def _with_false_hash(contribution: Contribution, session: Session, member: str, peer: str, seed: bytes) -> Contribution:
    """The contribution of a firm that masks as it must, and commits to another seed with one peer."""
    place = session.peers(member).index(peer) * 32
    hashes = contribution.pair_hashes
    hashes = hashes[:place] + commit_pair_seed(session, member, peer, seed) + hashes[place + 32 :]
    header = replace(Header.from_bytes(contribution.header), pair_seeds=hashlib.sha256(hashes).digest())
    return replace(contribution, header=header.to_bytes(), pair_hashes=hashes)


def test_two_firms_that_committed_to_a_false_seed_together_open_no_update_of_their_choice() -> None:
    """Their masks cancel in the sum, so the round goes through; what they can open later is noise, and seen as such."""
    cohort = set_up_cohort(5)
    session = cohort.session(dimension=40)
    this, false = MaskedRound(cohort, session, draw_updates(session, 3)), bytes(32)
    for member, peer in (("firm-1", "firm-2"), ("firm-2", "firm-1")):
        this.contributions[member] = _with_false_hash(this.contributions[member], session, member, peer, false)
        kept = cohort.firms[member].kept[session.sid]
        cohort.firms[member].kept[session.sid] = replace(kept, header=this.contributions[member].header)
        this.commits[member] = this.contributions[member].commit
    artifacts = this.artifacts(this.finish())
    assert np.array_equal(recompute(session, artifacts, this.commits), this.true_sum)
    pairs = cohort.firms["firm-1"].secrets
    true = {peer: pairs.mask_seed(session, peer) for peer in session.peers("firm-1")}
    with pytest.raises(OpeningMismatch, match="with firm-2: it is not the one that firm-1 committed to"):
        open_update(session, "firm-1", artifacts, this.commits, true)
    with pytest.raises(OpeningMismatch, match="did not mask as it committed to"):
        open_update(session, "firm-1", artifacts, this.commits, {**true, "firm-2": false})
    # An honest firm beside them opens as ever.
    honest = cohort.firms["firm-3"].secrets
    seeds = {peer: honest.mask_seed(session, peer) for peer in session.peers("firm-3")}
    opened = open_update(session, "firm-3", artifacts, this.commits, seeds)
    assert np.array_equal(opened, this.values["firm-3"])
