"""A consortium in memory whose log is served on loopback, and clients of every kind."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from consortium_simulator import ORIGIN, Consortium

from ledger.checkpoint import SignedCheckpoint
from ledger.keys import SigningKey
from ledger.service.client import LedgerClient, Placed
from ledger.service.limits import Settings
from ledger.service.server import LedgerServer, serving
from ledger.service.tokens import Identity


@dataclass
class Service:
    """A running service."""

    made: Consortium
    server: LedgerServer
    clients: list[LedgerClient] = field(default_factory=list)

    def client(self, member: str | None = "firm-0", *, key: SigningKey | None = None, **options: Any) -> LedgerClient:
        """A client that calls as `member`, or as an outsider."""
        identity = None if member is None else Identity(member, key or self.made.keys[member], ORIGIN)
        client = LedgerClient(self.server.address, identity=identity, clock=self.made.clock, **options)
        self.clients.append(client)
        return client

    def attest(self, member: str = "firm-0", **fields: Any) -> bytes:
        """A statement that the rules allow."""
        return self.made.statement("attest", member, subject="batch-7", artifact=self.made.hash(), **fields)

    def put(self, *raws: bytes) -> list[Placed]:
        """Have statements taken, and wait for the checkpoint over them."""
        places = placed(self.client().submit(raws))
        self.settle()
        return places

    def settle(self) -> None:
        """Wait until the checkpoint covers every entry."""
        end_s = time.monotonic() + 20
        client = self.client(None)
        while SignedCheckpoint.parse(client.checkpoint()).checkpoint.size != self.made.log.size:
            assert time.monotonic() < end_s
            time.sleep(0.002)

    def cosign(self, names: list[str] | None = None) -> bool:
        """Let witnesses follow the service and hand in their cosignatures; say whether that is final."""
        final = False
        self.settle()
        for name in names or self.made.members:
            client = self.client(name)
            witness = self.made.witness(name)
            line = witness.follow(client)
            final = client.cosign([line], witness.size)
        return final


@contextmanager
def served(made: Consortium | None = None, **settings: Any) -> Iterator[Service]:
    """Serve the log of `made` while the block runs."""
    made = made or Consortium()
    key = made.keys["coordinator"]
    with serving(made.log, key, clock=made.clock, settings=Settings(**settings)) as server:
        service = Service(made, server)
        try:
            yield service
        finally:
            for client in service.clients:
                client.close()


def placed(results: list[Any]) -> list[Placed]:
    """The results, all of which are places."""
    assert all(isinstance(result, Placed) for result in results), results
    return results
