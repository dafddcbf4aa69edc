"""What one caller sends stops nobody else's service."""

import pytest
from consortium_simulator import ORIGIN
from service_world import served

from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.errors import NoSuchEntry


def test_a_number_that_no_database_takes_does_not_stop_the_sequencer() -> None:
    with served() as service:
        client, made = service.client("firm-0"), service.made
        body = SignedCheckpoint.parse(client.checkpoint()).body
        name, key = witness_name(ORIGIN, "firm-0"), made.keys["firm-0"]
        line = cosign(body, name=name, key=key, timestamp_s=int(made.clock()))
        for size in (made.log.size + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            with pytest.raises(NoSuchEntry, match="no checkpoint"):
                client.cosign([line], size)
        assert not client.cosign([line], made.log.size)
        assert service.server.failure is None
