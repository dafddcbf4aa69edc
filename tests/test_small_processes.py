"""What runs all the time is small: none of it imports what only training, audits or Flower's own processes need."""

import subprocess
import sys

import pytest

LEARNING = ("pandas", "pyarrow", "scipy", "sklearn", "torch", "opacus", "tenseal", "ray")
FLOWER = ("flwr", "fastapi", "uvicorn", "httpx")
SERVED = ("grpc",)
STORED = ("sqlalchemy",)
COUNTED = ("numpy",)

_UP = ("clients.migrate_commands", "clients.supervision.commands", "clients.supervision.up")
# By process: the modules that its command imports, and what must not come with them.
PROCESSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a coordinator's supervisor": (
        ("server.up_commands", "server.coordinator_programs", "server.migration", *_UP),
        (*LEARNING, *FLOWER, *SERVED, *STORED, *COUNTED),
    ),
    "a firm's supervisor": (
        ("clients.up_commands", "clients.firm_programs", "clients.firm_migrations", *_UP),
        (*LEARNING, *FLOWER, *SERVED, *STORED, *COUNTED),
    ),
    "enrolment": (
        ("server.founding_commands", "server.enrolment.running"),
        (*LEARNING, *FLOWER, *COUNTED),
    ),
    "ledger": (
        ("ledger.commands", "ledger.service.server", "ledger.service.peers"),
        (*LEARNING, *FLOWER, *COUNTED, "pydantic"),
    ),
    "executor": (("server.engines.executor",), (*LEARNING, *FLOWER, *SERVED, *STORED, *COUNTED)),
    "runner": (
        ("server.run_commands", "server.runner_service", "server.engines.flower_control"),
        (*LEARNING, *FLOWER, *SERVED),
    ),
    "scores": (
        ("server.coordinator_commands", "server.scoring.service", "server.scoring.present", "server.scoring.on_ledger"),
        (*LEARNING, *FLOWER),
    ),
    "metrics": (
        ("server.metrics_commands", "server.metrics", "clients.metrics_exporter"),
        (*LEARNING, *FLOWER, *COUNTED),
    ),
    "a firm's metrics": (
        ("clients.metrics_commands", "clients.firm_config", "clients.firm_metrics", "clients.metrics_exporter"),
        (*LEARNING, *FLOWER, *SERVED),
    ),
    "witness": (
        ("ledger.commands", "ledger.service.client", "ledger.service.following", "ledger.witness"),
        (*LEARNING, *FLOWER, *COUNTED, "pydantic"),
    ),
    "renewal": (
        ("clients.renewal_commands", "clients.renewal", "clients.joining", "clients.coordinator_view"),
        (*LEARNING, *FLOWER, *COUNTED),
    ),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_it_imports_nothing_that_it_does_not_need(process: str) -> None:
    modules, heavy = PROCESSES[process]
    asked = f"import sys, artesian, {', '.join(modules)}; print(*(set({heavy}) & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == []
