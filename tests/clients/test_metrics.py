"""The exporters: every metric of the table is there, nothing personal is, and one source that fails stops no other."""

from __future__ import annotations

import threading
import urllib.request
from contextlib import nullcontext
from pathlib import Path

import pytest
import sqlalchemy as sa
from federation_world import federation, opened, train, training
from prometheus_client.parser import text_string_to_metric_families

from clients.firm_metrics import FIRM_METRICS, firm_sources, label
from clients.metrics import PREFIX, Metric, Reading, Source
from clients.metrics_exporter import CannotExport, exposition, serve
from clients.refusal_log import RefusalLog
from clients.supervision.status import RUN, ProgramStatus, SetStatus, write_status
from ledger.health import Health
from server.coordinator import Coordinator
from server.engines.control import Node
from server.engines.loopback import free_ports
from server.metrics import COORDINATOR_METRICS, coordinator_sources
from server.round_journal import NOTES, PART, RUNS, WAITS, Step
from server.store import StateStore

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name without the prefix, and the values of the labels in the order of their names."""
    return {
        (one.name.removeprefix(PREFIX), tuple(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def up(home: Path) -> None:
    (home / RUN).mkdir(exist_ok=True)
    programs = (ProgramStatus("witness", "ready", restarts=2), ProgramStatus("supernode", "restarting", restarts=5))
    write_status(home, SetStatus("killed", 1, 1, "", 0.0, programs))


def test_a_firm_sees_its_wallet_and_its_mirror(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    home = built.member("firm-1")
    with opened(built) as coordinator:
        train(built, coordinator)
        size = coordinator.log.size
    RefusalLog(home).note("train.update", b"", "cohort", "income of row 17 is 54321")
    up(home)
    text = exposition(firm_sources(home))
    found = samples(text)
    assert {name for name, _ in found} == {one.name for one in FIRM_METRICS.metrics}
    assert 0 < found["wallet_epsilon_spent", ("data/credit.csv", "one row")] < 4.1
    assert found["wallet_epsilon_cap", ("data/credit.csv", "one row")] == 20
    assert found["wallet_payments_total", ("data/credit.csv",)] == 1
    assert 0 < found["mirror_entries", ()] <= size
    assert found["refusals", ("cohort",)] == 1
    assert found["process_restarts_total", ("supernode",)] == 5
    assert found["process_up", ("witness",)] == 0  # the supervisor is gone
    assert "54321" not in text
    assert "income" not in text


def test_a_label_tells_no_place_on_the_machine_and_two_files_apart() -> None:
    assert label("data/credit.csv") == "data/credit.csv"
    first, second = label("/home/max/a/credit.csv"), label("/home/max/b/credit.csv")
    assert first != second
    assert "max" not in first
    assert first.startswith("credit.csv-")


def test_a_source_that_fails_is_said_to_be_down_and_the_others_are_read(tmp_path: Path) -> None:
    gauge = Metric("answer", "gauge", (), "42")

    def broken() -> list[Reading]:
        raise OSError("no such file")

    found = samples(exposition([Source("bad", broken), Source("good", lambda: [Reading(gauge, 42)])]))
    assert found["source_up", ("bad",)] == 0
    assert found["source_up", ("good",)] == 1
    assert found["answer", ()] == 42


def test_the_coordinator_without_its_services_still_says_what_its_files_say(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    ledger, superlink = free_ports(2)
    config = built.coordinator / "coordinator.toml"
    config.write_text(f"{config.read_text()}\n[network]\nledger_port = {ledger}\nsuperlink_port = {superlink}\n")
    with opened(built) as coordinator:
        train(built, coordinator)
    found = samples(exposition(coordinator_sources(built.coordinator)))
    assert (found["source_up", ("ledger",)], found["source_up", ("superlink",)]) == (0, 0)
    assert (found["source_up", ("runs",)], found["source_up", ("reports",)]) == (1, 1)
    assert found["last_round_seconds", ("credit",)] > 0
    assert found["store_bytes", ("artifacts",)] > 0
    assert found["certificate_expiry_timestamp_seconds", ("tls.crt",)] > 1.7e9


class Service:
    """The ledger's service, as a client of it sees it."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.entries = coordinator.log.entries
        self._log = coordinator.log

    def status(self) -> tuple[Health, float]:
        size = self._log.size
        return Health("log", size, size, size - 2, 7.5, {"firm-1": size, "firm-2": size - 5}, None), 60.0


def journal(home: Path) -> None:
    """A run that waits in its second round for two firms, of which one has refused."""
    said = {"task": "credit", "number": 2, "detail": "", "at_s": 100}
    with StateStore.of_home(home) as store, store.write(PART) as connection:
        for table in (RUNS, WAITS, NOTES):
            connection.execute(sa.delete(table))
        row = {"run": bytes(16), "round": b"", "keys": b"", "epoch": 0, "step": Step.CONTRIBUTION, "since_s": 90}
        counts = {"task": "credit", "began_s": 10, "taken_up": 1, "rounds": 3, "number": 2}
        connection.execute(sa.insert(RUNS).values(**row, **counts))
        wait = {"kind": "train.update", "members": '["firm-2", "firm-3"]', "since_s": 95, "deadline_s": 155}
        connection.execute(sa.insert(WAITS).values(task="credit", **wait))
        connection.execute(sa.insert(NOTES).values(member="firm-1", code="PairSecretRefused/firm-3", **said))
        for code in ("x" * 40, "\x1b[2J", "y/firm-3"):  # as a member likes
            connection.execute(sa.insert(NOTES).values(member="firm-2", code=code, **said))
        connection.execute(sa.insert(NOTES).values(member="", code="Aborted", **said))


def test_every_metric_of_the_coordinators_table_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = federation(tmp_path / "f", 3, training(2))
    up(built.coordinator)
    with opened(built) as coordinator:
        train(built, coordinator)
        journal(built.coordinator)
        nodes = [Node("firm-1", 1, True, 99.0), Node("firm-2", 2, False, None)]
        monkeypatch.setattr("server.metrics.connected", lambda *_: nullcontext(Service(coordinator)))
        monkeypatch.setattr("server.metrics.FlowerControl.nodes", lambda _: nodes)
        sources = coordinator_sources(built.coordinator, lambda: 100.0)
        found, again = samples(exposition(sources)), samples(exposition(sources))
    assert again == found  # counted once, however often it is asked
    assert {name for name, _ in found} == {one.name for one in COORDINATOR_METRICS.metrics}
    assert all(found["source_up", (source.name,)] == 1 for source in sources)
    assert found["rounds_total", ("aggregated", "credit")] == found["rounds_total", ("opened", "credit")] == 2
    assert found["ledger_records_total", ("contribution",)] == 6
    assert found["ledger_witness_lag_entries", ("firm-2",)] == 5
    assert found["run_step_seconds", ("collecting contributions", "credit")] == 10
    assert found["run_waits_for_members", ("train.update", "credit")] == 2
    assert found["run_refusals", ("PairSecretRefused", "credit")] == found["run_failures", ("Aborted", "credit")] == 1
    assert found["run_refusals", ("other", "credit")] == 3
    assert {labels[0] for name, labels in found if name == "run_refusals"} == {"PairSecretRefused", "other"}
    assert (found["flower_nodes", ("registered",)], found["flower_nodes", ("online",)]) == (2, 1)


def test_scrapes_are_answered_on_loopback_until_it_is_stopped() -> None:
    (port,) = free_ports(1)
    until, gauge = threading.Event(), Metric("answer", "gauge", (), "42")
    serving = threading.Thread(target=serve, args=([Source("good", lambda: [Reading(gauge, 42)])], port, until))
    serving.start()
    try:
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
                    assert b"artesian_answer 42" in page.read()
                break
            except OSError:
                until.wait(0.05)
        with pytest.raises(CannotExport, match="give another port"):
            serve([], port, until)
    finally:
        until.set()
        serving.join(60)
    assert not serving.is_alive()


@pytest.mark.parametrize("table", [COORDINATOR_METRICS, FIRM_METRICS], ids=lambda table: table.title)
def test_the_documents_have_the_table_and_names_keep_to_the_conventions(table: object) -> None:
    assert table.markdown() in DOCS.read_text("utf-8")  # type: ignore[attr-defined]
    for one in table.metrics:  # type: ignore[attr-defined]
        assert one.name.endswith("_total") == (one.kind == "counter")
        assert not one.name.endswith(("_ms", "_days", "_mb"))
