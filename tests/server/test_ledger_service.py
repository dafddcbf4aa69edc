"""Where a coordinator's ledger is: its own file, a database on a server, or another process that serves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation_world import federation
from served_world import serve_from

from experiments.federation import Federation
from ledger.log import Log
from ledger.service.client import Unreachable
from server.coordinator import Coordinator, CoordinatorConfigInvalid
from server.engines.loopback import free_ports
from server.ledger_service import LedgerService, NoPolicy


@pytest.fixture
def built(tmp_path: Path) -> Federation:
    return federation(tmp_path / "f", 3)


def test_without_the_table_the_ledger_is_opened_here(built: Federation) -> None:
    with Coordinator(built.coordinator) as coordinator:
        assert isinstance(coordinator.ledger, Log)
        assert coordinator.ledger is coordinator.log
        assert coordinator.read_entries() == coordinator.log.entries(0, coordinator.log.size)
        assert coordinator.database == str(built.coordinator / "ledger.db")


def test_nobody_serving_is_said_after_the_time_to_try_and_the_mirror_is_free_again(built: Federation) -> None:
    address = f"localhost:{free_ports(1)[0]}"
    serve_from(built.coordinator, address, reach_s=0.2)
    for _ in range(2):
        with Coordinator(built.coordinator) as coordinator, pytest.raises(Unreachable, match=address) as caught:
            assert coordinator.ledger
        assert caught.value.exit_code == 3
    assert [path.name for path in (built.coordinator / "mirrors").glob("*.db")] == ["ledger-0.db"]


def test_a_home_that_is_not_founded_is_said(built: Federation) -> None:
    serve_from(built.coordinator, "localhost:1")
    (built.coordinator / "policy.txt").unlink()
    with Coordinator(built.coordinator) as coordinator, pytest.raises(NoPolicy, match="is not founded yet"):
        assert coordinator.ledger


def test_the_service_is_on_this_machine_unless_an_address_says_otherwise() -> None:
    assert LedgerService().at(8445) == "localhost:8445"
    assert LedgerService(address="ledger.example:9000").at(8445) == "ledger.example:9000"


@pytest.mark.parametrize("table", [{"final_s": 0}, {"witness_s": -1}, {"reach_s": 1e9}, {"adress": "x:1"}])
def test_a_table_that_makes_no_sense_is_refused(built: Federation, table: dict[str, object]) -> None:
    serve_from(built.coordinator, "localhost:1", **table)
    with pytest.raises(CoordinatorConfigInvalid, match="ledger_service"):
        Coordinator(built.coordinator)
