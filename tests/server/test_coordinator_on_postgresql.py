"""A coordinator whose ledger and own tables are in one PostgreSQL database: the same runs, audits and previews."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from federation_world import TASK, federation, opened, phases, train, training

from ledger import postgresql
from ledger.keys import SigningKey
from ledger.log import Log
from server.audit import audit_all
from server.coordinator import LEDGER_FILE, SIGNING_KEY
from server.delivery import Delivery
from server.live_record import open_record
from server.pruning import preview
from server.retention import DISPUTE_DAYS, RetentionPolicy

pytestmark = pytest.mark.postgresql


def carried_over(home: Path, url: str) -> None:
    """What `artesian ledger restore` does, for a ledger that only its founding is on."""
    key = SigningKey.load(home / SIGNING_KEY)
    with Log.open(home / LEDGER_FILE, key) as file, Log.create(url, file.origin, key, cid=file.cid) as log:
        log.append(file.entries(0, file.size))
        log.checkpoint()
    (home / LEDGER_FILE).unlink()
    (home / "ledger.toml").write_text(f'database = "{url}"\n')


def test_a_run_on_postgresql_leaves_everything_in_one_database(tmp_path: Path, postgres_url: str) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    carried_over(built.coordinator, postgres_url)
    with opened(built) as coordinator:
        release = train(built, coordinator)
        assert phases(coordinator) == ["published"]
        assert release.model in coordinator.ledger.state.releases
        assert Delivery(coordinator, TASK, open_record(coordinator)).lacking(built.firms) == []
        later = time.time() + 2 * DISPUTE_DAYS * 86_400
        found = preview(coordinator.read_entries(), coordinator.artifacts, RetentionPolicy(DISPUTE_DAYS), later)
        assert len(found.recorded) == 1
    assert not list(built.coordinator.glob("*.db"))
    assert audit_all(built.coordinator).ok
    with postgresql.open_engine(postgres_url).connect() as connection:
        tables = set(sa.inspect(connection).get_table_names())
    assert {"entries", "checkpoints", "coordinator_schema_version", "coordinator_deliveries"} <= tables
