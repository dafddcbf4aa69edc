"""Makes the modules that lie beside this file (`federation_world`) importable from every test, whichever is run.

A test that needs a program from the operating system carries a marker with that program's name and is skipped
where it is missing. `ARTESIAN_REQUIRE`, marker names between commas, turns such a skip into a failure: continuous
integration sets it, so that nothing is left out there unseen.

Hypothesis runs without its deadline, which a busy machine misses; its profile `fuzz` is for `make fuzz`.
"""

import fcntl
import gc
import os
import tempfile
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import settings

from clients.process_start import start_lightly

settings.register_profile("tests", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=int(os.environ.get("ARTESIAN_FUZZ_EXAMPLES", "20000")))
settings.load_profile("tests")
start_lightly()
# Building the commands of a group takes longer than most of them: a test process builds each group once.
pytest.MonkeyPatch().setattr("typer.testing._get_command", cache(typer.main.get_command))

pytest_plugins = ["postgres_world"]

FIRST = (  # files that take a minute and more, longest first: workers that begin with them end together
    *(f"integration/test_{name}" for name in ("chaos", "three_firms", "greedy", "sandbox", "flower_dep", "joining")),
    "ledger/test_schedules_",
)
REQUIRED = [name for name in os.environ.get("ARTESIAN_REQUIRE", "").split(",") if name]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Every worker imports all tests: no garbage is looked for meanwhile, nor later among what they brought in."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    demanded = [name for name in REQUIRED if item.get_closest_marker(name)]
    if demanded and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} must not be skipped, ARTESIAN_REQUIRE names {demanded[0]!r}: {reason}"
    return report


@pytest.fixture
def one_ray() -> Generator[None, None, None]:
    """Two Rays that start on one machine at once disturb each other: test processes take turns."""
    with (Path(tempfile.gettempdir()) / f"artesian-tests-ray-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def disputed_federation(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A federation after two rounds, its firms' updates open to disputes; for tests that change nothing in it."""
    from dispute_world import disputed  # not for the tests that need none: it imports Flower

    return disputed(tmp_path_factory.mktemp("disputed") / "home", count=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((at for at, start in enumerate(FIRST) if path.startswith(start)), len(FIRST))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, files that wait and files that compute run side by side."""
    if config.getvalue("dist") != "loadfile":
        return None
    from two_queues import TwoQueues  # not for a test run without pytest-xdist

    return TwoQueues(config, log)
