"""One firm's update with its masks taken off, from the seeds that it opens in a dispute."""

from __future__ import annotations

from collections.abc import Mapping

from clients.masking.contribution import commit_pair_seed
from clients.masking.keystream import apply_masks
from clients.masking.ring import Integers
from clients.masking.session import Session
from server.aggregation.evidence import AggregationError, Unmasking, check_contribution, pair_hash
from server.aggregation.masked import RoundArtifacts


class OpeningMismatch(AggregationError):
    """The opened seeds, or what they give, are not what the firm committed to; the message names the first."""

    exit_code = 1


def open_update(
    session: Session, member: str, artifacts: RoundArtifacts, commits: Mapping[str, bytes], seeds: Mapping[str, bytes]
) -> Integers:
    """The update of `member` as it was before it was masked: y - PRG(b) - sum PRG(k_j, j > i) + sum PRG(k_j, j < i).

    Args:
        artifacts: of the round; with them `server.aggregation.masked.recompute` gave the sum, so the unmasking record
            is right.
        commits: {member: `commit` of its contribution statement}, from the ledger.
        seeds: {peer: the seed that `member` opens of the mask between the two, 32 bytes}.

    Returns:
        int64[dimension], each within what one firm may send.

    Raises:
        OpeningMismatch: a seed is missing, superfluous or not the one that both ends committed to, or the update is
            beyond the range: the firm has then not sent what it said.
    """
    masked, hashes = artifacts.masked[member], artifacts.pair_hashes
    check_contribution(
        session, member, artifacts.headers[member], masked, hashes[member], commits[member], OpeningMismatch
    )
    _check_seeds(session, member, hashes, seeds)
    own = Unmasking.from_bytes(artifacts.unmasking).self_seeds[member]
    total = session.ring.unpack(masked, session.dimension).copy()
    above = {peer for peer in session.peers(member) if peer > member}
    added = [seed for peer, seed in seeds.items() if peer not in above]
    apply_masks(total, added, [own, *(seed for peer, seed in seeds.items() if peer in above)])
    values = session.ring.centre(total)
    largest = session.quantiser.largest
    beyond = int(abs(values).max())
    if beyond > largest:
        raise OpeningMismatch(
            f"update of {member}: a value of {beyond} steps is beyond the {largest} that a firm may send; it sent "
            "another update than a firm's client does, or did not mask as it committed to"
        )
    return values


def _check_seeds(session: Session, member: str, pair_hashes: Mapping[str, bytes], seeds: Mapping[str, bytes]) -> None:
    """Every seed must be the one that the firm committed to, and its peer too where that contributed."""
    peers = session.peers(member)
    for peer in sorted(seeds.keys() ^ set(peers)):
        raise OpeningMismatch(f"seed of {member} with {peer}: it is missing or superfluous")
    for peer in peers:
        committed = pair_hash(session, pair_hashes[member], member, peer)
        if commit_pair_seed(session, member, peer, seeds[peer]) != committed:
            raise OpeningMismatch(f"seed of {member} with {peer}: it is not the one that {member} committed to")
        if peer in pair_hashes and pair_hash(session, pair_hashes[peer], peer, member) != committed:
            raise OpeningMismatch(f"seed of {member} with {peer}: {peer} committed to another")
