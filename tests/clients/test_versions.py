"""Versions: which of them programs have in common, and what they say when there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.versions import MESSAGE_VERSIONS, SOFTWARE, Span, VersionMismatch, agreed, compatible, facts, misfit

SPANS = st.tuples(st.integers(1, 9), st.integers(0, 3)).map(lambda pair: Span(pair[0], pair[0] + pair[1]))


@given(SPANS, SPANS)
def test_the_version_in_common_is_the_highest_that_both_have(ours: Span, theirs: Span) -> None:
    both = [version for version in range(1, 20) if version in ours and version in theirs]
    assert ours.common(theirs) == theirs.common(ours) == max(both, default=None)


@pytest.mark.parametrize(("lowest", "highest"), [(0, 1), (3, 2)])
def test_versions_begin_at_one_and_go_upwards(lowest: int, highest: int) -> None:
    with pytest.raises(ValueError, match="upwards"):
        Span(lowest, highest)


@pytest.mark.parametrize(
    ("ours", "theirs", "older"),
    [(Span(1, 2), Span(3, 4), "firm-1 (artesian 0.2.0)"), (Span(3, 4), Span(1, 2), "the coordinator (artesian 0.9.1)")],
)
def test_without_one_in_common_both_are_named_and_the_older_is_to_be_upgraded(
    ours: Span, theirs: Span, older: str
) -> None:
    with pytest.raises(VersionMismatch) as told:
        agreed(ours, theirs, "firm-1 (artesian 0.2.0)", "the coordinator (artesian 0.9.1)")
    assert f"speaks messages {ours}" in str(told.value)
    assert f"speaks {theirs}" in str(told.value)
    assert str(told.value).endswith(f"upgrade {older}")


@pytest.mark.parametrize(
    ("a", "b", "fit"),
    [
        ("0.1.0", "0.1.7", True),
        ("0.1.0", "0.2.0", True),
        ("0.3.0", "0.2.9", True),
        ("0.1.0", "0.3.0", False),
        ("1.0.0", "2.0.0", False),
        ("0.10.0", "0.1.0", False),
        ("0.2.0.dev3", "0.1.0", True),
        ("unknown", "unknown", True),
        ("unknown", "0.1.0", False),
    ],
)
def test_releases_one_minor_apart_work_together(a: str, b: str, fit: bool) -> None:
    assert compatible(a, b) == compatible(b, a) == fit


def test_releases_that_do_not_fit_are_named_with_the_older_one() -> None:
    said = misfit("firm-1", "0.1.0", "the coordinator", "0.3.0")
    assert said == "firm-1 runs artesian 0.1.0, the coordinator artesian 0.3.0; upgrade firm-1"
    assert misfit("firm-1", "0.3.0", "the coordinator", "0.1.0").endswith("upgrade the coordinator")
    assert not misfit("firm-1", "0.2.0", "the coordinator", "0.3.0")
    assert not misfit("firm-1", "of an unknown version", "the coordinator", "0.3.0")


def test_a_process_says_its_versions() -> None:
    said = facts()
    assert said["software"] == SOFTWARE
    assert said["messages"] == [MESSAGE_VERSIONS.lowest, MESSAGE_VERSIONS.highest]
    assert said.keys() == {"software", "messages", "records", "state"}
