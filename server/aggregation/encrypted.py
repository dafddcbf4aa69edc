"""The server half of encrypted aggregation: a streamed sum of ciphertexts that it cannot open, and its replay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from clients.encryption.contexts import Context, public_context
from clients.encryption.evidence import (
    Opening,
    check_message,
    is_signed_by,
    require_checks,
    require_opening,
    require_reveals,
    reveal_message,
)
from clients.encryption.vectors import EncryptedPiece, blocks_of, hash_pieces, pieces_of
from clients.errors import ClientError
from clients.masking.contribution import Contribution, Header
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.masking.unmasking import closed_set_hash
from server.aggregation.closing import ClosingSum
from server.aggregation.evidence import (
    AggregationError,
    ArtifactMismatch,
    ContributionRefused,
    ReplyRefused,
    RoundVoid,
    check_contribution,
)
from server.aggregation.masked import OpenedSum, RoundArtifacts


class EncryptedAggregator(ClosingSum):
    """One encrypted sum: add commitments, close, add ciphertexts, collect signatures, open.

    Holds one vector of ciphertexts however many firms there are, two while one is being added.

    Attributes:
        session: the terms; its protection is `encrypted`.
        context: the key holder's public one.
    """

    def __init__(self, session: Session, context: Context) -> None:
        super().__init__(session, "encrypted")
        if session.context != context.hash:
            raise AggregationError("session: it is not encrypted under this context")
        self.context = context
        self._sum = [EncryptedPiece(context, session, number) for number in range(len(blocks_of(session.dimension)))]
        self._hashes: dict[str, bytes] = {}
        self._reveals: dict[str, bytes] = {}
        self._pieces: list[bytes] = []
        self._checks: list[dict[str, bytes]] = []
        self._opening: Opening | None = None

    def add(self, member: str, contribution: Contribution, commit: bytes) -> None:
        """Checks and keeps a firm's commitment; its ciphertext comes when the set is closed.

        Raises:
            ContributionRefused: names the first thing that does not match.
        """
        header = self.check(member, contribution, commit)
        self._include(member, header, contribution.header, commit)
        self._hashes[member] = contribution.pair_hashes

    def check(self, member: str, contribution: Contribution, commit: bytes) -> Header:
        """What `add` would say of a commitment, without keeping it; returns its header.

        Raises:
            ContributionRefused: as `add`.
        """
        self._require_open_to(member)
        if contribution.masked or contribution.shares:
            raise ContributionRefused(f"contribution of {member}: before the set is closed there are hashes only")
        header, hashes = contribution.header, contribution.pair_hashes
        return check_contribution(self.session, member, header, None, hashes, commit, ContributionRefused)

    def reveal(self, member: str, vector: bytes, signature: bytes, key: bytes) -> None:
        """Checks a ciphertext against its firm's commitment and adds it to the sum.

        Args:
            signature: the firm's, that it hands the ciphertext over for this closed set.
            key: its signing key, 32 bytes.

        Raises:
            ReplyRefused: names the first thing that does not match; the sum is unchanged.
        """
        what = f"ciphertext of {member}"
        if member not in self._headers or member in self._reveals:
            raise ReplyRefused(f"{what}: it did not contribute, or it has been added")
        if not is_signed_by(key, signature, reveal_message(self.session, self.closed_set)):
            raise ReplyRefused(f"{what}: not handed over for this closed set")
        if hashlib.sha256(vector).digest() != self._headers[member].masked:
            raise ReplyRefused(f"{what}: not the one that it is committed to")
        try:
            pieces = pieces_of(self.session, vector, what)
            if hash_pieces(pieces) != self._hashes[member]:
                raise ReplyRefused(f"{what}: its pieces are not those that it lists")
            sums = [total.with_piece(piece, what) for total, piece in zip(self._sum, pieces, strict=True)]
        except ClientError as error:
            raise ReplyRefused(str(error)) from None
        for total, one in zip(self._sum, sums, strict=True):
            total.put(one)
        self._reveals[member] = signature

    def complete(self) -> Sequence[bytes]:
        """The sum's encoded pieces, when every firm of the closed set has handed its ciphertext over.

        Raises:
            RoundVoid: naming those that have not.
        """
        missing = tuple(member for member in self.included if member not in self._reveals)
        if missing:
            raise RoundVoid(f"round: {', '.join(missing)} did not hand over what is on the ledger", missing)
        if not self._pieces:
            self._pieces = [total.to_bytes() for total in self._sum]
            self._checks = [{} for _ in self._pieces]
        return self._pieces

    @property
    def reveals(self) -> Mapping[str, bytes]:
        """The signatures under which ciphertexts were handed over."""
        return self._reveals

    @property
    def checks(self) -> Sequence[Mapping[str, bytes]]:
        """The signatures over each piece."""
        return self._checks

    @property
    def headers(self) -> Mapping[str, bytes]:
        """The encoded headers by included member."""
        return self._encoded

    @property
    def hashes(self) -> Mapping[str, bytes]:
        """SHA-256 of every piece of each included member's ciphertext."""
        return self._hashes

    @property
    def commits(self) -> Mapping[str, bytes]:
        """SHA-256 of the headers by included member."""
        return self._commits

    def accept_check(self, member: str, number: int, signature: bytes, key: bytes) -> None:
        """Checks and keeps a firm's signature over a piece of the sum.

        Raises:
            ReplyRefused: it is of another sum, or not its signature.
        """
        if member not in self._headers:
            raise ReplyRefused(f"check of {member}: it did not contribute")
        message = check_message(self.session, self.closed_set, number, self._pieces[number])
        if not is_signed_by(key, signature, message):
            raise ReplyRefused(f"check of {member}: it has computed another piece {number} of the sum")
        self._checks[number][member] = signature

    def accept_opening(self, total: bytes, signature: bytes, key: bytes) -> None:
        """Checks and keeps what the key holder opened the sum to.

        Raises:
            ReplyRefused: it is not signed by the holder, or beyond what so many firms can send.
        """
        sums, checks = hash_pieces(self._pieces), tuple(dict(one) for one in self._checks)
        opening = Opening(self.session.sid, self.closed_set, sums, dict(self._reveals), checks, total, signature)
        try:
            require_opening(self.session, opening, key)
            _total(self.session, opening, len(self._headers), ReplyRefused)
        except ClientError as error:
            raise ReplyRefused(str(error)) from None
        self._opening = opening

    def open(self) -> OpenedSum:
        """The sum that the holder opened, with the record of it.

        Raises:
            RoundVoid: the holder has not opened it.
        """
        if self._opening is None:
            raise RoundVoid(f"round: {self.session.key_holder} has not opened the sum", (self.session.key_holder,))
        total = _total(self.session, self._opening, len(self._headers), RoundVoid)
        return OpenedSum(total, self.included, self._opening.to_bytes())


def _total(session: Session, opening: Opening, firms: int, refusal: type[AggregationError]) -> Integers:
    """int64[dimension], what a sum was opened to."""
    try:
        total = session.ring.centre(session.ring.unpack(opening.total, session.dimension))
    except ClientError as error:
        raise refusal(str(error)) from None
    limit = firms * session.quantiser.largest
    if max(int(total.max()), -int(total.min())) > limit:
        raise refusal(f"sum: a value exceeds {limit}, more than {firms} firms can send; open a new round")
    return total


def recompute_encrypted(
    session: Session,
    artifacts: RoundArtifacts,
    commits: Mapping[str, bytes],
    *,
    context: bytes,
    keys: Mapping[str, bytes],
    colluders: int,
) -> Integers:
    """Computes the sum's ciphertexts again from stored bytes, bit for bit, and checks who vouched for what.

    That the total is what they decrypt to, only the holder of the key can know: it is the holder's word.

    Args:
        commits: {member: `commit` of its contribution statement}, for exactly the aggregate's inputs on the ledger.
        context: the public context of the session's `context`.
        keys: the enrolled signing keys of the cohort and of the key holder, 32 bytes each.
        colluders: as in the plan; one more firm has signed each piece.

    Returns:
        int64[dimension], the total that the holder has signed.

    Raises:
        ArtifactMismatch: names the first artifact that does not match.
    """
    if len(commits) < session.threshold:
        raise ArtifactMismatch(f"round: {len(commits)} contributions, the threshold is {session.threshold}")
    if session.key_holder not in keys:
        raise ArtifactMismatch(f"opening record: {session.key_holder} is not enrolled on the ledger")
    try:
        pieces = _sum_again(session, artifacts, commits, public_context(context))
        opening = Opening.from_bytes(artifacts.unmasking)
        closed_set = closed_set_hash(session, commits)
        if (opening.sid, opening.closed_set) != (session.sid, closed_set):
            raise ArtifactMismatch("opening record: for another session or closed set")
        if opening.sums != hash_pieces(pieces):
            raise ArtifactMismatch("opening record: what was opened is not the sum of the stored ciphertexts")
        signers = {member: keys[member] for member in commits if member in keys}
        require_reveals(session, closed_set, opening.reveals, signers)
        require_checks(session, closed_set, opening.sums, opening.checks, signers, colluders + 1)
        require_opening(session, opening, keys[session.key_holder])
    except ClientError as error:
        raise ArtifactMismatch(str(error)) from None
    return _total(session, opening, len(commits), ArtifactMismatch)


def _sum_again(
    session: Session, artifacts: RoundArtifacts, commits: Mapping[str, bytes], context: Context
) -> list[bytes]:
    sums = [EncryptedPiece(context, session, number) for number in range(len(blocks_of(session.dimension)))]
    for member in sorted(commits):
        if member not in artifacts.masked:
            raise ArtifactMismatch(f"ciphertext of {member}: not in the store")
        stored, hashes = artifacts.masked[member], artifacts.pair_hashes[member]
        header = artifacts.headers[member]
        check_contribution(session, member, header, stored, hashes, commits[member], ArtifactMismatch)
        pieces = pieces_of(session, stored, f"ciphertext of {member}")
        if hash_pieces(pieces) != hashes:
            raise ArtifactMismatch(f"ciphertext of {member}: its pieces are not those that it lists")
        for total, piece in zip(sums, pieces, strict=True):
            total.add(piece, f"ciphertext of {member}")
    return [total.to_bytes() for total in sums]
