"""What firms sent for a round that was given up is deleted: nobody needs it, and nobody may ever open it."""

from __future__ import annotations

from collections.abc import Iterable

from clients.errors import ClientError
from clients.masking.contribution import Header
from server.artifacts import ArtifactStore
from server.errors import ServerError


def forget_contributions(artifacts: ArtifactStore, commits: Iterable[bytes]) -> None:
    """Delete the masked vectors of contributions; their headers stay, which the ledger names.

    Vectors without masks are left: two rounds can have the same one.

    Args:
        artifacts: the coordinator's store.
        commits: SHA-256 of the contributions' headers, 32 bytes each; those that are not there are passed over.
    """
    for commit in commits:
        try:
            header = Header.from_bytes(artifacts.get(commit))
        except (ServerError, ClientError):
            continue
        if header.self_seed:
            artifacts.delete([header.masked, header.pair_seeds])
