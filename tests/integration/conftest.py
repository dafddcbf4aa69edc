"""What tests with real processes share: one process that forks all the others."""

from collections.abc import Iterator

import pytest
from fork_world import Nursery

pytest.register_assert_rewrite("load_world")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks sequencers, `load_world`'s functions."""
    with Nursery("load_world") as nursery:
        yield nursery
