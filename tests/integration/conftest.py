"""What tests with real processes share: one process that forks all the others."""

import importlib.util
from collections.abc import Iterator

import pytest
from fork_world import Nursery

pytest.register_assert_rewrite("load_world")


def _of_postgresql() -> list[str]:
    return ["sqlalchemy.dialects.postgresql.psycopg", "psycopg"] if importlib.util.find_spec("psycopg") else []


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks sequencers, `load_world`'s functions."""
    with Nursery("load_world", "sqlalchemy.dialects.sqlite.pysqlite", *_of_postgresql()) as nursery:
        yield nursery
