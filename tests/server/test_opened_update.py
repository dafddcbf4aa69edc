"""One update out of a masked sum: exactly what was masked, from exactly the seeds that were committed to."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.masking.contribution import Header, commit_pair_seed
from clients.masking.session import Session
from experiments.benchmarks.masked_cohort import Cohort, MaskedRound, draw_updates, set_up_cohort
from server.aggregation.masked import RoundArtifacts
from server.aggregation.opened_update import OpeningMismatch, open_update


def seeds_of(cohort: Cohort, session: Session, member: str) -> dict[str, bytes]:
    pairs = cohort.firms[member].secrets
    return {peer: pairs.mask_seed(session, peer) for peer in session.peers(member)}


@settings(max_examples=15, deadline=None)
@given(
    size=st.integers(3, 8),
    dimension=st.integers(1, 40),
    ring_bits=st.sampled_from([24, 32]),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_every_update_comes_out_whoever_drops(
    size: int, dimension: int, ring_bits: int, seed: int, data: st.DataObject
) -> None:
    cohort = set_up_cohort(size)
    session = cohort.session(dimension=dimension, ring_bits=ring_bits)
    absent = data.draw(st.sets(st.sampled_from(session.members), max_size=size - session.threshold))
    values = {m: v for m, v in draw_updates(session, seed).items() if m not in absent}
    this = MaskedRound(cohort, session, values)
    artifacts = this.artifacts(this.finish())
    for member, truth in values.items():
        seeds = seeds_of(cohort, session, member)
        assert np.array_equal(open_update(session, member, artifacts, this.commits, seeds), truth)


@pytest.fixture(scope="module")
def whole() -> tuple[MaskedRound, RoundArtifacts, dict[str, bytes]]:
    """A round of five, and the seeds of firm-2."""
    cohort = set_up_cohort(5)
    session = cohort.session(dimension=7)
    this = MaskedRound(cohort, session, draw_updates(session, 1))
    return this, this.artifacts(this.finish()), seeds_of(cohort, session, "firm-2")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda seeds: seeds.update({"firm-4": bytes(32)}), "with firm-4: it is not the one that firm-2 committed to"),
        (lambda seeds: seeds.pop("firm-5"), "with firm-5: it is missing"),
        (lambda seeds: seeds.update({"firm-2": bytes(32)}), "with firm-2: it is missing or superfluous"),
        (lambda seeds: seeds.update({"firm-9": bytes(32)}), "with firm-9: it is missing or superfluous"),
        (lambda seeds: seeds.update({"firm-1": seeds["firm-3"], "firm-3": seeds["firm-1"]}), "with firm-1: it is not"),
    ],
)
def test_other_seeds_than_committed_to_are_caught(whole: Any, change: Any, problem: str) -> None:
    this, artifacts, own = whole
    seeds = dict(own)
    change(seeds)
    with pytest.raises(OpeningMismatch, match=problem) as caught:
        open_update(this.session, "firm-2", artifacts, this.commits, seeds)
    assert caught.value.exit_code == 1


def forged(this: MaskedRound, artifacts: RoundArtifacts, **changes: bytes) -> tuple[RoundArtifacts, dict[str, bytes]]:
    """Artifacts in which firm-2 committed to something else than it did, and the ledger has that."""
    header = Header.from_bytes(artifacts.headers["firm-2"])
    given = {"masked": artifacts.masked["firm-2"], "pair_hashes": artifacts.pair_hashes["firm-2"], **changes}
    named = {"masked": "masked", "pair_hashes": "pair_seeds"}
    raw = replace(header, **{named[k]: hashlib.sha256(v).digest() for k, v in given.items()}).to_bytes()
    kept = replace(
        artifacts,
        headers={**artifacts.headers, "firm-2": raw},
        masked={**artifacts.masked, "firm-2": given["masked"]},
        pair_hashes={**artifacts.pair_hashes, "firm-2": given["pair_hashes"]},
    )
    return kept, {**this.commits, "firm-2": hashlib.sha256(raw).digest()}


def test_an_update_beyond_the_range_is_named(whole: Any) -> None:
    this, artifacts, own = whole
    ring, session = this.session.ring, this.session
    beyond = np.full(7, session.quantiser.largest + 1 - this.values["firm-2"][0])
    masked = ring.unpack(artifacts.masked["firm-2"], 7) + ring.from_signed(beyond)
    kept, commits = forged(this, artifacts, masked=ring.pack(masked))
    with pytest.raises(OpeningMismatch, match=r"update of firm-2: a value of .* is beyond the"):
        open_update(session, "firm-2", kept, commits, own)


def test_a_seed_that_its_peer_did_not_commit_to_is_caught(whole: Any) -> None:
    """A firm that committed to a seed of its own choice could open any update that it likes."""
    this, artifacts, own = whole
    seeds = {**own, "firm-1": bytes(32)}
    hashes = commit_pair_seed(this.session, "firm-1", "firm-2", bytes(32)) + artifacts.pair_hashes["firm-2"][32:]
    kept, commits = forged(this, artifacts, pair_hashes=hashes)
    with pytest.raises(OpeningMismatch, match="seed of firm-2 with firm-1: firm-1 committed to another"):
        open_update(this.session, "firm-2", kept, commits, seeds)
